//! Any bytes as the answer to what was asked.

use super::{
    When, Write,
    protocol::{Asked, Change, Changes, Found, Get, Lines, SingleGets, deliver::deliver},
};
use crate::record::{Key, Keys, Value};

/// The first byte says what was asked and in pieces of what size the rest comes. The callbacks must not depend on the
/// pieces, and nobody is answered twice.
pub fn answers(bytes: &[u8]) {
    let [choice, answer @ ..] = bytes else { return };
    let piece = usize::from(choice >> 3) + 1;
    let whole = answers_in(*choice, answer, answer.len().max(1));
    assert_eq!(answers_in(*choice, answer, piece), whole, "in pieces of {piece}");
}

/// Returns the callbacks, and how the exchange ends.
fn answers_in(choice: u8, answer: &[u8], piece: usize) -> (Vec<String>, (String, usize)) {
    let keys = Keys::new("seen_", 0..4);
    let places = [0, 1, 2, 3];
    let value = Value { flags: 0, bytes: b"1795486388".to_vec() };
    let write = Write { key: Key::from("seen_0"), home: None, value, expiry: 60, when: When::Always };
    let mut told: Vec<(usize, String)> = Vec::new();
    let end = match choice & 7 {
        0..3 => {
            let found = |nth, found: Found<'_>| told.push((nth, format!("{found:?}")));
            deliver(&mut Get::new(Asked::Some(&keys, &places), choice & 1 == 1, found), answer, || piece)
        }
        3 | 4 => {
            let answered = |nth, found: Result<Found<'_>, String>| told.push((nth, format!("{found:?}")));
            deliver(&mut SingleGets::new(Asked::Some(&keys, &places), answered), answer, || piece)
        }
        5 | 6 => {
            let changes = [Change::Store(&write), Change::Store(&write)];
            let answered = |nth, made| told.push((nth, format!("{made:?}")));
            deliver(&mut Changes::new(&changes, answered), answer, || piece)
        }
        _ => {
            let mut lines = Lines::stats();
            let end = deliver(&mut lines, answer, || piece);
            told.extend(lines.lines.into_iter().enumerate());
            end
        }
    };
    // A proxy's backend may fail after the value of a `get` of one key: then the error counts.
    let told_twice = matches!(choice & 7, 3 | 4);
    let mut places: Vec<_> = told.iter().map(|(nth, _)| *nth).collect();
    places.sort_unstable();
    places.dedup();
    assert!(told_twice || places.len() == told.len(), "twice: {told:?}");
    (told.into_iter().map(|(nth, text)| format!("{nth} {text}")).collect(), end)
}
