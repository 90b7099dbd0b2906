//! How a message stands in JSON, read back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::truth::Content;

fn is_json(value: &Value, content: &Content) -> bool {
    content.text && serde_json::from_slice::<Value>(&content.bytes).is_ok_and(|parsed| parsed == *value)
}

fn is_text(value: &Value, content: &Content) -> bool {
    content.text && value.as_str().is_some_and(|text| text.as_bytes() == &*content.bytes)
}

fn is_base64(value: &Value, content: &Content) -> bool {
    let decoded = value.as_str().and_then(|text| STANDARD.decode(text).ok());
    !content.text && decoded.is_some_and(|decoded| decoded == *content.bytes)
}

/// Whether a publication of the rooms' own door has this message: as `json`, `text` or `base64`.
pub fn door_says(publication: &Value, content: &Content) -> bool {
    match (publication.get("json"), publication.get("text"), publication.get("base64")) {
        (Some(json), None, None) => is_json(json, content),
        (None, Some(text), None) => is_text(text, content),
        (None, None, Some(base64)) => is_base64(base64, content),
        _ => false,
    }
}

/// Whether a publication of the client protocol has this message: as `data`, with a tag for what is no JSON.
pub fn protocol_says(publication: &Value, content: &Content) -> bool {
    let data = &publication["data"];
    match publication["tags"]["form"].as_str() {
        None => is_json(data, content),
        Some("text") => is_text(data, content),
        Some("base64") => is_base64(data, content),
        Some(_) => false,
    }
}

/// A string that has to be there.
pub fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// A number that has to be there.
pub fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// A list that has to be there.
pub fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("no {name} in {value}"))
}
