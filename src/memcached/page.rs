//! Reads a page of users. Requests go to all servers before any answer is read, so a page takes as long as its slowest
//! server.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    BATCH_MAX, Found, Memcached,
    blocking::Blocking,
    connection::{Broken, Cause},
    link::{Link, run_through},
    pool::Taken,
    protocol::{Asked, Bits, Exchange, Get, SingleGets},
    server::{Call, Lease, Server},
};
use crate::{
    error::{Error, Result},
    record::Keys,
};

/// Time after the deadline to read answers that have already arrived.
const GRACE: Duration = Duration::from_millis(1);

/// Length in bytes of a request that any socket takes in at once, even if the server does not read.
const AT_ONCE: usize = 16 * 1024;

/// The keys of a page that one server holds, with their answers.
struct Part<'a, T> {
    server: &'a Arc<Server>,
    /// Indexes of the keys on the page.
    indexes: Vec<u32>,
    answers: Vec<Result<Option<T>>>,
    /// Whether to request each key separately, because a proxy refused several keys together.
    one_by_one: bool,
}

impl<T> Part<'_, T> {
    /// Answers all keys that have no answer yet with this error.
    fn fail(&mut self, error: &Error) {
        self.answers.resize_with(self.indexes.len(), || Err(error.clone()));
    }

    /// Returns the length in bytes of the next batch's keys, with a space each.
    fn next_len(&self, keys: &Keys) -> usize {
        let batch = self.indexes[self.answers.len()..].iter().take(BATCH_MAX);
        batch.map(|&index| keys.bytes(index).len() + 1).sum()
    }

    /// Returns the indexes of the next batch, and its answers, which are `Ok(None)` until a value is found.
    fn next_batch(&mut self) -> (&[u32], &mut [Result<Option<T>>]) {
        let before = self.answers.len();
        let batch = &self.indexes[before..self.indexes.len().min(before + BATCH_MAX)];
        self.answers.resize_with(before + batch.len(), || Ok(None));
        (batch, &mut self.answers[before..])
    }

    /// Applies the result of the last batch's exchange. If the server refused several keys together, the batch is
    /// requested again, each key separately.
    fn finish_batch(&mut self, ran: Result<()>, len: usize, answered: &Bits) {
        let before = self.answers.len() - len;
        if let Err(Error::Server { .. }) = ran
            && len > 1
        {
            self.answers.truncate(before);
            self.one_by_one = true;
        } else if let Err(error) = ran {
            for (nth, answer) in self.answers[before..].iter_mut().enumerate() {
                if !answered.has(nth) {
                    *answer = Err(error.clone());
                }
            }
            self.fail(&error);
        }
    }
}

impl Memcached {
    /// Returns one answer per key, in order: what `read` makes of the key's index and its value, or `None` if there is
    /// no value. An empty key, which stands for an invalid user, is answered with `None`.
    pub(crate) async fn get_many<L: Link, T: Send>(
        &self,
        keys: &Keys,
        cas: bool,
        read: impl Fn(u32, Found<'_>) -> Result<T> + Sync,
    ) -> Vec<Result<Option<T>>> {
        let mut parts = self.parts(keys);
        match &mut parts[..] {
            [part] => self.ask_one::<L, T>(part, keys, cas, &read, self.patience).await,
            parts if L::CONCURRENT => {
                let asked =
                    parts.iter_mut().map(|part| self.ask_one::<L, T>(part, keys, cas, &read, self.patience));
                L::all(asked.collect()).await;
            }
            parts => self.ask_all(parts, keys, cas, &read),
        }
        gather(parts, keys)
    }

    fn parts<T>(&self, keys: &Keys) -> Vec<Part<'_, T>> {
        let part = |server| Part { server, indexes: Vec::new(), answers: Vec::new(), one_by_one: false };
        let mut parts: Vec<Part<'_, T>> = self.servers.iter().map(part).collect();
        if let [only] = &mut parts[..] {
            only.indexes.reserve(keys.len());
        }
        for index in 0..keys.len() as u32 {
            let key = keys.get(index);
            if !key.is_empty() {
                parts[self.placement.server_of(keys.home(index))].indexes.push(index);
            }
        }
        parts.retain(|part| !part.indexes.is_empty());
        parts.iter_mut().for_each(|part| part.answers.reserve(part.indexes.len()));
        parts
    }

