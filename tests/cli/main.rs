//! The command line as a person or a script uses it: in pipes, through a terminal, and as docs/cli.md shows it.

#![allow(unreachable_pub, reason = "a test binary has no public API")]

#[path = "../it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "of the other integration binary")]
mod support;

mod mistakes;
mod page;
mod pipes;
mod program;
mod terminal;
mod verbs;
mod watch;
