//! The middleware: who makes a request is seen.

use std::{
    fmt::{self, Display},
    task::{Context, Poll},
};

use http::{Request, request::Parts};
use tower_layer::Layer;
use tower_service::Service;

use crate::recorder::Recorder;

/// A tower layer that notes who makes a request, before the request is handled.
///
/// `identify` gives the user of a request, or `None` for a request that is nobody's activity: an anonymous
/// visitor, a health check, a poll. The inner service's response, error and future are left as they are, and
/// nothing waits: the note is a [`Recorder::seen`].
///
/// The layer goes inside the one that authenticates, which leaves the user in the request's extensions. Where
/// the user is known in the handler only, call [`Recorder::seen`] there instead.
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
    identify: F,
}

impl<F> SeenLayer<F> {
    /// A layer that notes in this recorder whom `identify` names.
    pub fn new<U>(recorder: Recorder, identify: F) -> Self
    where
        F: Fn(&Parts) -> Option<U>,
        U: Display,
    {
        Self { recorder, identify }
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

impl<S, F, U, B> Service<Request<B>> for SeenService<S, F>
where
    S: Service<Request<B>>,
    F: Fn(&Parts) -> Option<U>,
    U: Display,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let (parts, body) = request.into_parts();
        if let Some(user) = (self.layer.identify)(&parts) {
            self.layer.recorder.seen(user);
        }
        self.inner.call(Request::from_parts(parts, body))
    }
}
