//! A page of users: all servers are written to before any is read, so that together they cost what the slowest does.

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
    protocol::{Asked, Bits, Exchange, Get, Singly},
    server::{Call, Lease, Server},
};
use crate::{
    error::{Error, Result},
    record::Keys,
};

/// For what has come and was not read yet when the time is over.
const GRACE: Duration = Duration::from_millis(1);

/// What one server holds of a page.
struct Part<'a, T> {
    server: &'a Arc<Server>,
    /// Places on the page.
    places: Vec<u32>,
    answers: Vec<Result<Option<T>>>,
    /// A proxy has refused several keys together.
    singly: bool,
}

impl<T> Part<'_, T> {
    /// This error for all that are not answered.
    fn fail(&mut self, error: &Error) {
        self.answers.resize_with(self.places.len(), || Err(error.clone()));
    }

    /// The places that are asked for next, and room for their answers: there is no value until one is found.
    fn next_batch(&mut self) -> (&[u32], &mut [Result<Option<T>>]) {
        let before = self.answers.len();
        let batch = &self.places[before..self.places.len().min(before + BATCH_MAX)];
        self.answers.resize_with(before + batch.len(), || Ok(None));
        (batch, &mut self.answers[before..])
    }

    /// How the exchange of the last batch ended.
    fn ended(&mut self, ran: Result<()>, len: usize, answered: &Bits) {
        let before = self.answers.len() - len;
        if let Err(Error::Server { .. }) = ran
            && len > 1
        {
            self.answers.truncate(before);
            self.singly = true;
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
    /// One answer a key, in order: what `read` makes of its value, if there is one, by its place. Those that are no key are
    /// answered as if there was none.
    pub(crate) async fn get_many<L: Link, T>(
        &self,
        keys: &Keys,
        cas: bool,
        read: impl Fn(u32, Found<'_>) -> Result<T>,
    ) -> Vec<Result<Option<T>>> {
        let mut parts = self.parts(keys);
        match &mut parts[..] {
            [part] => self.ask_one::<L, T>(part, keys, cas, &read).await,
            parts if L::CONCURRENT => {
                let asked = parts.iter_mut().map(|part| self.ask_one::<L, T>(part, keys, cas, &read));
                L::all(asked.collect()).await;
            }
            parts => self.ask_all(parts, keys, cas, &read),
        }
        gather(parts, keys)
    }

    fn parts<T>(&self, keys: &Keys) -> Vec<Part<'_, T>> {
        let part = |server| Part { server, places: Vec::new(), answers: Vec::new(), singly: false };
        let mut parts: Vec<Part<'_, T>> = self.servers.iter().map(part).collect();
        if let [only] = &mut parts[..] {
            only.places.reserve(keys.len());
        }
        for place in 0..keys.len() as u32 {
            let key = keys.get(place);
            if !key.is_empty() {
                parts[self.placement.server_of(keys.home(place))].places.push(place);
            }
        }
        parts.retain(|part| !part.places.is_empty());
        parts.iter_mut().for_each(|part| part.answers.reserve(part.places.len()));
        parts
    }

    /// In batches, each an exchange of its own. A server that is lost in the middle is not asked for the rest.
    async fn ask_one<L: Link, T>(
        &self,
        part: &mut Part<'_, T>,
        keys: &Keys,
        cas: bool,
        read: &impl Fn(u32, Found<'_>) -> Result<T>,
    ) {
        while part.answers.len() < part.places.len() {
            let (server, singly) = (part.server, part.singly);
            let (batch, answers) = part.next_batch();
            if singly {
                let mut get =
                    Singly::new(Asked::Some(keys, batch), |nth, found: Result<Found<'_>, String>| {
                        answers[nth] = match found {
                            Ok(found) => read(batch[nth], found).map(Some),
                            Err(words) => Err(server.refused(&words)),
                        };
                    });
                let ran = server.run::<L, _>(&mut get, self.patience, |get| get.read > 0).await;
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
            let ran = server.run::<L, _>(&mut get, self.patience, Get::has_answers).await;
            let (len, answered) = (get.len(), get.answered());
            part.ended(ran, len, &answered);
        }
    }

    /// The same for several servers, a batch of each at a time.
    fn ask_all<T>(
        &self,
        parts: &mut [Part<'_, T>],
        keys: &Keys,
        cas: bool,
        read: &impl Fn(u32, Found<'_>) -> Result<T>,
    ) {
        while parts.iter().any(|part| part.answers.len() < part.places.len()) {
            let due = parts.iter_mut().filter(|part| part.answers.len() < part.places.len());
            let mut turns: Vec<Turn<'_>> = Vec::with_capacity(self.servers.len());
            let (mut exchanges, mut waiting) = (Vec::new(), Vec::new());
            for part in due {
                if part.singly {
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
                // None is held while another server's is waited for: that part is asked afterwards.
                let Some(taken) = part.server.try_take() else {
                    waiting.push(part);
                    continue;
                };
                turns.push(Turn { server: part.server, call, taken: Some(taken), lease: None, ran: None });
                exchanges.push(part);
            }
            open(&mut turns);
            let mut gets: Vec<_> = exchanges
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
                    turn.server.record(turn.call, &ran, get.has_answers());
                    (ran, get.len(), get.answered())
                })
                .collect();
            for (part, (ran, len, answered)) in exchanges.into_iter().zip(ended) {
                part.ended(ran, len, &answered);
            }
            for part in waiting {
                run_through(self.ask_one::<Blocking, T>(part, keys, cas, read));
            }
        }
    }
}

/// One server's share of a round.
struct Turn<'a> {
    server: &'a Arc<Server>,
    call: Call,
    /// Until it is opened.
    taken: Option<Taken<Blocking>>,
    /// Until it is given back.
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
            // The first read shows it too, when the others have their requests.
            && !broken.stale
        {
            self.end(Err(broken), exchange, deadline);
        }
    }

    /// Reads until then, and goes on from there the next time.
    fn receive(&mut self, exchange: &mut impl Exchange, slice: Instant, deadline: Instant) {
        let Some(lease) = &mut self.lease else { return };
        match run_through(lease.connection.receive(exchange, slice)) {
            Err(Broken { cause: Cause::TimedOut, .. }) if slice < deadline => {}
            ran => self.end(ran, exchange, deadline),
        }
    }

    fn end(&mut self, ran: Result<(), Broken>, exchange: &mut impl Exchange, deadline: Instant) {
        if let Some(lease) = self.lease.take() {
            self.ran = Some(run_through(self.server.end(self.call, lease, ran, exchange, deadline)));
        }
    }
}

/// Opens the connections that are missing: those of several servers at once, since a dial may hang.
fn open(turns: &mut [Turn<'_>]) {
    if turns.iter().filter(|turn| turn.needs_to_connect()).count() > 1 {
        thread::scope(|scope| {
            for turn in turns.iter_mut().filter(|turn| turn.needs_to_connect()) {
                // Without a thread it is opened below.
                let _ = thread::Builder::new().spawn_scoped(scope, || turn.open());
            }
        });
    }
    turns.iter_mut().for_each(Turn::open);
}

/// Reads the answers as they come. None is waited for while another's connection could go back already: each has a
/// slice of the time, and longer ones from round to round.
fn receive<E: Exchange>(turns: &mut [Turn<'_>], exchanges: &mut [E], patience: Duration, deadline: Instant) {
    let mut slice = patience / 16;
    while turns.iter().any(|turn| turn.lease.is_some()) {
        let last = turns.iter().filter(|turn| turn.lease.is_some()).count() == 1;
        for (turn, exchange) in turns.iter_mut().zip(&mut *exchanges) {
            // What has come is read also if another server has used up the time.
            let (now, deadline) = (Instant::now(), deadline.max(Instant::now() + GRACE));
            let until = if last { deadline } else { deadline.min(now + slice) };
            turn.receive(exchange, until, deadline);
        }
        slice *= 2;
    }
}

/// The answers of all parts, in the order of the page.
fn gather<T>(mut parts: Vec<Part<'_, T>>, keys: &Keys) -> Vec<Result<Option<T>>> {
    if let [part] = &mut parts[..]
        && part.places.len() == keys.len()
    {
        return std::mem::take(&mut part.answers);
    }
    let mut all = Vec::with_capacity(keys.len());
    all.resize_with(keys.len(), || Ok(None));
    for Part { places, answers, .. } in parts {
        for (place, answer) in places.into_iter().zip(answers) {
            all[place as usize] = answer;
        }
    }
    all
}
