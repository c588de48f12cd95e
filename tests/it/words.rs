//! The words are those that a reader knows and can search for: none of these is in a page, a comment or a message.

use std::fs;

use last_seen_tests::root;

use crate::house::files;

/// Each with the word for it, or what to write instead.
const AVOIDED: [(&str, &str); 13] = [
    ("whoever", "everyone who, anyone who"),
    ("whatever", "any, or leave it out"),
    ("anew", "again"),
    ("dear", "expensive"),
    ("dearer", "more expensive"),
    ("awhile", "\"awhile ago\" is for end users alone"),
    ("that of", "the noun again"),
    ("is told", "who tells whom what"),
    ("given a rest", "circuit open"),
    ("at rest", "circuit open"),
    ("not known", "unknown"),
    ("a blank", "a space"),
    ("as there.", "what is there"),
];

/// In lower case and in one line, so that a phrase over two lines is found; without the marks of comments, and without
/// quotations: code, and what the post shows of a user without a record.
fn flowing(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = line.trim().trim_start_matches(['/', '!', '#', '*', ' ']);
        let spans = line.split('`').collect::<Vec<_>>();
        let is_open = spans.len() % 2 == 0;
        let words = spans.iter().enumerate().filter(|(nth, _)| is_open || nth % 2 == 0);
        words.map(|(_, words)| *words).collect::<Vec<_>>().join("`")
    });
    lines.collect::<Vec<_>>().join(" ").to_lowercase().replace("awhile ago", "")
}

fn avoided_in(text: &str) -> Vec<String> {
    let text = flowing(text);
    let is_letter = |char: Option<char>| char.is_some_and(|char| char.is_alphanumeric() || char == '_');
    let mut found = Vec::new();
    for (word, instead) in AVOIDED {
        for (at, _) in text.match_indices(word) {
            let (before, after) = (&text[..at], &text[at + word.len()..]);
            let around = [before.chars().next_back(), after.chars().next()];
            if around == [Some('"'); 2] || around.into_iter().any(is_letter) {
                continue;
            }
            let start = before.char_indices().rev().nth(40).map_or(0, |(at, _)| at);
            let end = after.char_indices().nth(40).map_or(after.len(), |(at, _)| at);
            found.push(format!("{}[{word}]{}: {instead}", &before[start..], &after[..end]));
        }
    }
    found
}

#[test]
fn the_words_are_plain() {
    let root = root().canonicalize().unwrap();
    let (mut read, mut found) = (0, Vec::new());
    for file in files() {
        let name = file.strip_prefix(&root).unwrap().display().to_string();
        let is_another = name.starts_with("LICENSE") || name.contains("lock") || name == file!();
        let (false, Ok(text)) = (is_another, fs::read_to_string(&file)) else { continue };
        read += 1;
        found.extend(avoided_in(&text).into_iter().map(|words| format!("{name}: {words}")));
    }
    assert!(read >= 150, "{read} files");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn avoided_words_are_found_over_lines_and_not_in_quotations() {
    assert_eq!(avoided_in("/// To all, whoever\n/// comes").len(), 1);
    assert_eq!(avoided_in("// what is\n// told"), ["what [is told]: who tells whom what"]);
    assert_eq!(avoided_in("it is toldx, so that office"), [""; 0]);
    assert_eq!(avoided_in("the word \"whoever\", `Ago::Awhile` and *awhile ago*"), [""; 0]);
    assert_eq!(avoided_in("```\nwhatever").len(), 1);
}
