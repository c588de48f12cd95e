//! The command line: `last-seen show alice`. On the library's public API alone.

mod args;
mod commands;
mod config;
mod help;
mod json;
mod out;
mod table;
mod text;
mod users;
mod view;
mod words;

use std::{
    error::Error,
    io::{self, BufRead},
    process::ExitCode,
};

use clap::FromArgMatches;
use last_seen::Tracker;

use args::{Cli, Command, When};
use config::ConfigError;
use out::Out;
use view::View;

/// The exit codes: scripts rely on them.
pub(crate) struct Exit;

impl Exit {
    /// Also: online.
    pub(crate) const DONE: u8 = 0;
    /// The answer is no: offline, no record, or nobody confirmed a `forget`.
    pub(crate) const NO: u8 = 1;
    /// Unknown, or failed.
    pub(crate) const UNKNOWN: u8 = 2;
    /// Some users or servers are unknown, but what is printed is true.
    pub(crate) const PARTIAL: u8 = 3;
    pub(crate) const USAGE: u8 = 64;
    pub(crate) const INTERRUPTED: u8 = 130;

    /// So many of all are unknown, or failed; else it is `otherwise`.
    pub(crate) fn of(failed: usize, all: usize, otherwise: u8) -> u8 {
        match failed {
            0 => otherwise,
            failed if failed == all => Self::UNKNOWN,
            _ => Self::PARTIAL,
        }
    }
}

/// What a command ends with: an exit code, or the error of which [`Exit::UNKNOWN`] and a sentence are made.
type CommandResult = Result<u8, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let parsed = args::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let (mut out, code);
    match parsed {
        Ok(cli) => {
            out = Out::new(View::new(cli.output.color, cli.output.utc), cli.output.json);
            code = run(&cli, &mut out).unwrap_or_else(|error| failed(&*error, &mut out));
        }
        Err(usage) => {
            out = Out::new(View::new(When::Auto, false), false);
            code = help::explain(&usage, &mut out);
        }
    }
    match out.close() {
        Ok(()) => code.into(),
        // The reader closed the pipe (e.g. `head`); not an error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => code.into(),
        Err(error) => {
            out::print_error(&format!("cannot write to the standard output: {}", words::chain(&error)));
            Exit::UNKNOWN.into()
        }
    }
}

fn failed(error: &(dyn Error + Send + Sync + 'static), out: &mut Out) -> u8 {
    match error.downcast_ref::<last_seen::Error>() {
        Some(error) => {
            out.report_once(error, "");
            if matches!(error, last_seen::Error::Settings(_)) { Exit::USAGE } else { Exit::UNKNOWN }
        }
        None => {
            out.report(&words::chain(error));
            if error.is::<ConfigError>() { Exit::USAGE } else { Exit::UNKNOWN }
        }
    }
}

fn run(cli: &Cli, out: &mut Out) -> CommandResult {
    match &cli.command {
        Command::Completions { shell, install } => {
            return commands::completions::completions(*shell, *install, out);
        }
        Command::Man { command } => return Ok(help::man(command.as_deref(), out)),
        _ => {}
    }
    let tracker = Tracker::new(config::settings(&cli.connection)?)?;
    match &cli.command {
        Command::Show { users, quiet } => {
            Ok(commands::show::show(&tracker, &names(&users.users)?, *quiet, out))
        }
        Command::Who { n, sort, count } => commands::who::who(&tracker, *n, *sort, *count, out),
        Command::Watch { users, plain, all, keep } => {
            let options =
                commands::watch::Options { users: names(users)?, plain: *plain, all: *all, keep: *keep };
            commands::watch::watch(&tracker, options, out)
        }
        Command::Seen { users, verbose } => {
            Ok(commands::write::seen(&tracker, &names(&users.users)?, *verbose, out))
        }
        Command::SignOut { users, verbose } => {
            Ok(commands::write::sign_out(&tracker, &names(&users.users)?, *verbose, out))
        }
        Command::Forget { users, force, verbose } => {
            Ok(commands::write::forget(&tracker, &names(&users.users)?, *force, *verbose, out))
        }
        Command::Inspect { user, all_formats } => {
            commands::inspect::inspect(&tracker, user, *all_formats, out)
        }
        Command::Servers => Ok(commands::servers::servers(&tracker, out)),
        Command::Completions { .. } | Command::Man { .. } => Ok(Exit::DONE),
    }
}

/// The users; `-` means the lines of the standard input.
fn names(users: &[String]) -> io::Result<Vec<String>> {
    let mut names = Vec::with_capacity(users.len());
    for user in users {
        if user != "-" {
            names.push(user.clone());
            continue;
        }
        for line in io::stdin().lock().lines() {
            let line = line?;
            names.extend(Some(line).filter(|line| !line.is_empty()));
        }
    }
    Ok(names)
}
