//! What happens to a member that the room's window has left behind.

use std::fmt;

use super::rule::{Rule, RuleError, Word};

/// What a room does with a member that falls behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LagPolicy {
    /// Out of the window, its connection is closed with 1008; it can come back and recover.
    #[default]
    Disconnect,
    /// Out of the window, it goes on with the newest message.
    Skip,
    /// It only ever gets the newest message.
    Latest,
}

impl Word for LagPolicy {
    const ALL: &'static [LagPolicy] = &[LagPolicy::Disconnect, LagPolicy::Skip, LagPolicy::Latest];
    const KIND: &'static str = "lag policy";
    const VALUE: &'static str = "POLICY";

    fn name(self) -> &'static str {
        match self {
            LagPolicy::Disconnect => "disconnect",
            LagPolicy::Skip => "skip",
            LagPolicy::Latest => "latest",
        }
    }
}

impl fmt::Display for LagPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A policy and the rooms that it is for: `POLICY` for all, or `PATTERN=POLICY`.
pub type LagRule = Rule<LagPolicy>;
/// A text that is no such rule.
pub type LagRuleError = RuleError;

#[cfg(test)]
mod tests {
    use super::super::RoomName;
    use super::super::rule::chosen;
    use super::*;

    #[test]
    fn rules_have_the_words_of_the_policies() {
        for text in ["disconnect", "skip", "latest", "ticker-*=latest"] {
            assert_eq!(text.parse::<LagRule>().unwrap().to_string(), text);
        }
        assert_eq!(
            "drop".parse::<LagRule>().unwrap_err().to_string(),
            "\"drop\" is no lag policy; disconnect, skip or latest is allowed, or PATTERN=POLICY with * in \
             the pattern for any characters"
        );
    }

    #[test]
    fn a_room_without_a_rule_disconnects() {
        let rules = ["t-*=latest".parse().unwrap()];
        let policy = |name| chosen(&rules, &RoomName::new(name).unwrap());
        assert_eq!((policy("t-1"), policy("other")), (LagPolicy::Latest, LagPolicy::Disconnect));
    }
}
