//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, builder::PossibleValuesParser, builder::TypedValueParser};
use clap_complete::Shell;
use last_seen::{SettingsError, Sharding};

const EXAMPLES: &str = "\
Examples:
  last-seen show alice bob               when, how long ago, and whether online
  last-seen show alice >/dev/null && ..  if alice is online
  last-seen who --json | wc -l           how many are online
  last-seen watch                        who comes and goes, until Ctrl-C
  last-seen inspect alice                why another program does not see her
  last-seen --servers cache1,cache2 --django Europe/Berlin who

Exit codes:
  show of one user: 0 online, 1 offline, 2 unknown
  all else: 0, or 2 where anything failed

Settings come from the environment, as for the library: LAST_SEEN_SERVERS, LAST_SEEN_ONLINE_TIMEOUT
and so on; or from the file given with --config instead. Options go before either.
NO_COLOR=1 turns colours off.";

/// When users were last seen, and who is online: in the memcached that a site shares.
#[derive(Debug, Parser)]
#[command(name = "last-seen", version, after_help = EXAMPLES, max_term_width = 110)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Where the records are, and in what form.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where the records are")]
pub(crate) struct Place {
    /// The memcached servers, as in "cache1:11211,cache2:11211"
    #[arg(long, global = true, value_name = "LIST")]
    pub(crate) servers: Option<String>,
    /// A TOML file of settings
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What stands before the user in a key
    #[arg(long, global = true, value_name = "PREFIX")]
    pub(crate) prefix: Option<String>,
    /// How the other programs choose between several servers
    #[arg(long, global = true, value_name = "NAME", value_parser = sharding())]
    pub(crate) sharding: Option<Sharding>,
    /// The records of an unchanged Django site with naive datetimes, whose time zone this is
    #[arg(long, global = true, value_name = "ZONE")]
    pub(crate) django: Option<String>,
    /// The records of an unchanged Django site with aware datetimes
    #[arg(long, global = true, conflicts_with = "django")]
    pub(crate) django_aware: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Json {
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Note that users are here now
    Seen {
        /// Names or ids, as the site gives them to last-seen
        #[arg(required = true, value_name = "USER")]
        users: Vec<String>,
    },
    /// Make users offline now, for every reader; when they were last seen is kept
    #[command(alias = "signed-out")]
    SignOut {
        /// Names or ids, as the site gives them to last-seen
        #[arg(required = true, value_name = "USER")]
        users: Vec<String>,
    },
    /// Remove the records of users
    Forget {
        /// Names or ids, as the site gives them to last-seen
        #[arg(required = true, value_name = "USER")]
        users: Vec<String>,
    },
    /// When users were last seen, and whether they are online
    Show {
        /// Names or ids, as the site gives them to last-seen
        #[arg(required = true, value_name = "USER")]
        users: Vec<String>,
        #[command(flatten)]
        json: Json,
    },
    /// Everyone who is online, the newest first; each server lists all its records for it
    Who {
        #[command(flatten)]
        json: Json,
    },
    /// Who is online, and from then on who comes and goes, until Ctrl-C
    Watch {
        /// These alone
        #[arg(value_name = "USER")]
        users: Vec<String>,
        #[command(flatten)]
        json: Json,
    },
    /// The record of a user as it is stored, and as each format would have written it
    Inspect {
        /// A name or id, as the site gives it to last-seen
        user: String,
        #[command(flatten)]
        json: Json,
    },
    /// How each server is: version, latency, clock, connections
    Servers {
        #[command(flatten)]
        json: Json,
    },
    /// A script that completes this command line in a shell
    Completions {
        /// Where it is to be used
        shell: Shell,
    },
}

fn sharding() -> impl TypedValueParser<Value = Sharding> {
    PossibleValuesParser::new([
        "ketama",
        "pymemcache",
        "libmemcached",
        "python-memcached",
        "dalli",
        "gomemcache",
    ])
    .try_map(|name| -> Result<Sharding, SettingsError> { name.parse() })
}
