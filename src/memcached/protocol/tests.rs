//! Parses each answer whole, cut at every byte, in pieces of every size, and damaged.

use std::io::Write as _;

use arbtest::{
    arbitrary::{Result as Arbitrary, Unstructured},
    arbtest,
};

use super::{change::MAX_RELATIVE, deliver::deliver, *};
use crate::{
    memcached::{When, Write},
    record::{Key, Keys, Value},
};

/// Runs an answer whole, cut at every byte and in pieces of every size. Asserts that the result is always the same.
#[track_caller]
fn however_it_comes<T: PartialEq + std::fmt::Debug>(
    answer: &[u8],
    run: impl Fn(&[u8], &mut dyn FnMut() -> usize) -> T,
) -> T {
    let whole = run(answer, &mut || answer.len());
    for at in 1..answer.len() {
        let mut first = true;
        let mut cut = || if std::mem::take(&mut first) { at } else { answer.len() };
        assert_eq!(run(answer, &mut cut), whole, "cut at {at}: {}", answer.escape_ascii());
        assert_eq!(run(answer, &mut || at), whole, "in pieces of {at}: {}", answer.escape_ascii());
    }
    whole
}

type Answers = Vec<(usize, u32, Vec<u8>, u64)>;

/// Returns what a `get` of these keys makes of an answer.
fn get(keys: &Keys, cas: bool, answer: &[u8]) -> (Answers, (String, usize)) {
    let places: Vec<u32> = (0..keys.len() as u32).collect();
    however_it_comes(answer, |answer, piece| {
        let mut answers = Vec::new();
        let found = |nth, Found { flags, bytes, cas }: Found<'_>| {
            answers.push((nth, flags, bytes.to_vec(), cas));
        };
        let mut get = Get::new(Asked::Some(keys, &places), cas, found);
        let end = deliver(&mut get, answer, piece);
        (answers, end)
    })
}

/// Damages an answer as a broken or hostile server might, or leaves it as it is. Returns whether it did.
fn damage(u: &mut Unstructured<'_>, answer: &mut Vec<u8>) -> Arbitrary<bool> {
    if answer.is_empty() || u.ratio(1, 2)? {
        return Ok(false);
    }
    let at = u.choose_index(answer.len())?;
    match u.int_in_range(0..=3)? {
        0 => answer.truncate(at),
        1 => answer[at] = u.arbitrary()?,
        2 => answer.insert(at, u.arbitrary()?),
        _ => answer.extend_from_slice(u.choose(&["END\r\n", "\r\n\r\n\r", "ERROR"])?.as_bytes()),
    }
    Ok(true)
}

fn value(u: &mut Unstructured<'_>) -> Arbitrary<Vec<u8>> {
    Ok(match u.int_in_range(0..=3)? {
        0 => b"1795486388".to_vec(),
        1 => b"END\r\nVALUE seen_0 0 1\r\n1\r\nEND\r\n".to_vec(),
        2 => Vec::new(),
        _ => u.bytes(u.len().min(9))?.to_vec(),
    })
}

#[test]
fn values_are_the_same_in_whatever_pieces_they_come() {
    arbtest(|u| {
        let (count, cas) = (u.int_in_range(1..=6)?, u.arbitrary()?);
        let keys = Keys::new("seen_", 0..count);
        let (mut answer, mut expected) = (Vec::new(), Vec::new());
        for nth in 0..count {
            if u.arbitrary()? {
                let (flags, value) = (u.int_in_range(0..=u32::MAX)?, value(u)?);
                let token = if cas { u.arbitrary()? } else { 0 };
                let cas = if cas { format!(" {token}") } else { String::new() };
                write!(answer, "VALUE seen_{nth} {flags} {}{cas}\r\n", value.len()).unwrap();
                answer.extend_from_slice(&value);
                answer.extend_from_slice(b"\r\n");
                expected.push((nth, flags, value, token));
            }
        }
        answer.extend_from_slice(b"END\r\n");
        let damaged = damage(u, &mut answer)?;
        let (answers, end) = get(&keys, cas, &answer);
        if !damaged {
            assert_eq!((answers, end), (expected, ("done".to_owned(), 0)));
        }
        Ok(())
    })
    .budget_ms(1_000);
}

#[test]
fn a_write_is_sent_as_memcached_documents_it() {
    arbtest(|u| {
        let (flags, expiry, cas) = (u.arbitrary()?, u.int_in_range(1..=MAX_RELATIVE)?, u.arbitrary()?);
        let (word, when) = *u.choose(&[
            ("set", When::Always),
            ("add", When::Absent),
            ("replace", When::Unchanged(0)),
            ("cas", When::Unchanged(cas)),
        ])?;
        let (key, bytes) = (Key::new("seen_", "alice").unwrap(), value(u)?);
        let mut sent = Vec::new();
        let write = Write { home: None, key, value: Value { flags, bytes: bytes.clone() }, expiry, when };
        Change::Store(&write).write(&mut sent);
        let (word, cas) = match (word, cas) {
            ("cas", 0) => ("replace", String::new()),
            ("cas", cas) => ("cas", format!(" {cas}")),
            _ => (word, String::new()),
        };
        let head = format!("{word} seen_alice {flags} {expiry} {}{cas}\r\n", bytes.len());
        assert_eq!(sent, [head.as_bytes(), &bytes, b"\r\n"].concat());
        Ok(())
    });
}

