use last_seen::Recorder;
use warp::{Filter, Rejection, Reply, reject};

pub fn app(recorder: Recorder) -> impl Filter<Extract = (impl Reply,), Error = Rejection> + Clone {
    let page = warp::path!("page").and(signed_in(recorder)).map(|user| format!("Hello {user}"));
    let health = warp::path!("health").map(|| "ok"); // not recorded
    page.or(health)
}

/// For your `recover`.
#[derive(Debug)]
struct SignedOut;

impl reject::Reject for SignedOut {}

/// The filter of every route for signed-in users: gives the user, and records the sighting.
fn signed_in(recorder: Recorder) -> impl Filter<Extract = (String,), Error = Rejection> + Clone {
    warp::header("authorization").and_then(move |token: String| {
        let user = crate::backend::user_of(&token); // your check of a token
        if let Some(user) = &user {
            recorder.seen(user);
        }
        async move { user.ok_or_else(|| reject::custom(SignedOut)) }
    })
}
