//! Who makes a request. A real site keeps a signed session in the cookie, not the bare name.

use axum::{extract::Request, middleware::Next, response::Response};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};

const COOKIE: &str = "user";

/// The user of a request, as the authentication leaves it in the extensions.
#[derive(Debug, Clone)]
pub(crate) struct User(pub(crate) String);

pub(crate) async fn authenticate(cookies: CookieJar, mut request: Request, next: Next) -> Response {
    if let Some(cookie) = cookies.get(COOKIE) {
        request.extensions_mut().insert(User(cookie.value().to_owned()));
    }
    next.run(request).await
}

pub(crate) fn begin(cookies: CookieJar, user: &str) -> CookieJar {
    cookies.add(Cookie::build((COOKIE, user.to_owned())).path("/").http_only(true).same_site(SameSite::Lax))
}

pub(crate) fn end(cookies: CookieJar) -> CookieJar {
    cookies.remove(Cookie::build(COOKIE).path("/"))
}
