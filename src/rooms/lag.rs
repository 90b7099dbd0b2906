//! What happens to a member that the room's window has left behind.

use std::fmt;
use std::str::FromStr;

use super::RoomName;

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

impl LagPolicy {
    /// All policies, in order.
    pub const ALL: [LagPolicy; 3] = [LagPolicy::Disconnect, LagPolicy::Skip, LagPolicy::Latest];

    /// The word in flags, logs and counters.
    pub fn name(self) -> &'static str {
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

/// A policy and the rooms that it is for: `POLICY` for all, or `PATTERN=POLICY`, where `*` in the pattern
/// stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LagRule {
    pattern: String,
    policy: LagPolicy,
}

/// A text that is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{seen:?} is no lag policy; disconnect, skip or latest is allowed, or PATTERN=POLICY with * in the pattern for any characters"
)]
pub struct LagRuleError {
    seen: String,
}

impl FromStr for LagRule {
    type Err = LagRuleError;

    fn from_str(text: &str) -> Result<LagRule, LagRuleError> {
        let error = || LagRuleError { seen: text.to_owned() };
        // The last one: a room's name may have the character.
        let (pattern, word) = text.rsplit_once('=').unwrap_or(("*", text));
        let policy = LagPolicy::ALL.into_iter().find(|policy| policy.name() == word).ok_or_else(error)?;
        if pattern.is_empty() {
            return Err(error());
        }
        Ok(LagRule { pattern: pattern.to_owned(), policy })
    }
}

impl fmt::Display for LagRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pattern.as_str() {
            "*" => self.policy.fmt(f),
            pattern => write!(f, "{pattern}={}", self.policy),
        }
    }
}

/// The policy of a room: that of the first rule with a pattern that matches its name, else of the rule
/// for all rooms, else the default.
pub(super) fn policy_of(rules: &[LagRule], room: &RoomName) -> LagPolicy {
    let for_some = rules.iter().filter(|rule| rule.pattern != "*");
    let for_all = rules.iter().find(|rule| rule.pattern == "*");
    let rule = for_some.chain(for_all).find(|rule| matches(&rule.pattern, room.as_str()));
    rule.map_or(LagPolicy::default(), |rule| rule.policy)
}

/// Whether `name` matches; linear in both, however many stars there are.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        // The earliest place leaves the most for what follows.
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_are_written() {
        for text in ["disconnect", "skip", "latest", "ticker-*=latest", "a=b*=skip"] {
            assert_eq!(text.parse::<LagRule>().unwrap().to_string(), text);
        }
        assert_eq!("*=skip".parse::<LagRule>().unwrap().to_string(), "skip");
        for wrong in ["", "drop", "=skip", "ticker=", "ticker", "skip=ticker"] {
            let error = wrong.parse::<LagRule>().unwrap_err().to_string();
            assert!(error.contains("disconnect, skip or latest"), "{error}");
        }
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, matched) in [
            ("*", "x", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "a", true),
            ("a*", "ba", false),
            ("*a", "ba", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("**", "", true),
            ("ä*ö", "äxö", true),
        ] {
            assert_eq!(matches(pattern, name), matched, "{pattern} {name}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules: Vec<LagRule> =
            ["t-1=skip", "t-*=latest"].iter().map(|text| text.parse().unwrap()).collect();
        let policy = |name| policy_of(&rules, &RoomName::new(name).unwrap());
        assert_eq!(policy("t-1"), LagPolicy::Skip);
        assert_eq!(policy("t-2"), LagPolicy::Latest);
        assert_eq!(policy("other"), LagPolicy::Disconnect);
        let for_all: Vec<LagRule> = ["skip", "t-*=latest"].iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(policy_of(&for_all, &RoomName::new("t-2").unwrap()), LagPolicy::Latest);
        assert_eq!(policy_of(&for_all, &RoomName::new("other").unwrap()), LagPolicy::Skip);
    }
}
