//! F18: an endpoint that panics. The panic of a worker's own ends the process, which a test of the library shows
//! (`a_panic_of_a_thread_of_the_server_aborts_the_process_loudly`).

use clap::Parser;
use fanfare::endpoint::{Accept, Effects, Endpoint, OpenRequest};
use fanfare::protocol::{Message, Refusal};
use fanfare::{ConnectionId, ServerBuilder};
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;

use crate::cli::Cli;
use crate::finding::Round;
use crate::load::cast::{Cast, Role};
use crate::load::conductor::server::LogBook;
use crate::load::{Launcher, Setup};
use crate::logs;
use crate::rounds::{Fault, Title};
use crate::settings::Size;
use crate::stage::Stage;

/// The argument with which this program is the server.
pub const SERVER: &str = "server";
const PATH: &str = "/panics";
const CAST: &str = "fated";
const PLAYERS: usize = 50;
/// Between connecting and the panic, and between that and connecting, on the average.
const PAUSE_MS: u64 = 100;
const WORDS: &str = "it was asked to";

pub struct Panics;

impl Fault for Panics {
    fn title(&self) -> Title {
        Title::new("F18", "F18", "an endpoint that panics")
    }

    fn done(&self, size: &Size) -> String {
        let count = size.share(PLAYERS);
        format!("{count} clients of an endpoint that panics at each message come again and again")
    }

    fn set_up(&self, _: &Size, setup: &mut Setup) {
        setup.server = Launcher::this_program(&[SERVER]);
    }

    fn begin(&mut self, stage: &mut Stage<'_>) {
        let role = Role::Fated { path: PATH.to_owned(), pause_ms: PAUSE_MS };
        stage.load.begin(&Cast::new(CAST, stage.size.share(PLAYERS), role).apart());
    }

    fn end(&mut self, stage: &mut Stage<'_>, _: &Round) {
        stage.leave(&[CAST]);
        let closed = stage.load.state.count(CAST, "closed with 1011");
        stage.bars.must("closed with 1011 after a panic", closed > 0, closed, "> 0");
    }

    /// Each panic is one.
    fn explained_errors(&self, log: &LogBook) -> u64 {
        log.causes.get("endpoint_panic").copied().unwrap_or_default()
    }

    fn casts(&self) -> Vec<&'static str> {
        vec![CAST]
    }
}

/// Panics at every message.
struct Panicking;

impl Endpoint for Panicking {
    fn open<'m>(
        &mut self,
        _: ConnectionId,
        _: &OpenRequest<'_>,
        _: &mut Effects<'m>,
    ) -> Result<Accept, Refusal> {
        Ok(Accept::default())
    }

    fn message<'m>(&mut self, _: ConnectionId, _: Message<'m>, _: &mut Effects<'m>) {
        panic!("{WORDS}");
    }
}

/// The server of the binary with that endpoint: its flags, its log, its shutdown.
pub fn serve() {
    let (config, log) = Cli::parse_from(std::env::args().skip(1)).into_config();
    let _log_until_the_end = logs::start(&log).expect("a thread for the log");
    // Those that were asked for are in the log, as the cause of a close.
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some(WORDS) {
            say(panic);
        }
    }));
    let mut signals = Signals::new([SIGTERM]).expect("signals");
    let server = ServerBuilder::standard(config).endpoint(PATH, |_| Panicking).start();
    let server = server.unwrap_or_else(|error| panic!("{error}"));
    let handle = server.handle();
    std::thread::spawn(move || {
        for _ in signals.forever() {
            handle.shutdown();
        }
    });
    server.wait();
}
