//! What a site has of its own: its users, and how it knows them.

use std::convert::Infallible;

use axum_login::{AuthUser, AuthnBackend};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;

/// What an authentication layer inserts into the request extensions.
#[derive(Clone)]
pub struct User(pub String);

/// The user of a token.
pub fn user_of(token: &str) -> Option<String> {
    token.strip_prefix("Bearer ").map(str::to_owned)
}

/// One event, and then none for ever.
pub fn news() -> impl Stream<Item = &'static str> {
    stream::once(async { "hello" }).chain(stream::pending())
}

/// The accounts, by their id. Each one's password is its id.
#[derive(Clone)]
pub struct Backend;

#[derive(Clone, Debug)]
pub struct Account(i64);

impl AuthUser for Account {
    type Id = i64;

    fn id(&self) -> i64 {
        self.0
    }

    fn session_auth_hash(&self) -> &[u8] {
        b"the hash of the password"
    }
}

#[derive(Deserialize)]
pub struct Credentials {
    id: i64,
    password: String,
}

impl AuthnBackend for Backend {
    type User = Account;
    type Credentials = Credentials;
    type Error = Infallible;

    async fn authenticate(&self, credentials: Credentials) -> Result<Option<Account>, Infallible> {
        let known = credentials.password == credentials.id.to_string();
        Ok(known.then_some(Account(credentials.id)))
    }

    async fn get_user(&self, id: &i64) -> Result<Option<Account>, Infallible> {
        Ok(Some(Account(*id)))
    }
}