    /// Requests one server's keys in batches, with one exchange each. If an exchange fails, all keys without an answer
    /// fail with its error, and later batches are not requested.
    async fn ask_one<L: Link, T>(
        &self,
        part: &mut Part<'_, T>,
        keys: &Keys,
        cas: bool,
        read: &impl Fn(u32, Found<'_>) -> Result<T>,
        patience: Duration,
    ) {
        while part.answers.len() < part.indexes.len() {
            let (server, one_by_one) = (part.server, part.one_by_one);
            let (batch, answers) = part.next_batch();
            if one_by_one {
                let mut get =
                    SingleGets::new(Asked::Some(keys, batch), |nth, found: Result<Found<'_>, String>| {
                        answers[nth] = match found {
                            Ok(found) => read(batch[nth], found).map(Some),
                            Err(words) => Err(server.refused(&words)),
                        };
                    });
                let ran = server.run::<L, _>(&mut get, patience, |get| get.read > 0).await;
                let (len, read) = (batch.len(), get.read);
                if let Err(error) = ran {
                    part.answers.truncate(part.answers.len() - len + read);
                    part.fail(&error);
                }
                continue;
            }
            let mut get = Get::new(Asked::Some(keys, batch), cas, |nth, found: Found<'_>| {
                answers[nth] = read(batch[nth], found).map(Some);
            });
            let ran = server.run::<L, _>(&mut get, patience, Get::has_answers).await;
            let (len, answered) = (get.len(), get.answered());
            part.finish_batch(ran, len, &answered);
        }
    }

    /// Requests the keys of several servers, in rounds of one batch per server. A round takes at most twice the timeout, or
    /// two and a half times if a server cannot be reached, another is silent and a third has no free connection.
    fn ask_all<T: Send>(
        &self,
        parts: &mut [Part<'_, T>],
        keys: &Keys,
        cas: bool,
        read: &(impl Fn(u32, Found<'_>) -> Result<T> + Sync),
    ) {
        while parts.iter().any(|part| part.answers.len() < part.indexes.len()) {
            let due = parts.iter_mut().filter(|part| part.answers.len() < part.indexes.len());
            let mut turns: Vec<Turn<'_>> = Vec::with_capacity(self.servers.len());
            let (mut exchanges, mut long, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
            let began = Instant::now();
            for part in due {
                // A server that does not read may hold up the writing of a long request until the deadline.
                if part.next_len(keys) > AT_ONCE {
                    long.push(part);
                    continue;
                }
                if part.one_by_one {
                    waiting.push(part);
                    continue;
                }
                let call = match part.server.begin_call(self.patience) {
                    Ok(call) => call,
                    Err(error) => {
                        part.fail(&error);
                        continue;
                    }
                };
                // Waiting here would keep the other servers' connections from other callers. This part is requested
                // after the round.
                let Some(taken) = part.server.try_take() else {
                    waiting.push(part);
                    continue;
                };
                turns.push(Turn { server: part.server, call, taken: Some(taken), lease: None, ran: None });
                exchanges.push(part);
            }
            let ask_one = |part: &mut &mut Part<'_, T>| {
                let left = (2 * self.patience).saturating_sub(began.elapsed()) / 2;
                // Enough for a server that is up, even if the others have taken all the time.
                let patience = left.max(self.patience / 4);
                run_through(self.ask_one::<Blocking, T>(part, keys, cas, read, patience));
            };
            in_parallel(&mut long, ask_one, || {
                self.ask_round(turns, exchanges, keys, cas, read);
                // If there are only more callers than connections, a thread for each part would cost more than it saves.
                let is_quick = |_: &&mut &mut Part<'_, T>| began.elapsed() < self.patience / 8;
                let asked = waiting.iter_mut().take_while(is_quick).map(ask_one).count();
                if let [first, others @ ..] = &mut waiting[asked..] {
                    in_parallel(others, ask_one, || ask_one(first));
                }
            });
        }
    }

    /// Requests the next batch of each part. Requests go to all servers before any answer is read.
    fn ask_round<T>(
        &self,
        mut turns: Vec<Turn<'_>>,
        mut parts: Vec<&mut Part<'_, T>>,
        keys: &Keys,
        cas: bool,
        read: &impl Fn(u32, Found<'_>) -> Result<T>,
    ) {
        open(&mut turns);
        let mut gets: Vec<_> = parts
            .iter_mut()
            .map(|part| {
                let (batch, answers) = part.next_batch();
                Get::new(Asked::Some(keys, batch), cas, move |nth: usize, found: Found<'_>| {
                    answers[nth] = read(batch[nth], found).map(Some);
                })
            })
            .collect();
        let deadline = Instant::now() + self.patience;
        for (turn, get) in turns.iter_mut().zip(&mut gets) {
            turn.send(get, deadline);
        }
        receive(&mut turns, &mut gets, self.patience, deadline);
        let ended: Vec<_> = turns
            .into_iter()
            .zip(gets)
            .map(|(turn, get)| {
                let ran = turn.ran.unwrap_or(Ok(()));
                turn.server.record_outcome(turn.call, &ran, get.has_answers());
                (ran, get.len(), get.answered())
            })
            .collect();
        for (part, (ran, len, answered)) in parts.into_iter().zip(ended) {
            part.finish_batch(ran, len, &answered);
        }
    }
}

/// One server's exchange in a round.
struct Turn<'a> {
    server: &'a Arc<Server>,
    call: Call,
    /// The permit and idle connection from the pool; `None` once the connection is open.
    taken: Option<Taken<Blocking>>,
    /// The open connection; `None` before it is opened and after it is given back.
    lease: Option<Lease<Blocking>>,
    ran: Option<Result<()>>,
}

impl Turn<'_> {
    fn needs_to_connect(&self) -> bool {
        self.taken.as_ref().is_some_and(|taken| taken.idle.is_none())
    }

    fn open(&mut self) {
        match self.taken.take().map(|taken| run_through(self.server.open(self.call, taken))) {
            Some(Ok(lease)) => self.lease = Some(lease),
            Some(Err(error)) => self.ran = Some(Err(error)),
            None => {}
        }
    }

    fn send(&mut self, exchange: &mut impl Exchange, deadline: Instant) {
        if let Some(lease) = &mut self.lease
            && let Err(broken) = run_through(lease.connection.send(exchange, deadline))
            // On a stale connection the first read fails too, and the exchange is retried then. By that time, the
            // other servers have their requests.
            && !broken.stale
        {
            self.end(Err(broken), exchange, deadline);
        }
    }

    /// Reads until the end of the time slice. The next call continues from there.
    fn receive(&mut self, exchange: &mut impl Exchange, slice: Instant, deadline: Instant) {
        let Some(lease) = &mut self.lease else { return };
        match run_through(lease.connection.receive(exchange, slice)) {
            Err(Broken { cause: Cause::TimedOut, .. }) if slice < deadline => {}
            ran => self.end(ran, exchange, deadline),
        }
    }

    fn end(&mut self, ran: Result<(), Broken>, exchange: &mut impl Exchange, deadline: Instant) {
        if let Some(lease) = self.lease.take() {
            self.ran = Some(run_through(self.server.finish(self.call, lease, ran, exchange, deadline)));
        }
    }
}

