//! A peer's bytes in messages for people.

/// A peer's bytes fit to be shown: escaped, and cut after `characters_max` characters.
pub fn shown(bytes: &[u8], characters_max: usize) -> String {
    let mut escaped = bytes.escape_ascii().map(char::from);
    let mut text: String = escaped.by_ref().take(characters_max).collect();
    if escaped.next().is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_bytes_are_escaped_and_cut() {
        assert_eq!(shown(b"a\"\r\n\xFF", 64), r#"a\"\r\n\xff"#);
        assert_eq!(shown(&[b'x'; 64], 64), "x".repeat(64));
        assert_eq!(shown(&[b'x'; 65], 64), format!("{}…", "x".repeat(64)));
        assert_eq!(shown(b"\xFF\xFF", 5), r"\xff\…", "escapes count as what they look like");
    }
}
