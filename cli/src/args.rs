//! What can be said on the command line.

use std::{path::PathBuf, time::Duration};

use clap::{
    Args, CommandFactory, Parser, Subcommand, ValueEnum, builder::PossibleValuesParser,
    builder::TypedValueParser,
};
use clap_complete::Shell;
use last_seen::{SettingsError, Sharding};

const AFTER: &str = "\
Exit codes:
  0    done; show of one user: online
  1    the answer is no: offline, no record; forget: you answered no
  2    unknown, or failed: no server answered, a name is invalid, or the record
       cannot be read or was written with other settings
  3    a partial answer: some users or servers are unknown, but all that is
       printed is true
  64   wrong usage or a wrong setting
  130  Ctrl-C

Settings come from the environment, as for the library: LAST_SEEN_SERVERS,
LAST_SEEN_ONLINE_TIMEOUT and so on; or from the file given with --config
instead. Options override either.
NO_COLOR=1 turns colours off.";

/// Show who is online and when users were last seen.
#[derive(Debug, Parser)]
#[command(name = "last-seen", version, after_help = AFTER, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) connection: ConnectionOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const DJANGO: &str =
    "Read and write the records of a Django site that stores datetime.now(); ZONE is its TIME_ZONE";
const DJANGO_AWARE: &str = "Read and write the records of a Django site that stores timezone.now()";

/// Where the records are, and in what form.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where the records are")]
pub(crate) struct ConnectionOptions {
    /// The memcached servers, as in "cache1:11211,cache2:11211"
    #[arg(long, global = true, value_name = "LIST")]
    pub(crate) servers: Option<String>,
    /// A TOML file of settings
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The prefix of every key
    #[arg(long, global = true, value_name = "PREFIX")]
    pub(crate) prefix: Option<String>,
    /// How keys are spread over servers; must match your other programs
    #[arg(long, global = true, value_name = "NAME", value_parser = sharding())]
    pub(crate) sharding: Option<Sharding>,
    #[arg(long, global = true, value_name = "ZONE", help = DJANGO)]
    pub(crate) django: Option<String>,
    #[arg(long, global = true, conflicts_with = "django", help = DJANGO_AWARE)]
    pub(crate) django_aware: bool,
}

/// How the answer is written.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputOptions {
    /// Write one JSON object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_default_value = true)]
    pub(crate) color: When,
    /// Show times in UTC instead of local time
    #[arg(long, global = true)]
    pub(crate) utc: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    Seen,
    User,
}

#[derive(Debug, Args)]
pub(crate) struct Users {
    /// User names or ids, exactly as your site passes them to last-seen; - reads them from the standard input, one a
    /// line
    #[arg(required = true, value_name = "USER")]
    pub(crate) users: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show when users were last seen, and whether they are online
    #[command(after_help = "\
Examples:
  last-seen show alice bob
  last-seen show -q alice && echo alice is online")]
    Show {
        #[command(flatten)]
        users: Users,
        /// Print nothing: the exit code is the answer
        #[arg(short, long)]
        quiet: bool,
    },
    /// List everyone who is online; each server lists all its records for it
    #[command(after_help = "\
Examples:
  last-seen who -n 10
  last-seen who --count")]
    Who {
        /// List at most N users
        #[arg(short, value_name = "N")]
        n: Option<usize>,
        /// Order by when they were last seen, the newest first, or by name
        #[arg(long, value_name = "BY", default_value = "seen")]
        sort: Sort,
        /// Print only how many there are
        #[arg(long)]
        count: bool,
    },
    /// Follow who comes online and goes offline, live; in a pipe, write a line for each event
    #[command(after_help = "\
Examples:
  last-seen watch
  last-seen watch --json | jq -r 'select(.event == \"online\") | .user'

On a terminal ? lists the keys.")]
    Watch {
        /// Watch only these users (default: everyone); - reads them from the standard input
        #[arg(value_name = "USER")]
        users: Vec<String>,
        /// Write a line for each event on a terminal too
        #[arg(long)]
        plain: bool,
        /// Also tell when a user who is online is seen again
        #[arg(long)]
        all: bool,
        /// How long offline users stay on the screen, as in "5m"
        #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
        keep: Duration,
    },
    /// Record users as active now
    #[command(after_help = "\
Examples:
  last-seen seen alice
  cut -d, -f1 users.csv | last-seen seen -")]
    Seen {
        #[command(flatten)]
        users: Users,
        /// Say what was done
        #[arg(short, long)]
        verbose: bool,
    },
    /// Mark users as offline now, for every reader
    #[command(alias = "signed-out")]
    #[command(after_help = "\
Examples:
  last-seen sign-out bob
  last-seen sign-out -v bob carol")]
    SignOut {
        #[command(flatten)]
        users: Users,
        /// Say what was done in a pipe too
        #[arg(short, long)]
        verbose: bool,
    },
    /// Delete the records of users; asks first on a terminal
    #[command(after_help = "\
Examples:
  last-seen forget carol
  last-seen forget -f carol dave")]
    Forget {
        #[command(flatten)]
        users: Users,
        /// Do not ask
        #[arg(short, long)]
        force: bool,
        /// Say what was done in a pipe too
        #[arg(short, long)]
        verbose: bool,
    },
    /// Show one record, byte by byte, and where other programs would look for it
    #[command(after_help = "\
Examples:
  last-seen inspect alice
  last-seen inspect alice --django Europe/Berlin --all-formats")]
    Inspect {
        /// A user name or id, exactly as your site passes it to last-seen
        user: String,
        /// Also show what each format would store
        #[arg(long)]
        all_formats: bool,
    },
    /// Show the health of each memcached: version, latency, clock, connections
    #[command(after_help = "\
Examples:
  last-seen servers
  last-seen servers --json --servers cache1,cache2")]
    Servers,
    /// Generate a shell completion script
    #[command(after_help = "\
Examples:
  last-seen completions bash --install
  last-seen completions zsh > ~/.zfunc/_last-seen")]
    Completions {
        /// Shell to generate it for
        shell: Shell,
        /// Write it to where the shell looks for it in your home folder
        #[arg(long)]
        install: bool,
    },
    /// Write the manual page, of one command if it is named
    #[command(hide = true)]
    Man {
        /// A command
        command: Option<String>,
    },
}

/// The whole command line. In a command's help the options of all commands are one line.
pub(crate) fn command() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    let common: Vec<_> = command.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    let is_common = |id: &clap::Id| common.iter().any(|arg| arg.get_id() == id);
    command.mut_subcommands(|command| {
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        command
            .mut_args(|arg| if is_common(arg.get_id()) { arg.hide(true) } else { arg })
            .after_help(format!("{COMMON}\n\n{after}").trim_end().to_owned())
    })
}

const COMMON: &str = "\
Options of every command: --servers LIST, --config FILE, --json, --utc and others; see last-seen help";

fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err("a number with s, m, h or d is needed, as in \"5m\"".to_owned()),
    };
    match digits.parse::<u32>() {
        Ok(count) => Ok(Duration::from_secs(u64::from(count) * seconds)),
        Err(_) => Err("a number with s, m, h or d is needed, as in \"5m\"".to_owned()),
    }
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
