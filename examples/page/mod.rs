//! The page that the web examples show. No framework in here.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use last_seen::{Presence, Result};

/// The users of the site: what its database would know.
static USERS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

pub(crate) fn add_user(name: &str) {
    USERS.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
}

pub(crate) fn users() -> BTreeSet<String> {
    USERS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The view: three answers, never mixed up. `.ok()`, since a page must not fail by its cache.
pub(crate) fn table(users: &BTreeSet<String>, presences: Vec<Result<Presence>>) -> String {
    let mut rows = String::new();
    for (user, presence) in users.iter().zip(presences) {
        let (last_seen, online) = match presence.ok() {
            Some(presence) => (presence.ago().to_string(), if presence.online { "yes" } else { "no" }),
            None => ("unknown".to_owned(), "unknown"),
        };
        rows += &format!("<tr><td>{}<td>{last_seen}<td>{online}\n", escape(user));
    }
    format!("<tr><th>User<th>Last seen<th>Online\n{rows}")
}

/// Asks for the table again every two seconds, and says so if the site does not answer: what is old must not look current.
const SCRIPT: &str = "for (;;) {
  await new Promise(done => setTimeout(done, 2000));
  const asked = fetch('/poll', { signal: AbortSignal.timeout(5000) });
  const table = await asked.then(answer => answer.ok && answer.text()).catch(() => false);
  if (table) who.innerHTML = table;
  who.style.opacity = table ? 1 : .5;
  silent.hidden = table;
}";

/// The whole page.
pub(crate) fn whole(user: Option<&str>, table: &str) -> String {
    let form = match user {
        Some(user) => format!(
            "<form method=post action=/sign-out>Signed in as {}. <button>Sign out</button></form>",
            escape(user)
        ),
        None => "<form method=post action=/sign-in>\
                 <input name=user required maxlength=100> <button>Sign in</button></form>"
            .to_owned(),
    };
    format!(
        "<!doctype html><meta charset=utf-8><link rel=icon href=data:,><title>Who is here</title>\n\
         {form}\n<p id=silent role=status hidden>The site does not answer. This is what it said last.</p>\n\
         <table id=who>\n{table}</table>\n<script type=module>{SCRIPT}</script>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
