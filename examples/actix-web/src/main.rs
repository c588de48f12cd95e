//! Actix Web: a middleware records, `AsyncTracker` answers. Then open <http://127.0.0.1:8080/>.
//!
//! With `LAST_SEEN_SERVERS=127.0.0.1:11211` the records are in memcached; stop it, and the page says so.
//!
//! `Tracker` has no place in an async handler: it blocks the thread, and with it every other request there, as
//! long as memcached takes to answer. `AsyncTracker` has the same verbs and waits without.

#[path = "../../page/mod.rs"]
mod page;

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    body::MessageBody,
    cookie::{Cookie, SameSite},
    dev::{ServiceRequest, ServiceResponse},
    middleware::{Next, from_fn},
    web::{Data, Form, Html, get, post},
};
use last_seen::{AsyncTracker, Error, Recorder, Tracker};
use serde::Deserialize;

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tracker = match std::env::var_os("LAST_SEEN_SERVERS") {
        Some(_) => Tracker::from_env()?,
        None => Tracker::in_memory(),
    };
    let recorder = Recorder::new(tracker.clone());
    let tracker = AsyncTracker::from(tracker);
    // Each worker creates the app: the clones are handles on one recorder and one store.
    let (recording, answering) = (Data::new(recorder.clone()), Data::new(tracker));
    let app = move || {
        App::new()
            .app_data(recording.clone())
            .app_data(answering.clone())
            .wrap(from_fn(record))
            .route("/", get().to(home))
            .route("/sign-in", post().to(sign_in))
            .route("/sign-out", post().to(sign_out))
            .route("/poll", get().to(poll))
            .route("/health", get().to(async || "ok"))
    };
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let server = HttpServer::new(app).bind(address)?;
    println!("listening on http://{}/", server.addrs()[0]);
    server.run().await?; // until Ctrl-C
    // Writes what is queued, and blocks while it does: nothing else runs here any more.
    if let Err(error) = recorder.close() {
        eprintln!("the last sightings are lost: {error}");
    }
    Ok(())
}

/// Request code.
async fn record(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    // A page that polls is open, but nobody need be before it.
    let activity = !["/poll", "/health"].contains(&request.path());
    if activity
        && let Some(user) = user(request.request())
        && let Some(recorder) = request.app_data::<Data<Recorder>>()
    {
        recorder.seen(user);
    }
    next.call(request).await
}

/// Who makes the request. A real site keeps a signed session in the cookie, not the bare name.
fn user(request: &HttpRequest) -> Option<String> {
    request.cookie("user").map(|cookie| cookie.value().to_owned())
}

async fn home(tracker: Data<AsyncTracker>, request: HttpRequest) -> Html {
    Html::new(page::whole(user(&request).as_deref(), &table(&tracker).await))
}

async fn poll(tracker: Data<AsyncTracker>) -> Html {
    Html::new(table(&tracker).await)
}

/// Everyone, in one round trip.
async fn table(tracker: &AsyncTracker) -> String {
    let users = page::users();
    page::table(&users, tracker.presences(&users).await)
}

#[derive(Deserialize)]
struct SignIn {
    user: String,
}

async fn sign_in(tracker: Data<AsyncTracker>, form: Form<SignIn>) -> HttpResponse {
    let user = &form.user;
    // Nobody was signed in when the middleware looked. Written now, so that the next page shows the user online.
    match tracker.seen(user).await {
        Err(error @ Error::InvalidUser(_)) => {
            return HttpResponse::BadRequest()
                .content_type("text/plain; charset=utf-8")
                .body(error.to_string());
        }
        // A cache that cannot be reached is no reason to fail a request.
        Err(error) => eprintln!("not recorded: {error}"),
        Ok(()) => {}
    }
    page::add_user(user);
    let cookie = Cookie::build("user", user).path("/").http_only(true).same_site(SameSite::Lax).finish();
    redirect(&cookie)
}

async fn sign_out(tracker: Data<AsyncTracker>, request: HttpRequest) -> HttpResponse {
    if let Some(user) = user(&request)
        && let Err(error) = tracker.sign_out(user).await
    {
        eprintln!("sign-out not recorded: {error}");
    }
    let mut cookie = Cookie::build("user", "").path("/").finish();
    cookie.make_removal();
    redirect(&cookie)
}

fn redirect(cookie: &Cookie<'_>) -> HttpResponse {
    // `HttpResponseBuilder::cookie` would not encode what a name may hold and a cookie cannot.
    let cookie = cookie.encoded().to_string();
    HttpResponse::SeeOther().insert_header(("Location", "/")).insert_header(("Set-Cookie", cookie)).finish()
}
