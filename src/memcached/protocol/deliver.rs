//! An answer in pieces, for tests and fuzzing.

use super::{Exchange, Next};

/// Delivers an answer in pieces. Returns how the exchange ended, and how many bytes were left over.
pub(in crate::memcached) fn deliver(
    exchange: &mut impl Exchange,
    answer: &[u8],
    mut piece: impl FnMut() -> usize,
) -> (String, usize) {
    let (mut rest, mut input) = (answer, Vec::new());
    exchange.write(&mut Vec::new(), 60);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(piece().clamp(1, rest.len()));
        input.extend_from_slice(now);
        rest = later;
        while !input.is_empty() {
            let mut left = &input[..];
            let read = exchange.read(&mut left);
            let used = input.len() - left.len();
            input.drain(..used);
            match read {
                Err(Next::More(total)) => {
                    assert!(total > input.len(), "{total} bytes are here");
                    break;
                }
                Err(Next::Send) => exchange.write(&mut Vec::new(), 60),
                Ok(()) => return ("done".to_owned(), input.len() + rest.len()),
                Err(Next::Failed(failure)) => return (format!("{failure:?}"), 0),
            }
        }
    }
    ("more".to_owned(), 0)
}
