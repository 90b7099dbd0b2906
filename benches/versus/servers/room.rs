//! A room of the servers on tokio: a queue for each member.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Who is in the room, each with its queue of `T`.
pub struct Room<T> {
    members: Arc<Mutex<Members<T>>>,
}

struct Members<T> {
    queues: Vec<(u64, UnboundedSender<T>)>,
    next: u64,
}

impl<T> Clone for Room<T> {
    fn clone(&self) -> Room<T> {
        Room { members: Arc::clone(&self.members) }
    }
}

impl<T: Clone> Room<T> {
    pub fn new() -> Room<T> {
        Room { members: Arc::new(Mutex::new(Members { queues: Vec::new(), next: 0 })) }
    }

    /// A new member, by its number, and what it is to be sent.
    pub fn join(&self) -> (u64, UnboundedSender<T>, UnboundedReceiver<T>) {
        let (queue, receiver) = unbounded_channel();
        let mut members = self.members.lock();
        let number = members.next;
        members.next += 1;
        members.queues.push((number, queue.clone()));
        (number, queue, receiver)
    }

    pub fn leave(&self, number: u64) {
        self.members.lock().queues.retain(|(member, _)| *member != number);
    }

    /// To all but the sender.
    pub fn publish(&self, sender: u64, message: &T) {
        for (member, queue) in &self.members.lock().queues {
            if *member != sender {
                // Who is leaving needs it no more.
                let _ = queue.send(message.clone());
            }
        }
    }
}
