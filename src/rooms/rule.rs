//! A setting by room: a word for all rooms, and other words for those whose name matches a pattern.

use std::fmt;
use std::str::FromStr;

use super::RoomName;

/// What a setting by room may be: one of a few words.
pub trait Word: Copy + Default + 'static {
    /// All of them, in the order in which an error lists them.
    const ALL: &'static [Self];
    /// What they are in an error: "lag policy".
    const KIND: &'static str;
    /// What stands for one of them in an error, as in the help of the flag: "POLICY".
    const VALUE: &'static str;

    /// The word in flags, logs and counters.
    fn name(self) -> &'static str;
}

/// A word and the rooms that it is for: `WORD` for all, or `PATTERN=WORD`, where `*` in the pattern
/// stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule<P> {
    pattern: String,
    word: P,
}

/// A text that is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{seen:?} is no {kind}; {allowed} is allowed, or PATTERN={value} with * in the pattern for any characters"
)]
pub struct RuleError {
    seen: String,
    kind: &'static str,
    allowed: String,
    value: &'static str,
}

impl RuleError {
    fn new<P: Word>(seen: &str) -> RuleError {
        let names: Vec<&str> = P::ALL.iter().map(|word| word.name()).collect();
        let allowed = match names.as_slice() {
            [several @ .., last] if !several.is_empty() => format!("{} or {last}", several.join(", ")),
            _ => names.concat(),
        };
        RuleError { seen: seen.to_owned(), kind: P::KIND, allowed, value: P::VALUE }
    }
}

impl<P: Word> FromStr for Rule<P> {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Rule<P>, RuleError> {
        let error = || RuleError::new::<P>(text);
        // The last one: a room's name may have the character.
        let (pattern, name) = text.rsplit_once('=').unwrap_or(("*", text));
        let word = P::ALL.iter().copied().find(|word| word.name() == name).ok_or_else(error)?;
        if pattern.is_empty() {
            return Err(error());
        }
        Ok(Rule { pattern: pattern.to_owned(), word })
    }
}

impl<P: Word> fmt::Display for Rule<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pattern.as_str() {
            "*" => f.write_str(self.word.name()),
            pattern => write!(f, "{pattern}={}", self.word.name()),
        }
    }
}

/// The word of a room: that of the first rule with a pattern that matches its name, else of the rule for
/// all rooms, else the default.
pub(super) fn chosen<P: Word>(rules: &[Rule<P>], room: &RoomName) -> P {
    let for_some = rules.iter().filter(|rule| rule.pattern != "*");
    let for_all = rules.iter().find(|rule| rule.pattern == "*");
    let rule = for_some.chain(for_all).find(|rule| matches(&rule.pattern, room.as_str()));
    rule.map_or(P::default(), |rule| rule.word)
}

/// Whether `name` matches; linear in both, however many stars there are.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
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

    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    enum Size {
        Small,
        #[default]
        Middle,
        Large,
    }

    impl Word for Size {
        const ALL: &'static [Size] = &[Size::Small, Size::Middle, Size::Large];
        const KIND: &'static str = "size";
        const VALUE: &'static str = "SIZE";

        fn name(self) -> &'static str {
            match self {
                Size::Small => "small",
                Size::Middle => "middle",
                Size::Large => "large",
            }
        }
    }

    fn rules(texts: &[&str]) -> Vec<Rule<Size>> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn rules_are_read_as_they_are_written() {
        for text in ["small", "middle", "large", "ticker-*=large", "a=b*=small"] {
            assert_eq!(text.parse::<Rule<Size>>().unwrap().to_string(), text);
        }
        assert_eq!("*=small".parse::<Rule<Size>>().unwrap().to_string(), "small");
    }

    #[test]
    fn the_error_says_what_was_seen_and_what_is_allowed() {
        for wrong in ["", "huge", "=small", "ticker=", "ticker", "small=ticker", "Small", " small"] {
            assert_eq!(
                wrong.parse::<Rule<Size>>().unwrap_err().to_string(),
                format!(
                    "{wrong:?} is no size; small, middle or large is allowed, or PATTERN=SIZE with * in the \
                     pattern for any characters"
                )
            );
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
        let size = |texts: &[&str], name| -> Size { chosen(&rules(texts), &RoomName::new(name).unwrap()) };
        for (name, expected) in [("t-1", Size::Small), ("t-2", Size::Large), ("other", Size::Middle)] {
            assert_eq!(size(&["t-1=small", "t-*=large"], name), expected, "{name}");
        }
        for (name, expected) in [("t-2", Size::Large), ("other", Size::Small)] {
            assert_eq!(size(&["small", "t-*=large"], name), expected, "a rule for all comes last: {name}");
        }
        assert_eq!(size(&["small", "large"], "other"), Size::Small, "the first for all");
    }
}
