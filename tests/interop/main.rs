//! Real programs of other languages, and an unchanged Django, on one memcached with this crate.
//!
//! Each program in this folder begins with the few lines that docs/sharing.md shows, which `it/pages.rs` compares, and
//! answers commands (`python/commands.py` lists them). The checks let this crate write and the program read, and the
//! other way round. Nothing is skipped: what is missing is an error that says how to install it.
//!
//! `cargo test --test interop -- ruby` runs the checks whose name contains `ruby`.

#![allow(unreachable_pub, reason = "a test binary has no public API")]

mod django_site;
mod golden;
mod names;
mod placement;
mod program;
mod reach;
mod records;
mod report;
mod stacks;
mod zones;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use reach::Reach;
use report::Report;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let answered = match &arguments[..] {
        [_, flag, keys] if flag == placement::FLAG => Some(placement::print(keys)),
        [_, flag] if flag == zones::FLAG => Some(zones::answer()),
        _ => None,
    };
    if let Some(answered) = answered {
        return match answered {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let Some(mut report) = Report::from_arguments() else { return ExitCode::SUCCESS };
    // A failed check says what and where; the way there is this program's own. Where standard error is
    // closed, `eprintln!` would panic in the hook, and leave the servers running.
    std::panic::set_hook(Box::new(|panic| drop(writeln!(io::stderr(), "{panic}"))));
    report.check("Rust reads the golden values", golden::rust_reads_them);
    report.check("what is needed is installed", program::everything_is_installed);
    let placed = placement::every_key_is_where_the_real_clients_put_it;
    report.check("every key is where the real clients put it", placed);
    report.check("every user of Django's CACHES is where Rust looks", placement::djangos_caches_are_shared);
    report.check("a name has one spelling everywhere", names::one_spelling_is_the_same_everywhere);
    report.check("zones: local times are Python's", zones::local_times_are_pythons);
    report.check("zones: the folder in TZDIR comes first", zones::the_folder_in_tzdir_comes_first);
    for mut stack in stacks::all() {
        report.stack(stack.name, |row| records::check(&mut stack, row));
    }
    for site in django_site::all() {
        report.site(&site.name(), |row| django_site::check(&site, row));
    }
    for reach in [Reach::Twemproxy, Reach::UnixSocket, Reach::Tls] {
        report.reach(&format!("PHP{}", reach.name()), |row| reach::check_php(reach, row));
    }
    report.finish()
}
