//! Rust as text: comments and literals.

/// `code` without what is behind `//`, unless that is inside a literal.
pub fn without_comments(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(next) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
            continue;
        }
        let (token, behind) = rest.split_at(literal_bytes(rest).unwrap_or(next.len_utf8()));
        kept.push_str(token);
        rest = behind;
    }
    kept
}

/// The size of the string or character that `code` begins with.
fn literal_bytes(code: &str) -> Option<usize> {
    if let Some(raw) = code.strip_prefix('r') {
        let text = raw.trim_start_matches('#').strip_prefix('"')?;
        let start = code.len() - text.len();
        let end = format!("\"{}", "#".repeat(start - 2));
        return Some(text.find(&end).map_or(code.len(), |at| start + at + end.len()));
    }
    let mut characters = code.char_indices();
    let (_, quote) = characters.next().filter(|(_, quote)| matches!(quote, '"' | '\''))?;
    // 'a' is a character; 'a without a second quote is a lifetime.
    if quote == '\'' && code.chars().nth(1) != Some('\\') && code.chars().nth(2) != Some('\'') {
        return None;
    }
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote {
            return Some(at + 1);
        }
    }
    Some(code.len())
}

#[test]
fn comments_are_cut_outside_literals_only() {
    for (code, kept) in [
        ("a // b \"c\"\nd", "a \nd"),
        ("//! a\n/// b\nc", "\n\nc"),
        (r#""a//b" c // d"#, r#""a//b" c "#),
        (r#""a\"//b" c // d"#, r#""a\"//b" c "#),
        (r##"br#"a"//b"# c // d"##, r##"br#"a"//b"# c "##),
        (r##"r"a\" c // d"##, r##"r"a\" c "##),
        (r##"r#type // "a""##, "r#type "),
        (r#"'"' // a"#, r#"'"' "#),
        (r#"'\'' '\\' b'"' // a"#, r#"'\'' '\\' b'"' "#),
        (r#"&'a str, "//" // 'b"#, r#"&'a str, "//" "#),
        ("\"a\n//b\"\nc // d", "\"a\n//b\"\nc "),
    ] {
        assert_eq!(without_comments(code), kept);
    }
}
