//! The command line as a person or a script uses it: in pipes, through a terminal, and as docs/cli.md shows it.

#![allow(unreachable_pub, reason = "a test binary has no public API")]

mod codes;
mod commands;
mod mistakes;
mod page;
mod pipes;
mod program;
mod screens;
mod terminal;
mod watch;
