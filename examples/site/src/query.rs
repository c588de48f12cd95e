//! What is asked of a page: names, filter, order and how many.

use std::cmp::Ordering;

use last_seen::{RosterUser, Status};
use serde::{Deserialize, Serialize};

/// So many users, and so many more each time.
const PAGE: usize = 50;

/// What is asked for, in the address of the page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Query {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) q: String,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) show: Show,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) sort: Sort,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) limit: usize,
    /// The sign-in before did not reach memcached.
    #[serde(skip_serializing)]
    pub(crate) unrecorded: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Show {
    #[default]
    All,
    Online,
    Offline,
    Unknown,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Sort {
    /// Who is online first, and of these who was seen last.
    #[default]
    #[serde(rename = "status")]
    Status,
    #[serde(rename = "-status")]
    StatusDown,
    #[serde(rename = "user")]
    User,
    #[serde(rename = "-user")]
    UserDown,
    #[serde(rename = "seen")]
    Seen,
    #[serde(rename = "-seen")]
    SeenDown,
}

impl Show {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Unknown => "unknown",
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Query {
    pub(crate) fn limit(&self) -> usize {
        self.limit.max(PAGE)
    }

    pub(crate) fn matches(&self, user: &RosterUser, folded: &str) -> bool {
        let status = match self.show {
            Show::All => true,
            Show::Online => user.status == Status::Online,
            Show::Offline => user.status == Status::Offline,
            Show::Unknown => user.status == Status::Unknown,
        };
        status && (folded.is_empty() || user.user.to_lowercase().contains(folded))
    }

    pub(crate) fn compare(&self, a: &RosterUser, b: &RosterUser) -> Ordering {
        let seen = a.last_seen.cmp(&b.last_seen);
        let status = || rank(a.status).cmp(&rank(b.status)).then(seen.reverse());
        let order = match self.sort {
            Sort::Status => status(),
            Sort::StatusDown => status().reverse(),
            Sort::User => Ordering::Equal,
            Sort::UserDown => a.user.cmp(b.user).reverse(),
            Sort::Seen => seen,
            Sort::SeenDown => seen.reverse(),
        };
        order.then_with(|| a.user.cmp(b.user))
    }

    fn link(&self) -> String {
        match serde_urlencoded::to_string(self) {
            Ok(query) if !query.is_empty() => format!("/?{query}"),
            _ => "/".to_owned(),
        }
    }

    /// The page sorted by a column; once more, the other way round.
    pub(crate) fn sorted(&self, first: Sort, then: Sort) -> String {
        let sort = if self.sort == first { then } else { first };
        Self { sort, ..self.clone() }.link()
    }

    /// The page with more users.
    pub(crate) fn longer(&self) -> String {
        Self { limit: self.limit().saturating_add(PAGE), ..self.clone() }.link()
    }

    /// The page with everyone.
    pub(crate) fn cleared(&self) -> String {
        Self { q: String::new(), show: Show::All, ..self.clone() }.link()
    }

    pub(crate) fn older(&self) -> String {
        Self { show: Show::Offline, ..self.clone() }.link()
    }
}

fn rank(status: Status) -> u8 {
    match status {
        Status::Online => 0,
        Status::Unknown => 1,
        _ => 2,
    }
}
