//! The middleware: who is noted, and that nothing else changes.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use http::{Request, Response, request::Parts};
use last_seen::{Recorder, SeenLayer, Tracker};
use last_seen_tests::{alone, events};
use tower_layer::Layer;
use tower_service::Service;

/// A service whose error and future are types of its own.
#[derive(Clone)]
struct Echo(Tracker);

impl Service<Request<&'static str>> for Echo {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<&'static str>) -> Self::Future {
        let path = request.uri().path();
        if path == "/sign-out" {
            self.0.sign_out(request.headers()["user"].to_str().unwrap()).unwrap();
        }
        ready(Ok(Response::new(format!("{path} {}", request.body()))))
    }
}

fn identify(parts: &Parts) -> Option<String> {
    let activity = parts.uri.path() != "/health";
    activity.then(|| parts.headers.get("user"))?.map(|user| user.to_str().unwrap().to_owned())
}

fn request(path: &str, user: Option<&str>) -> Request<&'static str> {
    let mut request = Request::builder().uri(path);
    if let Some(user) = user {
        request = request.header("user", user);
    }
    request.body("body").unwrap()
}

#[test]
fn who_makes_a_request_is_seen_and_the_answer_is_the_services_own() {
    let tracker = Tracker::in_memory();
    let recorder = Recorder::new(tracker.clone());
    let mut service = SeenLayer::new(recorder.clone(), identify).layer(Echo(tracker.clone()));
    // The inner future as it is, not boxed.
    let answer: Ready<Result<Response<String>, Infallible>> = service.call(request("/page", Some("alice")));
    assert_eq!(answer.into_inner().unwrap().into_body(), "/page body");
    service.call(request("/page", None)).into_inner().unwrap();
    service.call(request("/health", Some("bob"))).into_inner().unwrap();
    service.call(request("/page", Some("not a key"))).into_inner().unwrap();
    recorder.flush().unwrap();
    assert!(tracker.online("alice").unwrap());
    assert_eq!(tracker.last_seen("bob").unwrap(), None);
    let stats = recorder.stats();
    assert_eq!((stats.seen, stats.invalid_users), (1, 1));
}

#[test]
fn the_request_that_signs_out_leaves_the_user_offline() {
    let tracker = Tracker::in_memory();
    let recorder = Recorder::new(tracker.clone());
    let mut service = SeenLayer::new(recorder.clone(), identify).layer(Echo(tracker.clone()));
    service.call(request("/page", Some("alice"))).into_inner().unwrap();
    recorder.flush().unwrap();
    service.call(request("/sign-out", Some("alice"))).into_inner().unwrap();
    recorder.flush().unwrap();
    assert!(!tracker.online("alice").unwrap());
    assert!(tracker.last_seen("alice").unwrap().is_some());
}

#[test]
fn a_layer_records_borrowed_users_and_several() {
    let tracker = Tracker::in_memory();
    let recorder = Recorder::new(tracker.clone());
    let layer = SeenLayer::with(recorder.clone(), |parts, recorder| {
        let users = parts.headers.get("user").and_then(|users| users.to_str().ok()).into_iter();
        users.flat_map(|users| users.split(',')).for_each(|user| recorder.seen(user));
    });
    let mut service = layer.layer(Echo(tracker.clone()));
    service.call(request("/page", Some("alice,bob"))).into_inner().unwrap();
    service.call(request("/page", None)).into_inner().unwrap();
    assert!(tracker.online("alice").unwrap() && tracker.online("bob").unwrap());
    assert_eq!(recorder.stats().seen, 2);
}

#[test]
fn a_layer_that_is_told_of_nobody_warns_once() {
    alone(&[], || {
        events::listen();
        let warnings = || events::said("named no user").len();
        let tracker = Tracker::in_memory();
        let layer = || {
            SeenLayer::new(Recorder::new(tracker.clone()), |parts| {
                // Not annotated.
                let user = parts.headers.get("user")?;
                Some(user.to_str().ok()?.to_owned())
            })
        };
        let mut service = layer().layer(Echo(tracker.clone()));
        let users = [&[None; 99][..], &[Some("alice")], &[None; 300]].concat();
        for user in users {
            service.call(request("/page", user)).into_inner().unwrap();
        }
        assert_eq!(warnings(), 0);
        // The clones of a layer, one for each connection, count together.
        let outside = layer();
        for asked in 1..=300 {
            let mut service = outside.clone().layer(Echo(tracker.clone()));
            service.call(request("/page", None)).into_inner().unwrap();
            assert_eq!(warnings(), usize::from(asked >= 100), "{asked}");
        }
    });
}

#[test]
fn a_service_that_is_not_ready_is_waited_for() {
    struct Busy;
    impl Service<Request<()>> for Busy {
        type Response = ();
        type Error = &'static str;
        type Future = Ready<Result<(), &'static str>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
            Poll::Ready(Err("busy"))
        }
        fn call(&mut self, _: Request<()>) -> Self::Future {
            ready(Ok(()))
        }
    }
    let layer = SeenLayer::new(Recorder::new(Tracker::in_memory()), identify);
    let mut service = layer.layer(Busy);
    let polled =
        Service::<Request<()>>::poll_ready(&mut service, &mut Context::from_waker(std::task::Waker::noop()));
    assert_eq!(polled, Poll::Ready(Err("busy")));
}
