//! How to record users in the frameworks that people use. In a checkout, `tests/run --soak` compiles and runs each recipe.
//!
//! Every recipe answers the same four questions:
//!
//! * **Who is the user?** The layer or middleware needs a name or an id, so authentication must have run before it. The
//!   request that signs a user in has no user yet when it arrives: call [`Recorder::seen`](crate::Recorder::seen) in its
//!   handler.
//! * **In which order do the layers run?** In axum, Actix Web and poem the layer that is added *last* runs first. In
//!   `tower::ServiceBuilder` and tonic the layer that is added *first* does. In the wrong order nobody is recorded, which
//!   [`SeenLayer`](crate::SeenLayer) logs once, after 100 requests without a user.
//! * **What counts as activity?** A layer around the whole site also counts assets, pages that poll, 404s and preflights.
//!   Add routes that do not count after the layer, or return `None` in the first lines of `identify`: by `parts.method`, by
//!   `parts.uri.path()` (which inside axum's `nest` is the rest of the path), or by axum's `MatchedPath` in the extensions,
//!   which is there only if a route matched.
//! * **What happens at shutdown?** Stop on SIGTERM as well as on Ctrl-C. Stop serving within a bound, since event streams
//!   and WebSockets never end by themselves. Then call [`Recorder::close`](crate::Recorder::close) on a thread for blocking
//!   work, and log its error. A recorder in a `static` and `std::process::exit` lose the last
//!   [`flush_interval`](crate::Settings::with_flush_interval).
//!
//! `crate::backend` is what the site has of its own: `#[derive(Clone)] struct User(String)`, tokens, events.
//!
//! # Workers, jobs and scripts
//!
//! No recorder is needed: [`Tracker::from_env`](crate::Tracker::from_env) and [`Tracker::seen`](crate::Tracker::seen), which
//! writes at once.
//!
//! # Errors in handlers
//!
//! Map [`Error::InvalidUser`](crate::Error::InvalidUser) to 400, and every other error to 503 or, better, to a page that
//! says "unknown". To check a name when a user registers, call [`Tracker::preview`](crate::Tracker::preview), which sends
//! nothing.
//!
//! # Templates
//!
//! minijinja, tera and handlebars call no methods: pass the [`Presence`](crate::Presence) and show its serialized fields
//! `status` and `ago`.
//!
//! # Other time types
//!
//! `time` and `jiff` convert from and to [`SystemTime`](std::time::SystemTime), and so do this crate's times, by `.into()`.

