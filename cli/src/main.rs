//! The command line: `last-seen show alice`. On the library's public API alone.

mod args;
mod config;
mod json;
mod out;
mod table;
mod text;
mod verbs;

use std::{error::Error, io, process::ExitCode};

use clap::{CommandFactory, Parser, error::ErrorKind};
use last_seen::Tracker;

use args::{Cli, Verb};
use out::Out;

/// The exit codes: scripts rely on them.
const ONLINE: u8 = 0;
const DONE: u8 = 0;
const OFFLINE: u8 = 1;
const FAILED: u8 = 2;

/// What a verb ends with: an exit code, or the error of which [`FAILED`] and a sentence are made.
type Answer = Result<u8, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let mut out = Out::new();
    let code = match Cli::try_parse() {
        Ok(cli) => run(&cli, &mut out).unwrap_or_else(|error| {
            out.complain_of(&*error);
            FAILED
        }),
        Err(usage) => explain(&usage, &mut out),
    };
    match out.close() {
        Ok(()) => code.into(),
        // Whoever read us has heard enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => code.into(),
        Err(error) => {
            out::sentence(&format!("cannot write to the standard output: {error}"));
            FAILED.into()
        }
    }
}

fn run(cli: &Cli, out: &mut Out) -> Answer {
    if let Verb::Completions { shell } = cli.verb {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "last-seen", &mut script);
        out.write(&script);
        return Ok(DONE);
    }
    let tracker = Tracker::new(config::settings(&cli.place)?)?;
    match &cli.verb {
        Verb::Seen { users } => verbs::write::seen(&tracker, users, out),
        Verb::SignOut { users } => verbs::write::sign_out(&tracker, users, out),
        Verb::Forget { users } => verbs::write::forget(&tracker, users, out),
        Verb::Show { users, json } => verbs::show::show(&tracker, users, json.json, out),
        Verb::Who { json } => verbs::who::who(&tracker, json.json, out),
        Verb::Watch { users, json } => verbs::watch::watch(&tracker, users, json.json, out),
        Verb::Inspect { user, json } => verbs::inspect::inspect(&tracker, user, json.json, out),
        Verb::Servers { json } => verbs::servers::servers(&tracker, json.json, out),
        Verb::Completions { .. } => Ok(DONE),
    }
}

/// What clap has to say: help and version as they are, a mistake in one sentence.
fn explain(usage: &clap::Error, out: &mut Out) -> u8 {
    let told = usage.render().to_string();
    match usage.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            out.write(told.as_bytes());
            DONE
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            eprint_quietly(&told);
            FAILED
        }
        _ => {
            out::sentence(&format!("{}; see last-seen --help", one_sentence(&told)));
            FAILED
        }
    }
}

/// The first paragraph of clap's message, and its tips.
fn one_sentence(told: &str) -> String {
    let told = told.strip_prefix("error: ").unwrap_or(told);
    let mut lines = told.lines().map(str::trim);
    let what: Vec<&str> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let tips = lines.filter_map(|line| line.strip_prefix("tip: "));
    tips.fold(what.join(" "), |sentence, tip| format!("{sentence}; {tip}"))
}

/// A closed standard error is no reason to panic.
fn eprint_quietly(text: &str) {
    use io::Write;
    let _ = io::stderr().write_all(text.as_bytes());
}
