//! Faults on purpose, which prove that the simulation finds faults (`tests/simulation`).
//!
//! Each stands at one place of the code as a condition that is never true: without the feature `mutants`
//! it is a constant, with it a fault sleeps until a test arms it on its own thread. So no build that
//! anybody could come by is broken, and one build has all of them.

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A member is passed over as if the messages were its own.
    LostDelivery,
    /// A member's cursor stays where it was behind what it was sent.
    RepeatedDelivery,
    /// Two publications that are sent together change places.
    SwappedDeliveries,
    /// A member that is still to be sent to takes the place of one that has been, who has left.
    MovedMember,
    /// A shard is not woken for its mail.
    ForgottenWake,
    /// A publisher is not read from any more when the inboxes have drained.
    ForgottenResume,
    /// An endpoint is not told of a close.
    ForgottenClose,
    /// A buffer is never given back.
    LeakedBuffer,
    /// A control frame is put into the frame that is half out.
    ControlInFrame,
    /// An event for a slot's last owner reaches the present one.
    StaleEvent,
    /// A slow consumer is told a position that it has not reached.
    WrongPosition,
}

#[cfg(feature = "mutants")]
impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 11] = [
        Mutant::LostDelivery,
        Mutant::RepeatedDelivery,
        Mutant::SwappedDeliveries,
        Mutant::MovedMember,
        Mutant::ForgottenWake,
        Mutant::ForgottenResume,
        Mutant::ForgottenClose,
        Mutant::LeakedBuffer,
        Mutant::ControlInFrame,
        Mutant::StaleEvent,
        Mutant::WrongPosition,
    ];
}

/// Whether the fault happens here and now.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn strikes(_: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use armed::arm;
#[cfg(feature = "mutants")]
pub(crate) use armed::strikes;

#[cfg(feature = "mutants")]
mod armed {
    use std::cell::Cell;

    use crate::mutant::Mutant;

    thread_local! {
        static ARMED: Cell<Option<Mutant>> = const { Cell::new(None) };
        static EVERY: Cell<u32> = const { Cell::new(1) };
        static ASKED: Cell<u32> = const { Cell::new(0) };
    }

    /// Has a fault happen on this thread at every so many of its opportunities, or none any more.
    pub fn arm(mutant: Option<Mutant>, every: u32) {
        ARMED.set(mutant);
        EVERY.set(every);
        ASKED.set(0);
    }

    pub(crate) fn strikes(mutant: Mutant) -> bool {
        if ARMED.get() != Some(mutant) {
            return false;
        }
        ASKED.set(ASKED.get() + 1);
        ASKED.get().is_multiple_of(EVERY.get())
    }
}