macro_rules! recipes {
    ($($(#[doc = $prose:literal])* $name:ident, $file:literal;)*) => {
        $(
            $(#[doc = $prose])*
            ///
            /// ```
            #[doc = include_str!(concat!("../docs/recipes/", $file))]
            /// ```
            pub mod $name {}
        )*
    };
}

recipes! {
    /// Records users of an axum site by [`SeenLayer`](crate::SeenLayer): a complete program.
    ///
    /// * User: inserted into the request extensions by the authentication layer.
    /// * Order: with `Router::layer` the last one added runs first, so authentication is added after `SeenLayer`; in a
    ///   `ServiceBuilder` it is the reverse.
    /// * Activity: the routes above the layer. Routes added below it are not recorded.
    /// * Shutdown: `close` when the server has ended. While an event stream or a WebSocket is open, axum waits for it
    ///   without a bound: put a timeout around the server, or end them.
    axum, "axum.rs";

    /// Records users of axum-login.
    ///
    /// * User: the `AuthSession` in the request extensions. Its session crate is `axum_login::tower_sessions`, which may be
    ///   of another version than the newest.
    /// * Order: `SeenLayer` is added first, and the `AuthManagerLayer` after it, so that the latter runs first. The other way
    ///   round nobody is recorded.
    /// * Activity: `pages`. Signing in is recorded by its handler, since nobody was signed in when the request arrived;
    ///   signing out is an end, not activity.
    /// * Shutdown: as in the recipe [`axum`](mod@crate::recipes::axum).
    axum_login, "axum_login.rs";

    /// Records users of bare tower-sessions, and of every site whose user has to be awaited. If a middleware of yours awaits
    /// the user already and inserts it into the extensions, put `SeenLayer` inside it instead, as in the recipe
    /// [`axum`](mod@crate::recipes::axum).
    ///
    /// * User: a value in the session, which is read with `await`: so a middleware of its own in place of `SeenLayer`, whose
    ///   `identify` is not async.
    /// * Order: the middleware is added first, and the session layer after it, so that the session layer runs first.
    /// * Activity: `pages`. Signing in and out: as in [`axum_login`](mod@crate::recipes::axum_login).
    /// * Shutdown: as in the recipe [`axum`](mod@crate::recipes::axum).
    tower_sessions, "tower_sessions.rs";

    /// Records the subject of a JSON Web Token, in the extractor that checks it.
    ///
    /// * User: `claims.sub` of a token whose signature and expiry are valid.
    /// * Order: no layer, so there is none to get wrong.
    /// * Activity: requests whose handler takes `Claims`.
    /// * Shutdown: as in the recipe [`axum`](mod@crate::recipes::axum).
    jwt, "jwt.rs";

    /// Records the callers of a gRPC service on tonic.
    ///
    /// * User: inserted into the request's extensions by an interceptor.
    /// * Order: tonic's builder runs the layer that is added first first: the interceptor, then `SeenLayer`. For one service
    ///   of several: `InterceptedService::new(seen.named_layer(service), authenticate)`.
    /// * Activity: every call that the interceptor lets in. A stream counts once, when it is opened; hold a guard of
    ///   [`Recorder::keep_online`](crate::Recorder::keep_online) while it is open.
    /// * Shutdown: `close` when the server has ended.
    tonic, "tonic.rs";

    /// Records users of actix-identity on Actix Web.
    ///
    /// * User: the `Identity` of the request.
    /// * Order: the middleware that is wrapped last runs first, so `from_fn(record)` is the first `wrap`. Wrapped after the
    ///   identity, it panics in actix-identity.
    /// * Activity: all of the app. To count less, wrap a scope in place of the app.
    /// * Shutdown: actix handles SIGINT and SIGTERM, and cuts off open connections after `shutdown_timeout`; `close` when
    ///   `run` has returned.
    actix_identity, "actix_identity.rs";

    /// Records users of a poem site.
    ///
    /// * User: a value in the `Session`.
    /// * Order: what is added last runs first: `around`, then the session. `SeenLayer` would not find the user, since
    ///   poem's requests are not those of the `http` crate.
    /// * Activity: `pages`.
    /// * Shutdown: `Server::run_with_graceful_shutdown` takes a signal and a bound; `close` when it has returned.
    poem, "poem.rs";

    /// Records users of a warp site, in the filter that checks the token.
    ///
    /// * User: what the filter extracts.
    /// * Order: no layer, so there is none to get wrong.
    /// * Activity: routes that have the filter.
    /// * Shutdown: `Server::graceful` takes a signal; `close` when `run` has returned.
    warp, "warp.rs";

    /// Keeps a user online while a WebSocket is open, without a request.
    ///
    /// * User: as in every handler; here from the request extensions.
    /// * Order: a `SeenLayer` may stand around it or not, since [`keep_online`](crate::Recorder::keep_online) records too.
    /// * Activity: the connection. A network that is gone closes none: ping the client, and drop the guard if it does not
    ///   answer. A sign-out ends the guard, and the guard the connection.
    /// * Shutdown: close the sockets, since axum waits for them without a bound. `examples/axum/src/socket.rs` in the
    ///   repository pings and closes them.
    web_socket, "web_socket.rs";

    /// Keeps a user online while a stream of server-sent events is open.
    ///
    /// * User: as in every handler; here from the request extensions.
    /// * Order: a `SeenLayer` may stand around it or not, since [`keep_online`](crate::Recorder::keep_online) records too.
    /// * Activity: the connection. Send a comment now and then (`Sse::keep_alive`): only a write finds that the client is
    ///   gone.
    /// * Shutdown: end the streams, since axum waits for them without a bound.
    event_stream, "event_stream.rs";

    /// Records users of a loco app, by an initializer.
    ///
    /// * User: the `pid` of the token, which `extract_jwt_from_request_parts` reads without `await`.
    /// * Order: the initializer's `after_routes` puts the layer around all of loco's own, which need not have run.
    /// * Activity: every request with a valid token, also one that ends in a 404.
    /// * Shutdown: `on_shutdown` runs before the open requests have ended, so flush there. What comes later is written when
    ///   the last handle on the recorder is dropped, at the end of the program.
    loco, "loco.rs";
}
