//! The middleware: who makes a request is seen.

use std::{
    fmt::{self, Display},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use http::{Request, request::Parts};
use tower_layer::Layer;
use tower_service::Service;

use crate::recorder::Recorder;

/// Requests that named nobody, one after the other from the first on, after which the layer is suspected to be in the wrong
/// place.
const ANONYMOUS_MAX: u32 = 100;

/// Records the user of each request, before the request is handled: a tower layer, for axum and other tower services.
///
/// Leaves the inner service's response, error and future as they are, and never waits: recording is a [`Recorder::seen`].
///
/// Authentication must run first and store the user in the request's extensions, so put this layer inside your
/// authentication layer: with `Router::layer` add it first, with `ServiceBuilder` add it after. If only the handler knows
/// the user, call [`Recorder::seen`] there instead.
///
/// ```
/// use http::{Request, request::Parts};
/// use last_seen::{Recorder, SeenLayer, Tracker};
///
/// /// Inserted into the request extensions by your authentication layer.
/// #[derive(Clone)]
/// struct UserId(u64);
///
/// fn identify(parts: &Parts) -> Option<u64> {
///     // An open tab that polls in the background is not user activity.
///     let activity = parts.uri.path() != "/poll" && parts.uri.path() != "/health";
///     activity.then(|| parts.extensions.get::<UserId>())?.map(|user| user.0)
/// }
///
/// let recorder = Recorder::new(Tracker::in_memory());
/// let layer = SeenLayer::new(recorder, identify);
/// ```
#[derive(Clone)]
pub struct SeenLayer<F> {
    recorder: Recorder,
    record: F,
}

impl SeenLayer<()> {
    /// Creates a layer that records the user that `identify` returns; `None` for a request that is not a user's activity:
    /// an anonymous visitor, a health check, a poll.
    ///
    /// Logs one warning through `tracing` if the first 100 requests have no user: then it probably is outside the
    /// authentication layer.
    pub fn new<U: Display>(
        recorder: Recorder,
        identify: impl Fn(&Parts) -> Option<U> + Clone,
    ) -> SeenLayer<impl Fn(&Parts, &Recorder) + Clone> {
        let anonymous = Arc::new(AtomicU32::new(0));
        SeenLayer::with(recorder, move |parts, recorder| {
            let user = identify(parts);
            if anonymous.load(Ordering::Relaxed) < ANONYMOUS_MAX {
                count(&anonymous, user.is_some());
            }
            if let Some(user) = user {
                recorder.seen(user);
            }
        })
    }
}

#[cold]
fn count(anonymous: &AtomicU32, is_named: bool) {
    if is_named {
        anonymous.store(ANONYMOUS_MAX, Ordering::Relaxed);
    } else if anonymous.fetch_add(1, Ordering::Relaxed) == ANONYMOUS_MAX - 1 {
        tracing::warn!(
            "the first {ANONYMOUS_MAX} requests named no user: is SeenLayer inside the layer that authenticates?"
        );
    }
}

impl<F: Fn(&Parts, &Recorder)> SeenLayer<F> {
    /// Creates a layer that calls `record` with each request: for names borrowed from the request, several users of one
    /// request, or more than recording.
    ///
    /// ```
    /// use last_seen::{Recorder, SeenLayer, Tracker};
    ///
    /// struct User(String);
    ///
    /// let layer = SeenLayer::with(Recorder::new(Tracker::in_memory()), |parts, recorder| {
    ///     if let Some(User(name)) = parts.extensions.get() {
    ///         recorder.seen(name);
    ///     }
    /// });
    /// ```
    pub fn with(recorder: Recorder, record: F) -> Self {
        Self { recorder, record }
    }
}

impl<S, F: Clone> Layer<S> for SeenLayer<F> {
    type Service = SeenService<S, F>;

    fn layer(&self, inner: S) -> SeenService<S, F> {
        SeenService { inner, layer: self.clone() }
    }
}

impl<F> fmt::Debug for SeenLayer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeenLayer").field("recorder", &self.recorder).finish_non_exhaustive()
    }
}

/// Records the user of each request and passes it on to the inner service: what a [`SeenLayer`] makes.
///
/// ```
/// use last_seen::{Recorder, SeenLayer, SeenService, Tracker};
/// use tower_layer::Layer;
///
/// struct Inner; // a service of your own
///
/// let layer = SeenLayer::new(Recorder::new(Tracker::in_memory()), |_| None::<String>);
/// let service: SeenService<Inner, _> = layer.layer(Inner);
/// ```
#[derive(Debug, Clone)]
pub struct SeenService<S, F> {
    inner: S,
    layer: SeenLayer<F>,
}

impl<S, F, B> Service<Request<B>> for SeenService<S, F>
where
    S: Service<Request<B>>,
    F: Fn(&Parts, &Recorder),
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let (parts, body) = request.into_parts();
        (self.layer.record)(&parts, &self.layer.recorder);
        self.inner.call(Request::from_parts(parts, body))
    }
}
