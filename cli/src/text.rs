//! Text from outside on its way to a terminal.

use std::{error::Error, iter};

use unicode_width::UnicodeWidthStr;

/// Whether a character could move a cursor, break a line, turn the reading direction or hide.
fn tricky(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with everything [`tricky`] escaped. Quotes and backslashes stay: names have them.
pub(crate) fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut plain, char| {
        match tricky(char) {
            true => plain.extend(char.escape_default()),
            false => plain.push(char),
        }
        plain
    })
}

/// The same for JSON, where an escape means the character itself.
pub(crate) fn plain_json(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut plain, char| {
        match tricky(char) {
            true => {
                let mut units = [0; 2];
                let units = char.encode_utf16(&mut units).iter();
                plain.extend(units.map(|unit| format!("\\u{unit:04x}")));
            }
            false => plain.push(char),
        }
        plain
    })
}

/// Columns in a terminal.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The beginning of a text, at most so many columns of it.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut cut = String::new();
    for char in text.chars() {
        if width(&cut) + width(char.encode_utf8(&mut [0; 4])) + 2 > columns {
            break;
        }
        cut.push(char);
    }
    cut + ".."
}

/// An error and its causes in one sentence.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = iter::successors(error.source(), |&error| error.source());
    plain(&causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_fool_a_reader_is_escaped() {
        for (text, expected) in [
            ("alice", "alice"),
            (r#"DOMAIN\a"b'"#, r#"DOMAIN\a"b'"#),
            ("josé नमस्ते 李雷", "josé नमस्ते 李雷"),
            ("\x1b[2J\r\n", r"\u{1b}[2J\r\n"),
            ("\u{9b}\u{7f}\u{202e}\u{2029}\u{200b}", r"\u{9b}\u{7f}\u{202e}\u{2029}\u{200b}"),
        ] {
            assert_eq!(plain(text), expected);
            let json = plain_json(&serde_json::to_string(text).unwrap());
            assert!(!json.contains(tricky), "{json}");
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
        assert_eq!(plain_json("\"\u{e0041}\""), r#""\udb40\udc41""#);
    }

    #[test]
    fn a_text_is_cut_to_columns() {
        assert_eq!(cut("alice", 5), "alice");
        assert_eq!(cut("alice", 4), "al..");
        assert_eq!(cut("李雷李雷", 7), "李雷..");
        assert_eq!(cut("alice", 0), "..");
    }
}
