//! Rocket: a fairing records, `AsyncTracker` answers. Then open <http://127.0.0.1:8080/>.
//!
//! With `LAST_SEEN_SERVERS=127.0.0.1:11211` the records are in memcached; stop it, and the page says so.
//!
//! `Tracker` has no place in an async handler: it blocks the thread, and with it every other request there, as
//! long as memcached takes to answer. `AsyncTracker` has the same verbs and waits without.

#[path = "../../page/mod.rs"]
mod page;

use std::net::SocketAddr;

use last_seen::{AsyncTracker, Error, Recorder, Tracker};
use rocket::{
    Config, Data, FromForm, Request, State,
    config::LogLevel,
    fairing::{AdHoc, Fairing, Info, Kind},
    form::Form,
    get,
    http::{Cookie, CookieJar, SameSite},
    post,
    response::{Redirect, content::RawHtml, status::BadRequest},
    routes,
};

#[rocket::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tracker = match std::env::var_os("LAST_SEEN_SERVERS") {
        Some(_) => Tracker::from_env()?,
        None => Tracker::in_memory(),
    };
    let recorder = Recorder::new(tracker.clone());
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let address: SocketAddr = address.parse()?;
    let (address, port) = (address.ip(), address.port());
    let config = Config { address, port, log_level: LogLevel::Critical, ..Config::default() };
    rocket::custom(config)
        .manage(AsyncTracker::from(tracker))
        .attach(Seen(recorder.clone()))
        .mount("/", routes![home, poll, health, sign_in, sign_out])
        .attach(AdHoc::on_liftoff("address", |rocket| {
            let Config { address, port, .. } = rocket.config();
            println!("listening on http://{}/", SocketAddr::new(*address, *port));
            Box::pin(async {})
        }))
        .launch() // until Ctrl-C
        .await?;
    // Writes what is queued, and blocks while it does: nothing else runs here any more.
    if let Err(error) = recorder.close() {
        eprintln!("the last sightings are lost: {error}");
    }
    Ok(())
}

/// Request code: the fairing records who makes a request.
struct Seen(Recorder);

#[rocket::async_trait]
impl Fairing for Seen {
    fn info(&self) -> Info {
        Info { name: "last seen", kind: Kind::Request }
    }

    async fn on_request(&self, request: &mut Request<'_>, _: &mut Data<'_>) {
        // A page that polls is open, but nobody need be before it.
        let activity = !["/poll", "/health"].contains(&request.uri().path().as_str());
        if activity && let Some(user) = user(request.cookies()) {
            self.0.seen(user);
        }
    }
}

/// Who makes the request. A real site takes a private cookie (`get_private`), not the bare name.
fn user(cookies: &CookieJar<'_>) -> Option<String> {
    cookies.get("user").map(|cookie| cookie.value().to_owned())
}

#[get("/")]
async fn home(tracker: &State<AsyncTracker>, cookies: &CookieJar<'_>) -> RawHtml<String> {
    RawHtml(page::whole(user(cookies).as_deref(), &table(tracker).await))
}

#[get("/poll")]
async fn poll(tracker: &State<AsyncTracker>) -> RawHtml<String> {
    RawHtml(table(tracker).await)
}

#[get("/health")]
fn health() -> &'static str {
    "ok"
}

/// Everyone, in one round trip.
async fn table(tracker: &AsyncTracker) -> String {
    let users = page::users();
    page::table(&users, tracker.presences(&users).await)
}

#[derive(FromForm)]
struct SignIn {
    user: String,
}

#[post("/sign-in", data = "<form>")]
async fn sign_in(
    tracker: &State<AsyncTracker>,
    cookies: &CookieJar<'_>,
    form: Form<SignIn>,
) -> Result<Redirect, BadRequest<String>> {
    let user = &form.user;
    // Nobody was signed in when the fairing looked. Written now, so that the next page shows the user online.
    match tracker.seen(user).await {
        Err(error @ Error::InvalidUser(_)) => return Err(BadRequest(error.to_string())),
        // A cache that cannot be reached is no reason to fail a request.
        Err(error) => eprintln!("not recorded: {error}"),
        Ok(()) => {}
    }
    page::add_user(user);
    cookies.add(Cookie::build(("user", user.clone())).path("/").http_only(true).same_site(SameSite::Lax));
    Ok(Redirect::to("/"))
}

#[post("/sign-out")]
async fn sign_out(tracker: &State<AsyncTracker>, cookies: &CookieJar<'_>) -> Redirect {
    if let Some(user) = user(cookies)
        && let Err(error) = tracker.sign_out(user).await
    {
        eprintln!("sign-out not recorded: {error}");
    }
    cookies.remove("user");
    Redirect::to("/")
}