#[test]
fn changes_are_the_same_in_whatever_pieces_their_answers_come() {
    const ANSWERS: [(&str, Option<bool>); 6] = [
        ("STORED", Some(true)),
        ("DELETED", Some(true)),
        ("NOT_STORED", Some(false)),
        ("EXISTS", Some(false)),
        ("NOT_FOUND", Some(false)),
        ("SERVER_ERROR out of memory storing object", None),
    ];
    arbtest(|u| {
        let count = u.int_in_range(1..=6)?;
        let write = |user| Write {
            home: None,
            key: Key::new("seen_", user).unwrap(),
            value: Value { flags: 0, bytes: b"1795486388".to_vec() },
            expiry: 60,
            when: When::Always,
        };
        let writes: Vec<Write> = (0..count).map(write).collect();
        let changes: Vec<Change<'_>> = writes.iter().map(Change::Store).collect();
        let (mut answer, mut expected) = (Vec::new(), Vec::new());
        for nth in 0..count {
            let (words, made) = *u.choose(&ANSWERS)?;
            write!(answer, "{words}\r\n").unwrap();
            expected.push((nth, made.ok_or_else(|| words.to_owned())));
        }
        let damaged = damage(u, &mut answer)?;
        let (answers, end) = however_it_comes(&answer, |answer, piece| {
            let mut answers = Vec::new();
            let mut run = Changes::new(&changes, |nth, made| answers.push((nth, made)));
            let end = deliver(&mut run, answer, piece);
            (answers, end)
        });
        if !damaged {
            assert_eq!((answers, end), (expected, ("done".to_owned(), 0)));
        }
        Ok(())
    })
    .budget_ms(1_000);
}

#[test]
fn lines_are_the_same_in_whatever_pieces_they_come() {
    arbtest(|u| {
        let stats = u.arbitrary()?;
        let mut answer = match stats {
            true => b"STAT pid 1\r\nSTAT version 1.6.45\r\nSTAT time 1795486388\r\nEND\r\n".to_vec(),
            false => b"VERSION 1.6.45\r\n".to_vec(),
        };
        let damaged = damage(u, &mut answer)?;
        let (lines, end) = however_it_comes(&answer, |answer, piece| {
            let mut run = if stats { Lines::stats() } else { Lines::one(b"version\r\n") };
            let end = deliver(&mut run, answer, piece);
            (run.lines, end)
        });
        if !damaged {
            assert_eq!((lines.len(), end), (if stats { 4 } else { 1 }, ("done".to_owned(), 0)));
        }
        Ok(())
    })
    .budget_ms(1_000);
}

#[test]
fn a_line_that_is_too_long_fails_in_whatever_pieces_it_comes() {
    let keys = Keys::new("seen_", ["alice"]);
    for (line, expected) in [("SERVER_ERROR ", "Refused"), ("VALUE seen_alice ", "Unexpected")] {
        let answer = format!("{line}{}\r\nEND\r\n", "x".repeat(MAX_LINE));
        let places = [0];
        for size in [1, 7, MAX_LINE, MAX_LINE + 1, answer.len()] {
            let found = |_, found: Found<'_>| panic!("{found:?}");
            let mut get = Get::new(Asked::Some(&keys, &places), false, found);
            let (end, _) = deliver(&mut get, answer.as_bytes(), || size);
            assert!(end.starts_with(expected), "{end}");
        }
    }
}

/// Returns what a `gets` of `alice` and `bob` finds, and how it ends.
fn gets(answer: &str) -> (Vec<usize>, String) {
    let (answers, (end, left)) = get(&Keys::new("seen_", ["alice", "bob"]), true, answer.as_bytes());
    let end = if left == 0 { end } else { format!("{end}, {left} bytes too much") };
    (answers.into_iter().map(|(nth, ..)| nth).collect(), end)
}

#[test]
fn an_answer_to_something_else_is_no_answer() {
    for answer in [
        "VALUE seen_carol 0 1 7\r\n1\r\nEND\r\n",
        "VALUE seen_alic 0 1 7\r\n1\r\nEND\r\n",
        "VALUE seen_alice2 0 1 7\r\n1\r\nEND\r\n",
        "VALUE SEEN_ALICE 0 1 7\r\n1\r\nEND\r\n",
        "VALUE  0 1 7\r\n1\r\nEND\r\n",
        "STORED\r\n",
        "VERSION 1.6.45\r\n",
        "HD\r\n",
        "END \r\n",
        "\r\n",
    ] {
        let (found, end) = gets(answer);
        assert!(found.is_empty() && end.starts_with("Unexpected"), "{answer:?}: {found:?} {end}");
    }
}

#[test]
fn a_refusal_keeps_its_words() {
    for words in ["ERROR", "CLIENT_ERROR line too long", "SERVER_ERROR busy"] {
        assert_eq!(gets(&format!("{words}\r\n")), (vec![], format!("Refused({words:?})")));
    }
}

