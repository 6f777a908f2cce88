//! Names in the text form: a plain word stands as it is, anything else in quotes.

/// A symbol that needs no quotes is a letter or underscore, then letters, digits, `_`, `.` or `-`.
pub(crate) fn is_symbol(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// `text` in quotes, with `"`, `\` and control characters escaped.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The inverse of [`quote`].
pub(crate) fn unquote(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut plain = String::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match rest.next()? {
            c @ ('"' | '\\') => plain.push(c),
            'u' => {
                let (code, after) = rest.as_str().strip_prefix('{')?.split_once('}')?;
                plain.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
                rest = after.chars();
            }
            _ => return None,
        }
    }
    Some(plain)
}