/// Opens the missing connections, in parallel if there are several, because connecting may hang.
fn open(turns: &mut [Turn<'_>]) {
    turns.iter_mut().filter_map(|turn| turn.taken.as_mut()).for_each(|taken| run_through(taken.check()));
    if turns.iter().filter(|turn| turn.needs_to_connect()).count() > 1 {
        thread::scope(|scope| {
            for turn in turns.iter_mut().filter(|turn| turn.needs_to_connect()) {
                // If the system gives no thread, the connection is opened below.
                let _ = thread::Builder::new().spawn_scoped(scope, || turn.open());
            }
        });
    }
    turns.iter_mut().for_each(Turn::open);
}

/// Asks for each part on its own thread, and does the rest on this one.
fn in_parallel<P: Send>(parts: &mut [P], ask: impl Fn(&mut P) + Sync, rest: impl FnOnce()) {
    if parts.is_empty() {
        return rest();
    }
    thread::scope(|scope| {
        for part in &mut *parts {
            // If the system gives no thread, the part is asked for below.
            let _ = thread::Builder::new().spawn_scoped(scope, || ask(part));
        }
        rest();
    });
    parts.iter_mut().for_each(ask);
}

/// Reads the answers of all servers in turn. Each server gets a time slice, so that a slow server does not keep the
/// connections of faster ones from the pool. The slices double every round.
fn receive<E: Exchange>(turns: &mut [Turn<'_>], exchanges: &mut [E], patience: Duration, deadline: Instant) {
    let mut slice = patience / 16;
    while turns.iter().any(|turn| turn.lease.is_some()) {
        let last = turns.iter().filter(|turn| turn.lease.is_some()).count() == 1;
        for (turn, exchange) in turns.iter_mut().zip(&mut *exchanges) {
            // An answer that has arrived is read even if another server has used up the time.
            let (now, deadline) = (Instant::now(), deadline.max(Instant::now() + GRACE));
            let until = if last { deadline } else { deadline.min(now + slice) };
            turn.receive(exchange, until, deadline);
        }
        slice *= 2;
    }
}

/// Returns the answers of all parts in the order of the page.
fn gather<T>(mut parts: Vec<Part<'_, T>>, keys: &Keys) -> Vec<Result<Option<T>>> {
    if let [part] = &mut parts[..]
        && part.indexes.len() == keys.len()
    {
        return std::mem::take(&mut part.answers);
    }
    let mut all = Vec::with_capacity(keys.len());
    all.resize_with(keys.len(), || Ok(None));
    for Part { indexes, answers, .. } in parts {
        for (index, answer) in indexes.into_iter().zip(answers) {
            all[index as usize] = answer;
        }
    }
    all
}
