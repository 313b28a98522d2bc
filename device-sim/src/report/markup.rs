//! Text in XML and HTML.

use std::borrow::Cow;

/// What may stand as text, and in an attribute between either kind of quotes. Characters that XML 1.0
/// §2.2 does not have, which device names may hold, become U+FFFD.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    let is_special =
        |character: char| matches!(character, '&' | '<' | '>' | '"' | '\'') || !is_xml(character);
    if !text.contains(is_special) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character if is_xml(character) => escaped.push(character),
            _ => escaped.push(char::REPLACEMENT_CHARACTER),
        }
    }
    Cow::Owned(escaped)
}

const fn is_xml(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        character => character >= ' ',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(escape("a < b & \"c\" 'd'>"), "a &lt; b &amp; &quot;c&quot; &#39;d&#39;&gt;");
        assert_eq!(escape("a\0b\u{1b}[31m\u{ffff}"), "a\u{fffd}b\u{fffd}[31m\u{fffd}");
        assert!(matches!(escape("th-1 21.5 °C\n"), Cow::Borrowed(_)));
    }
}
