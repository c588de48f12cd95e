//! Text from outside on its way to a terminal.

use std::iter;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Whether a character could move a cursor, break a line, turn the reading direction or hide.
fn needs_escape(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with everything escaped that [`needs_escape`]. Quotes and backslashes stay: names have them.
pub(crate) fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, char| {
        match needs_escape(char) {
            true => escaped.extend(char.escape_default()),
            false => escaped.push(char),
        }
        escaped
    })
}

/// The same for JSON, where an escape means the character itself.
pub(crate) fn escape_json(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut escaped, char| {
        match needs_escape(char) {
            true => {
                let mut units = [0; 2];
                let units = char.encode_utf16(&mut units).iter();
                escaped.extend(units.map(|unit| format!("\\u{unit:04x}")));
            }
            false => escaped.push(char),
        }
        escaped
    })
}

/// Columns in a terminal.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The text without its middle, in at most so many columns: ends tell names apart.
pub(crate) fn cut_middle(text: &str, columns: usize, ellipsis: &str) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(width(ellipsis));
    let head = head(text, room - room / 2);
    // What the head leaves because a wide character did not fit is the tail's.
    let tail = tail(text, room - width(head));
    [head, &ellipsis[..if columns < width(ellipsis) { 0 } else { ellipsis.len() }], tail].concat()
}

/// The text without its end, in at most so many columns.
pub(crate) fn cut_end(text: &str, columns: usize, ellipsis: &str) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    match columns.checked_sub(width(ellipsis)) {
        Some(room) => head(text, room).to_owned() + ellipsis,
        None => head(text, columns).to_owned(),
    }
}

fn head(text: &str, columns: usize) -> &str {
    let ends = text.char_indices().map(|(at, char)| at + char.len_utf8());
    let fits = iter::once(0).chain(ends).take_while(|end| width(&text[..*end]) <= columns);
    &text[..fits.last().unwrap_or(0)]
}

fn tail(text: &str, columns: usize) -> &str {
    let starts = text.char_indices().rev();
    // A mark that stands on the character before it is not cut off it.
    let whole = starts.filter(|(_, char)| char.width() != Some(0)).map(|(at, _)| at);
    let fits = iter::once(text.len()).chain(whole).take_while(|at| width(&text[*at..]) <= columns);
    &text[fits.last().unwrap_or(text.len())..]
}

/// Lines in at most so many columns each, of whole words as far as these are not wider.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for mut word in text.split(' ') {
        while width(word) > columns {
            let (part, rest) = word.split_at(head(word, columns).len());
            if part.is_empty() {
                break;
            }
            lines.push(part.to_owned());
            word = rest;
        }
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if width(line) + 1 + width(word) <= columns => line.extend([" ", word]),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
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
            assert_eq!(escape(text), expected);
            let json = escape_json(&serde_json::to_string(text).unwrap());
            assert!(!json.contains(needs_escape), "{json}");
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
        assert_eq!(escape_json("\"\u{e0041}\""), r#""\udb40\udc41""#);
    }

    #[test]
    fn a_name_is_cut_in_its_middle_to_columns() {
        let name = "a-very-long-user-name-of-somebody@example.com";
        for (text, columns, cut) in [
            ("alice", 5, "alice"),
            ("alice", 4, "al…e"),
            (name, 20, "a-very-lon…ample.com"),
            ("李雷李雷", 7, "李…李雷"),
            ("李雷李雷", 6, "李…雷"),
            ("alice", 1, "…"),
            ("alice", 0, ""),
            ("e\u{301}e\u{301}e\u{301}e\u{301}", 3, "e\u{301}…e\u{301}"),
        ] {
            assert_eq!(cut_middle(text, columns, "…"), cut, "{text} to {columns}");
            assert!(width(cut) <= columns, "{cut}");
        }
        assert_eq!(cut_middle("alice-and-bob", 9, "..."), "ali...bob");
        assert_eq!((cut_end("alice", 4, "…").as_str(), cut_end("李雷", 3, "…").as_str()), ("ali…", "李…"));
    }

    #[test]
    fn a_sentence_is_wrapped_between_words() {
        assert_eq!(wrap("cache2 is down: refused", 15), ["cache2 is down:", "refused"]);
        assert_eq!(wrap("a word-that-is-longer than", 9), ["a", "word-that", "-is-longe", "r than"]);
        assert_eq!(wrap("", 9), [""]);
        for columns in 0..9 {
            assert_eq!(wrap("李雷 and 李雷", columns).concat().replace(' ', ""), "李雷and李雷");
        }
    }
}
