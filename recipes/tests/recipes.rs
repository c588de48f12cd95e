//! Each recipe records the user who is signed in, and nobody else.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use actix_web::{HttpMessage, HttpRequest, cookie::Key, web};
use axum::{
    Extension, Router,
    body::Body,
    routing::{get, post},
};
use futures_util::StreamExt;
use http::{Request, Response, StatusCode, header};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, encode};
use last_seen::{AsyncTracker, Recorder, Tracker};
use last_seen_recipes::backend::{Backend, User};
use last_seen_tests::{eventually, http::Browser, secs};
use loco_rs::app::Initializer;
use poem::Route;
use serde_json::{Map, json};
use tower::ServiceExt;

const AN_HOUR: u64 = 3_600;

fn recorder() -> (Recorder, Tracker) {
    let tracker = Tracker::in_memory();
    (Recorder::new(tracker.clone()), tracker)
}

/// Whether the user was recorded since the last time that this was asked.
#[track_caller]
fn recorded(recorder: &Recorder, tracker: &Tracker, user: &str) -> bool {
    recorder.flush().unwrap();
    let online = tracker.online(user).unwrap();
    tracker.forget(user).unwrap();
    online
}

/// Whether the user has a record, beside what is queued.
#[track_caller]
fn is_stored(tracker: &Tracker, user: &str) -> bool {
    tracker.inspect(user).unwrap().stored.is_some()
}

fn request(path: &str) -> http::request::Builder {
    Request::get(path)
}

