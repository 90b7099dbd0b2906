//! JSON appended to a buffer, without a tree in between, and read strictly (RFC 8259).

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::bad_request;
use crate::protocol::{Refusal, shown};

/// Levels of arrays and objects in a payload that is spliced into an answer. With the three or four
/// around it, every common parser still reads the whole: the strictest default is 64, of .NET.
const SPLICED_DEPTH_MAX: usize = 60;

/// Characters of the parser's own words that are shown in a refusal.
const SHOWN_ERROR_CHARS_MAX: usize = 300;

/// Appends `text` as a JSON string.
pub(in crate::endpoint) fn push_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a Vec takes every write, and text is always JSON");
}

/// Appends `bytes` in base64, the standard alphabet with padding (RFC 4648 §4).
pub(in crate::endpoint) fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]);
    debug_assert_eq!(written, Ok(out.len() - start));
}

/// Appends `,"name":` or, as the first member, `"name":`.
pub(in crate::endpoint) fn push_name(out: &mut Vec<u8>, name: &str) {
    if !matches!(out.last(), Some(b'{')) {
        out.push(b',');
    }
    push_string(out, name);
    out.push(b':');
}

/// Appends a member whose value is a string.
pub(in crate::endpoint) fn push_text_member(out: &mut Vec<u8>, name: &str, value: &str) {
    push_name(out, name);
    push_string(out, value);
}

/// Appends a member whose value is written as it is: a number, `true`, `null`.
pub(in crate::endpoint) fn push_plain_member(out: &mut Vec<u8>, name: &str, value: impl fmt::Display) {
    push_name(out, name);
    out.extend_from_slice(value.to_string().as_bytes());
}

/// Appends `items` with commas between, in brackets.
pub(in crate::endpoint) fn push_array<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut push: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push(out, item);
    }
    out.push(b']');
}

/// How a payload stands in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::endpoint) enum Form<'a> {
    /// As it was published: it is JSON.
    Json(&'a str),
    /// As a string: it is text, but no JSON, or none that everybody can read.
    Text(&'a str),
    /// As a string in base64.
    Base64(&'a [u8]),
}

impl<'a> Form<'a> {
    /// The form of a payload that was published as text or as binary.
    pub(in crate::endpoint) fn of(text: bool, payload: &'a [u8]) -> Form<'a> {
        match simdutf8::basic::from_utf8(payload).ok().filter(|_| text) {
            Some(text) if is_spliceable(text) => Form::Json(text),
            Some(text) => Form::Text(text),
            None => Form::Base64(payload),
        }
    }
}

/// A `T` out of an object; what serde derives would take an array of its members too.
pub(in crate::endpoint) struct Object<T>(pub(in crate::endpoint) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// A string; serde borrows into a `Cow` only where it sees the type itself.
#[derive(Default, Deserialize)]
pub(in crate::endpoint) struct Text<'a>(#[serde(borrow)] pub(in crate::endpoint) Cow<'a, str>);

/// A member that is there has a value: `null` is one.
pub(in crate::endpoint) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The 400 for a body that is not what is `expected`: where the parser stopped, and why.
pub(in crate::endpoint) fn bad_json(error: &serde_json::Error, expected: &str) -> Refusal {
    let text = error.to_string();
    // The place is put first: what a peer wrote could push it out of sight.
    let place = format!(" at line {} column {}", error.line(), error.column());
    let what = shown(text.strip_suffix(&place).unwrap_or(&text).as_bytes(), SHOWN_ERROR_CHARS_MAX);
    bad_request(format!("the body, line {} column {}: {what}; {expected}", error.line(), error.column()))
}

/// Whether `text` is JSON that can stand inside other JSON without harm to who reads the whole.
///
/// One member could otherwise spoil a room's history for everybody: nesting beyond
/// [`SPLICED_DEPTH_MAX`], numbers beyond a double and halves of surrogate pairs are JSON by RFC 8259,
/// but common parsers give up on them. RFC 7493 calls what is left interoperable.
fn is_spliceable(text: &str) -> bool {
    let mut parser = serde_json::Deserializer::from_str(text);
    Check { depth: 0 }.deserialize(&mut parser).is_ok() && parser.end().is_ok()
}

/// Reads a value and keeps nothing.
#[derive(Clone, Copy)]
struct Check {
    depth: usize,
}

impl Check {
    fn inner<E: Error>(self) -> Result<Check, E> {
        match self.depth < SPLICED_DEPTH_MAX {
            true => Ok(Check { depth: self.depth + 1 }),
            false => Err(E::custom("nested too deeply")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Check {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while members.next_entry_seed(inner, inner)?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pushed(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"x".to_vec();
        push(&mut out);
        String::from_utf8(out.split_off(1)).unwrap()
    }

    #[test]
    fn strings_are_escaped_and_bytes_are_base64() {
        assert_eq!(pushed(|out| push_string(out, "a\"\\\n\0ü")), r#""a\"\\\n\u0000ü""#);
        for (bytes, text) in [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v")] {
            assert_eq!(pushed(|out| push_base64(out, bytes)), text);
        }
        assert_eq!(pushed(|out| push_base64(out, b"\xff\xfe")), "//4=");
    }

    #[test]
    fn members_and_items_are_separated() {
        let text = pushed(|out| {
            out.push(b'{');
            push_text_member(out, "a", "b");
            push_plain_member(out, "c", 1);
            push_name(out, "d");
            push_array(out, [1, 2], |out, item| out.extend_from_slice(item.to_string().as_bytes()));
            out.push(b'}');
        });
        assert_eq!(text, r#"{"a":"b","c":1,"d":[1,2]}"#);
    }

    #[test]
    fn json_of_every_kind_is_spliceable() {
        for text in [
            "null",
            "true",
            "0",
            "-1.5e3",
            "18446744073709551616",
            "\"\"",
            "\"\\ud83c\\udfba\"",
            " [1, 2]\r\n",
            "{\"a\": {\"b\": []},\n\"a\": 1}",
        ] {
            assert!(is_spliceable(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_or_not_for_everybody_is_not_spliceable() {
        for text in [
            "",
            " ",
            "hello",
            "tru",
            "1 2",
            "[1,]",
            "{\"a\":1",
            "{a:1}",
            "'a'",
            "NaN",
            "01",
            "\"a\nb\"",
            "\u{feff}1",
            "\"\\ud83c\"",
            "{\"\\ud83c\":1}",
            "1e999",
            "[-1e999]",
        ] {
            assert!(!is_spliceable(text), "{text}");
        }
    }

    #[test]
    fn the_depth_is_inclusive() {
        for (depth, ok) in [(59, true), (60, true), (61, false), (100_000, false)] {
            assert_eq!(is_spliceable(&format!("{}{}", "[".repeat(depth), "]".repeat(depth))), ok, "{depth}");
            let objects = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
            assert_eq!(is_spliceable(&objects), ok, "{depth}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_spliceable_reads_inside_other_json(text in "[\\[\\]{}\",:0-9a-f\\\\ue.\\- \n]{0,12}") {
            if is_spliceable(&text) {
                let whole = format!("{{\"a\":[{text}]}}");
                prop_assert!(serde_json::from_str::<serde_json::Value>(&whole).is_ok(), "{}", whole);
            }
        }
    }
}
