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

/// A tower layer that records who makes a request, before the request is handled.
///
/// The inner service's response, error and future are left as they are, and nothing waits: recording is a
/// [`Recorder::seen`].
///
/// The layer goes inside the one that authenticates, which leaves the user in the request's extensions. If only the
/// handler knows the user, call [`Recorder::seen`] there instead.
///
/// ```
/// use http::{Request, request::Parts};
/// use last_seen::{Recorder, SeenLayer, Tracker};
///
/// /// What the authentication leaves in the extensions.
/// #[derive(Clone)]
/// struct UserId(u64);
///
/// fn identify(parts: &Parts) -> Option<u64> {
///     // A page that polls is open, but nobody need be before it.
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
    /// A layer that records whom `identify` names: the user of a request, or `None` for a request that is nobody's
    /// activity, such as an anonymous visitor, a health check or a poll.
    ///
    /// It warns once, through `tracing`, if the first 100 requests name nobody: then it probably stands outside the layer
    /// that authenticates.
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
    /// A layer that calls `record` with each request: for a user whose name is borrowed from the request, for several users
    /// of one request, or for more than recording.
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

/// The service that a [`SeenLayer`] makes.
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