#[test]
fn a_second_answer_for_the_same_key_fails() {
    let (found, end) = gets("VALUE seen_bob 0 1 7\r\n1\r\nVALUE seen_bob 0 1 7\r\n2\r\nEND\r\n");
    assert_eq!(found, [1]);
    assert!(end.starts_with("Unexpected"), "{end}");
    // A key that is requested twice may be answered twice.
    let keys = Keys::new("seen_", ["bob", "bob"]);
    let (found, end) = get(&keys, false, b"VALUE seen_bob 0 1\r\n1\r\nVALUE seen_bob 0 1\r\n1\r\nEND\r\n");
    assert_eq!((found.len(), end), (2, ("done".to_owned(), 0)));
}

#[test]
fn what_follows_the_end_of_an_answer_is_not_taken() {
    let (found, end) = gets("VALUE seen_bob 0 1 7\r\n1\r\nEND\r\nVALUE seen_alice 0 1 7\r\n1\r\n");
    assert_eq!((found, end.as_str()), (vec![1], "done, 27 bytes too much"));
}

#[test]
fn a_wrong_length_is_no_value() {
    for (len, expected) in [
        ("9", "Unexpected"),
        ("0", "Unexpected"),
        ("11", "Unexpected"),
        ("-1", "Unexpected"),
        ("+10", "Unexpected"),
        ("", "Unexpected"),
        ("ten", "Unexpected"),
        ("1073741825", "Unexpected"),
        ("99999999999999999999", "Unexpected"),
        ("500", "more"),
    ] {
        let (found, end) = gets(&format!("VALUE seen_alice 0 {len} 7\r\n1795486388\r\nEND\r\n"));
        assert!(found.is_empty() && end.starts_with(expected), "{len}: {found:?} {end}");
    }
}

#[test]
fn flags_and_cas_are_numbers() {
    for fields in ["x 1 7", "4294967296 1 7", "-1 1 7", "0 1", "0 1 x", "0 1 18446744073709551616"] {
        let (found, end) = gets(&format!("VALUE seen_alice {fields}\r\n1\r\nEND\r\n"));
        assert!(found.is_empty() && end.starts_with("Unexpected"), "{fields}: {found:?} {end}");
    }
}

#[test]
fn values_in_any_order_are_told_by_their_keys() {
    let keys = Keys::new("seen_", 0..130);
    let mut answer: String = (0..130).rev().map(|n| format!("VALUE seen_{n} {n} 1\r\n1\r\n")).collect();
    answer += "END\r\n";
    let places: Vec<u32> = (0..130).collect();
    let mut count = 0;
    let found = |nth: usize, found: Found<'_>| {
        assert_eq!(found.flags as usize, nth);
        count += 1;
    };
    let mut get = Get::new(Asked::Some(&keys, &places), false, found);
    assert_eq!(deliver(&mut get, answer.as_bytes(), || 1_000), ("done".to_owned(), 0));
    assert_eq!(count, 130);
}

#[test]
fn a_second_run_sends_what_has_no_answer_yet() {
    let keys = [1, 2, 3].map(|user| Key::new("seen_", user).unwrap());
    let changes = keys.each_ref().map(|key| Change::Delete(key, None));
    let mut answers = Vec::new();
    let mut run = Changes::new(&changes, |nth, made| answers.push((nth, made)));
    let mut out = Vec::new();
    run.write(&mut out, 1_000);
    assert_eq!(out, b"delete seen_1\r\ndelete seen_2\r\ndelete seen_3\r\n");
    let mut input = &b"DELETED\r\nNOT_F"[..];
    let read = run.read(&mut input);
    assert!(matches!(read, Err(Next::More(_))) && input == b"NOT_F", "{read:?}");
    out.clear();
    run.write(&mut out, 1_000);
    assert_eq!(out, b"delete seen_2\r\ndelete seen_3\r\n");
    assert!(run.read(&mut &b"NOT_FOUND\r\nDELETED\r\n"[..]).is_ok());
    assert_eq!(answers, [(0, Ok(true)), (1, Ok(false)), (2, Ok(true))]);
}

#[test]
fn separate_gets_are_sent_in_parts_of_about_the_limit() {
    let keys = Keys::new("seen_", 0..10);
    let places: Vec<u32> = (0..10).collect();
    let mut get = SingleGets::new(Asked::Some(&keys, &places), |_, _| {});
    let mut sent = String::new();
    loop {
        let mut part = Vec::new();
        get.write(&mut part, 60);
        assert!((1..80).contains(&part.len()), "{} bytes", part.len());
        let part = String::from_utf8(part).unwrap();
        let answer = "END\r\n".repeat(part.lines().count());
        sent += &part;
        match get.read(&mut answer.as_bytes()) {
            Ok(()) => break,
            Err(next) => assert!(matches!(next, Next::Send), "{next:?}"),
        }
    }
    let all: String = (0..10).map(|nth| format!("gets seen_{nth}\r\n")).collect();
    assert_eq!(sent, all);
}