async fn send(app: &Router, request: http::request::Builder) -> Response<Body> {
    app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

/// The cookie that the answer sets, as a browser sends it.
fn cookie<B>(response: &Response<B>) -> String {
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

fn pages() -> Router {
    Router::new().route("/page", get(|| async { "a page" }))
}

#[tokio::test]
async fn axum_records_whom_the_extensions_name() {
    let (recorder, tracker) = recorder();
    let app = last_seen_recipes::axum::app(&recorder, tracker.clone());
    for nobodys in [request("/users/7"), request("/health").header("user-id", "7")] {
        assert_eq!(send(&app, nobodys).await.status(), StatusCode::OK);
    }
    assert_eq!(recorder.stats().seen, 0);
    let page = send(&app, request("/users/7").header("user-id", "7")).await;
    let page = axum::body::to_bytes(page.into_body(), 1_000).await.unwrap();
    assert_eq!(page, "7: just now, online: true");
    assert!(recorded(&recorder, &tracker, "7"));
}

#[tokio::test]
async fn axum_login_records_who_is_signed_in() {
    let (recorder, tracker) = recorder();
    let sessions = tower_sessions_memory_store::MemoryStore::default();
    let app = last_seen_recipes::axum_login::app(
        pages(),
        sessions,
        Backend,
        recorder.clone(),
        AsyncTracker::from(tracker.clone()),
    );
    send(&app, request("/page")).await;
    assert_eq!(recorder.stats().seen, 0);
    let form = Request::post("/sign-in").header("content-type", "application/x-www-form-urlencoded");
    let form = form.body(Body::from("id=7&password=7")).unwrap();
    let signed_in = app.clone().oneshot(form).await.unwrap();
    assert_eq!(signed_in.status(), StatusCode::NO_CONTENT);
    assert!(recorded(&recorder, &tracker, "7"));
    let cookie = cookie(&signed_in);
    assert_eq!(send(&app, request("/page").header("cookie", &cookie)).await.status(), StatusCode::OK);
    recorder.flush().unwrap();
    assert!(tracker.online(7).unwrap());
    let sign_out = Request::post("/sign-out").header("cookie", &cookie);
    assert_eq!(send(&app, sign_out).await.status(), StatusCode::NO_CONTENT);
    recorder.flush().unwrap();
    assert!(!tracker.online(7).unwrap() && tracker.last_seen(7).unwrap().is_some());
}

#[tokio::test]
async fn tower_sessions_records_whom_the_session_names() {
    let (recorder, tracker) = recorder();
    let sign_in = |session: tower_sessions::Session| async move {
        session.insert("user", "alice").await.unwrap();
    };
    let app =
        last_seen_recipes::tower_sessions::app(pages().route("/sign-in", post(sign_in)), recorder.clone());
    send(&app, request("/page")).await;
    let cookie = cookie(&send(&app, Request::post("/sign-in")).await);
    assert_eq!(recorder.stats().seen, 0);
    send(&app, request("/page").header("cookie", cookie)).await;
    assert!(recorded(&recorder, &tracker, "alice"));
}

#[tokio::test]
async fn jwt_records_the_subject_of_a_valid_token() {
    use last_seen_recipes::jwt::{Claims, Site};
    let (recorder, tracker) = recorder();
    let app = Router::new()
        .route("/page", get(|claims: Claims| async move { claims.sub }))
        .with_state(Site { recorder: recorder.clone(), key: DecodingKey::from_secret(b"secret") });
    let token = |secret: &[u8], until: i64| {
        let claims = json!({ "sub": "alice", "exp": last_seen::chrono::Utc::now().timestamp() + until });
        let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(secret)).unwrap();
        request("/page").header("authorization", format!("Bearer {token}"))
    };
    for refused in [request("/page"), token(b"another", 60), token(b"secret", -3_600)] {
        assert_eq!(send(&app, refused).await.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(recorder.stats().seen, 0);
    assert_eq!(send(&app, token(b"secret", 60)).await.status(), StatusCode::OK);
    assert!(recorded(&recorder, &tracker, "alice"));
}

#[tokio::test]
async fn tonic_records_whom_the_interceptor_lets_in() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let (recorder, tracker) = recorder();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (records, stopped) = (recorder.clone(), async { drop(stopped.await) });
    let server = tokio::spawn(async move {
        let served = last_seen_recipes::tonic::serve(listener, records, stopped).await;
        served.map_err(|error| error.to_string())
    });
    let channel =
        tonic::transport::Endpoint::new(format!("http://{address}")).unwrap().connect().await.unwrap();
    let check = || tonic::Request::new(HealthCheckRequest::default());
    let refused = HealthClient::new(channel.clone()).check(check()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    assert_eq!(recorder.stats().seen, 0);
    let mut request = check();
    request.metadata_mut().insert("authorization", "Bearer alice".parse().unwrap());
    HealthClient::new(channel).check(request).await.unwrap();
    // The end writes it.
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    assert!(is_stored(&tracker, "alice"));
}

#[test]
fn actix_identity_records_whose_identity_it_is() {
    let (recorder, tracker) = recorder();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let records = recorder.clone();
    // Ends with the process of the tests.
    thread::spawn(move || {
        let pages = |pages: &mut web::ServiceConfig| {
            let sign_in = async |request: HttpRequest| {
                actix_identity::Identity::login(&request.extensions(), "alice".to_owned()).unwrap();
                "signed in"
            };
            pages.route("/page", web::get().to(async || "a page")).route("/sign-in", web::get().to(sign_in));
        };
        let serve = last_seen_recipes::actix_identity::serve(listener, pages, Key::generate(), records);
        actix_web::rt::System::new().block_on(serve)
    });
    let mut browser = Browser::new(&address.to_string());
    assert_eq!(browser.get("/page").status, 200);
    assert_eq!(browser.get("/sign-in").status, 200);
    assert_eq!(recorder.stats().seen, 0);
    assert_eq!(browser.get("/page").status, 200);
    assert!(recorded(&recorder, &tracker, "alice"));
}

#[tokio::test]
async fn poem_records_whom_the_session_names() {
    let (recorder, tracker) = recorder();
    let sign_in = poem::endpoint::make_sync(|request: poem::Request| {
        request.extensions().get::<poem::session::Session>().unwrap().set("user", "alice");
    });
    let page = poem::endpoint::make_sync(|_| "a page");
    let pages = Route::new().at("/sign-in", sign_in).at("/page", page);
    let key = poem::web::cookie::CookieKey::generate();
    let client = poem::test::TestClient::new(last_seen_recipes::poem::app(pages, key, recorder.clone()));
    client.get("/page").send().await.assert_status_is_ok();
    let forged = r#"poem-session={"user":"alice"}"#;
    client.get("/page").header("cookie", forged).send().await.assert_status_is_ok();
    let signed_in = client.get("/sign-in").send().await;
    assert_eq!(recorder.stats().seen, 0);
    let cookie = signed_in.0.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    client.get("/page").header("cookie", cookie).send().await.assert_status_is_ok();
    assert!(recorded(&recorder, &tracker, "alice"));
}

#[tokio::test]
async fn warp_records_whom_the_filter_names() {
    let (recorder, tracker) = recorder();
    let app = last_seen_recipes::warp::app(recorder.clone());
    let request = |token: &str| warp::test::request().path("/page").header("authorization", token);
    assert_eq!(warp::test::request().path("/health").reply(&app).await.body(), "ok");
    assert!(!request("nobody").reply(&app).await.status().is_success());
    assert_eq!(recorder.stats().seen, 0);
    assert_eq!(request("Bearer alice").reply(&app).await.body(), "Hello alice");
    assert!(recorded(&recorder, &tracker, "alice"));
}

#[tokio::test]
async fn an_event_stream_keeps_its_user_online_and_ends_with_a_sign_out() {
    let (recorder, tracker) = recorder();
    let streams = last_seen_recipes::event_stream::app(recorder.clone());
    let app = streams.layer(Extension(User("alice".to_owned())));
    let mut events = send(&app, request("/events")).await.into_body().into_data_stream();
    assert_eq!(events.next().await.unwrap().unwrap(), "data: hello\n\n");
    assert!(tracker.online("alice").unwrap());
    tracker.sign_out("alice").unwrap();
    assert!(tokio::time::timeout(secs(10), events.next()).await.unwrap().is_none());
    assert!(!tracker.online("alice").unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_keeps_its_user_online_and_ends_with_a_sign_out() {
    let (recorder, tracker) = recorder();
    let streams = last_seen_recipes::web_socket::app(recorder.clone());
    let app = streams.layer(Extension(User("alice".to_owned())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, app).into_future());
    let opened = tokio::task::spawn_blocking(move || {
        let mut socket = TcpStream::connect(address).unwrap();
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        write!(socket, "GET /socket HTTP/1.1\r\nHost: {address}\r\n{upgrade}\r\n").unwrap();
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
        assert!(eventually(|| tracker.online("alice").unwrap().then_some(true)));
        tracker.sign_out("alice").unwrap();
        socket.read_to_end(&mut Vec::new()).unwrap();
        assert!(!tracker.online("alice").unwrap());
    });
    opened.await.unwrap();
}

#[tokio::test]
async fn loco_records_whom_the_token_names() {
    use last_seen_recipes::loco::{LastSeen, on_shutdown};
    use loco_rs::{app::AppContext, config::Config, environment::Environment};
    // What the recipe's tracker is.
    let tracker = Tracker::in_memory();
    last_seen::set_global(tracker.clone()).unwrap();
    let secret = "c2VjcmV0";
    let config: Config = serde_json::from_value(json!({
        "logger": { "enable": false, "level": "off", "format": "compact" },
        "server": { "port": 0, "host": "http://localhost" },
        "auth": { "jwt": { "secret": secret, "expiration": AN_HOUR } },
    }))
    .unwrap();
    let context = AppContext::builder(Environment::Test, config).build();
    let app = LastSeen.after_routes(pages(), &context).await.unwrap();
    let token = loco_rs::auth::jwt::JWT::new(secret).generate_token(AN_HOUR, "alice".to_owned(), Map::new());
    let token = format!("Bearer {}", token.unwrap());
    send(&app, request("/page")).await;
    send(&app, request("/page").header("authorization", "Bearer forged")).await;
    on_shutdown(&context).await;
    assert_eq!(tracker.last_seen("alice").unwrap(), None);
    send(&app, request("/page").header("authorization", token)).await;
    on_shutdown(&context).await;
    assert!(is_stored(&tracker, "alice"));
}
