//! What the program says of itself: the overview, the manual page, and mistakes in one sentence.

use std::{env, io};

use clap::error::ErrorKind;

use crate::{
    Exit, args,
    out::{Out, print_error, print_raw},
    view,
};

const OVERVIEW: &str = "\
Show who is online and when users were last seen.

Usage: last-seen [OPTIONS] <COMMAND>

Ask                                    Change
  show      these users                  seen       record users as active
  who       everyone who is online       sign-out   mark users as offline
  watch     follow it live               forget     delete their records
Diagnose
  inspect   one record, byte by byte     servers    health of each memcached

Options: --servers LIST, --config FILE, --json, …   last-seen help for all
Default server: 127.0.0.1:11211 (LAST_SEEN_SERVERS)
";

const NARROW: &str = "\
Show who is online and when users were
last seen.

Usage: last-seen [OPTIONS] <COMMAND>

  show      these users
  who       everyone who is online
  watch     follow it live
  seen      record users as active
  sign-out  mark users as offline
  forget    delete their records
  inspect   one record, byte by byte
  servers   health of each memcached

last-seen help: options, environment
";

/// The widest line of the overview.
const OVERVIEW_COLUMNS: usize = 76;

/// What clap has to say: help and version as they are, a mistake in one sentence.
pub(crate) fn explain(usage: &clap::Error, out: &mut Out) -> u8 {
    let rendered = usage.render().to_string();
    match usage.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            out.write(rendered.as_bytes());
            Exit::DONE
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            let columns = view::columns(&io::stderr()).unwrap_or(OVERVIEW_COLUMNS);
            print_raw(if columns < OVERVIEW_COLUMNS { NARROW } else { OVERVIEW });
            Exit::USAGE
        }
        ErrorKind::MissingRequiredArgument if let Some(example) = example() => {
            print_error(&format!("{}; try: {example}", one_sentence(&rendered)));
            Exit::USAGE
        }
        _ => {
            print_error(&format!("{}; see last-seen --help", one_sentence(&rendered)));
            Exit::USAGE
        }
    }
}

/// The first paragraph of clap's message, and its tips.
fn one_sentence(rendered: &str) -> String {
    let rendered = rendered.strip_prefix("error: ").unwrap_or(rendered);
    let mut lines = rendered.lines().map(str::trim);
    let what: Vec<&str> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let tips = lines.filter_map(|line| line.strip_prefix("tip: "));
    tips.fold(what.join(" "), |sentence, tip| format!("{sentence}; {tip}"))
}

/// The first example in the help of the command that was given.
fn example() -> Option<String> {
    let whole = args::command();
    let command = env::args_os().find_map(|word| whole.find_subcommand(word))?;
    let after = command.get_after_help()?.to_string();
    after.lines().skip_while(|line| *line != "Examples:").nth(1).map(|line| line.trim().to_owned())
}

/// The manual page, or the page of one command.
pub(crate) fn man(of: Option<&str>, out: &mut Out) -> u8 {
    let whole = args::command();
    let page = match of {
        None => whole,
        Some(name) => match whole.get_subcommands().find(|command| command.get_name() == name) {
            Some(command) => command.clone().display_name(format!("last-seen-{name}")),
            None => {
                print_error(&format!("there is no command {name:?}; see last-seen --help"));
                return Exit::USAGE;
            }
        },
    };
    let mut text = Vec::new();
    match clap_mangen::Man::new(page).render(&mut text) {
        Ok(()) => out.write(&text),
        Err(error) => out.fail(error),
    }
    Exit::DONE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overview_names_every_command_and_fits() {
        let command = args::command();
        let shown = command.get_subcommands().filter(|of| !of.is_hide_set());
        let names: Vec<&str> = shown.map(clap::Command::get_name).collect();
        assert!(names.len() > 8, "{names:?}");
        for name in names.iter().filter(|name| !["help", "completions"].contains(name)) {
            assert!(
                OVERVIEW.contains(&format!("  {name} ")) && NARROW.contains(&format!("  {name} ")),
                "{name}"
            );
        }
        let widest = |text: &str| text.lines().map(|line| line.chars().count()).max();
        assert_eq!((widest(OVERVIEW), widest(NARROW)), (Some(OVERVIEW_COLUMNS), Some(38)));
        assert_eq!(OVERVIEW.lines().count(), 13);
    }
}
