//! Who comes: connections that wait, and the acceptor that lets them in or cannot.

use fanfare::reactor::AcceptError;

use crate::client::{Actor, Deed, EchoClient, EventsClient, Hand, Hostile, HttpClient, Member, Sdk};
use crate::common::server::Client;
use crate::proxy;
use crate::trace::NOBODY;
use crate::world::{Line, World};

impl World {
    /// A turn of the acceptor, to whom the kernel may have said no.
    pub fn some_accepts(&mut self) {
        const ERRORS: [AcceptError; 5] = [
            AcceptError::NobodyWaits,
            AcceptError::OutOfDescriptors,
            AcceptError::OutOfMemory,
            AcceptError::Aborted,
            AcceptError::Failed,
        ];
        let World { gate: Some(gate), gauge, chance, plan, .. } = self else { return };
        let mut kernel = gate.kernel();
        if chance.odds(plan.habits.accept_errors) {
            kernel.failing.push_back(*chance.pick(&ERRORS));
        }
        if chance.odds(plan.habits.shortage) {
            let enough = kernel.descriptors_max < usize::MAX;
            kernel.descriptors_max = if enough { usize::MAX } else { chance.below(8) };
            kernel.thief = !enough && chance.one_in(2);
            kernel.others = 0;
        }
        drop(kernel);
        if chance.odds(plan.habits.pressure) {
            let percent = *chance.pick(&[50, 95, 96]);
            match chance.one_in(2) {
                true => gauge.set_memory(percent << 20, 100 << 20),
                false => gauge.set_descriptors(percent, 100),
            }
        }
        self.accept();
    }

    pub fn accept(&mut self) {
        let Some(gate) = &mut self.gate else { return };
        self.trace.borrow_mut().note(NOBODY, "accept", gate.accepts() as u64);
        gate.turn();
    }

    /// New connections, one or many at once.
    pub fn arrivals(&mut self) {
        let count = if self.chance.odds(self.plan.habits.burst) { self.chance.within(2..=8) } else { 1 };
        for _ in 0..count {
            if self.draining {
                return;
            }
            let live = self.lines.iter().filter(|line| line.is_live()).count();
            if live >= self.plan.lines_max {
                return;
            }
            let actor = if self.returning.is_empty() || self.chance.one_in(3) {
                self.somebody()
            } else {
                let at = self.chance.below(self.returning.len());
                self.returning.swap_remove(at)
            };
            self.connect(actor);
        }
    }

    fn somebody(&mut self) -> Box<dyn Actor> {
        if self.chance.odds(self.plan.habits.hostile) {
            return Box::new(Hostile::default());
        }
        let mut out = Vec::new();
        let mut hand = Hand {
            chance: &mut self.chance,
            truth: &mut self.truth,
            plan: &self.plan,
            ledger: &self.ledger,
            out: &mut out,
            half_closed: false,
        };
        match hand.chance.below(16) {
            0 | 1 => Box::new(EchoClient::default()),
            2..=4 => Box::new(HttpClient::default()),
            5 | 6 => Box::new(EventsClient::new(&mut hand)),
            7 | 8 => Box::new(Sdk::new(&mut hand)),
            _ => Box::new(Member::new(&mut hand)),
        }
    }

    /// Somebody connects, and waits to be accepted.
    fn connect(&mut self, actor: Box<dyn Actor>) {
        let kind = match actor.name() {
            "http" => proxy::Client::Local,
            "hostile" => proxy::Client::Hostile,
            _ => proxy::Client::Anywhere,
        };
        let (listener, from, header) = proxy::arrival(kind, &mut self.chance);
        let gate = self.gate.as_mut().expect("nobody comes behind the end");
        let socket = gate.dial_from(listener, from);
        self.server.net.borrow_mut().sockets[socket.0].room = self.plan.send_room;
        let at = Client { socket, shard: usize::MAX };
        let number = self.lines.len();
        assert_eq!(number, socket.0, "every line has its socket");
        self.trace.borrow_mut().tell(number, "connect", listener as u64, || actor.name().to_owned());
        let mut line = Line::new(at, actor);
        line.outgoing = header;
        self.lines.push(line);
        self.with_actor(number, |actor, hand| {
            actor.greet(hand);
            Deed::GoOn
        });
    }
}
