//! Runs checks, and prints what came of them.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

/// The columns of the table of stacks.
const COLUMNS: [&str; 8] =
    ["writes", "reads", "online", "signed out", "forgotten", "typed values", "names", "cache gone"];

/// The columns of the table of ways to reach a memcached.
const REACH_COLUMNS: [&str; 4] = ["seen", "online", "signed out", "forgotten"];

/// The columns of the table of Django sites.
const SITE_COLUMNS: [&str; 7] =
    ["signed in", "page", "online", "timesince", "signed out", "forgotten", "wrong format"];

pub struct Report {
    filter: Option<String>,
    stacks: Vec<Row>,
    sites: Vec<Row>,
    reached: Vec<Row>,
    passed: usize,
    failed: Vec<String>,
}

/// A stack, and what it passed.
pub struct Row {
    name: String,
    pub version: String,
    cells: Vec<(&'static str, bool)>,
}

impl Row {
    /// Runs one check of this stack. A check that panics has failed; the others go on.
    pub fn check(&mut self, column: &'static str, check: impl FnOnce()) {
        let passed = catch_unwind(AssertUnwindSafe(check)).is_ok();
        self.cells.push((column, passed));
        if !passed {
            println!("{}: {column} ... FAILED", self.name);
        }
    }

    /// `None` where nothing was checked.
    fn passed(&self, column: &str) -> Option<bool> {
        self.cells.iter().filter(|(name, _)| *name == column).map(|(_, passed)| *passed).reduce(|a, b| a && b)
    }
}

impl Report {
    /// `None` where a test runner only asks which tests there are.
    pub fn from_arguments() -> Option<Self> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let given = |flag| arguments.iter().any(|argument| argument == flag);
        if given("--list") {
            if !given("--ignored") {
                println!("interop: test");
            }
            return None;
        }
        let filter =
            arguments.into_iter().find(|argument| !argument.starts_with('-') && argument != "interop");
        Some(Self {
            filter,
            stacks: Vec::new(),
            sites: Vec::new(),
            reached: Vec::new(),
            passed: 0,
            failed: Vec::new(),
        })
    }

    pub fn check(&mut self, name: &str, check: impl FnOnce()) {
        if self.wanted(name) {
            let passed = catch_unwind(AssertUnwindSafe(check)).is_ok();
            println!("{name} ... {}", word(passed));
            self.count(name, passed);
        }
    }

    pub fn stack(&mut self, name: &str, check: impl FnOnce(&mut Row)) {
        if let Some(row) = self.row(name, &COLUMNS, check) {
            self.stacks.push(row);
        }
    }

    pub fn site(&mut self, name: &str, check: impl FnOnce(&mut Row)) {
        if let Some(row) = self.row(name, &SITE_COLUMNS, check) {
            self.sites.push(row);
        }
    }

    pub fn reach(&mut self, name: &str, check: impl FnOnce(&mut Row)) {
        if let Some(row) = self.row(name, &REACH_COLUMNS, check) {
            self.reached.push(row);
        }
    }

    fn row(&mut self, name: &str, columns: &[&'static str], check: impl FnOnce(&mut Row)) -> Option<Row> {
        if !self.wanted(name) {
            return None;
        }
        let mut row = Row { name: name.to_owned(), version: String::new(), cells: Vec::new() };
        // What could not even be started has passed nothing.
        let mut passed = catch_unwind(AssertUnwindSafe(|| check(&mut row))).is_ok();
        for column in columns {
            let cell = row.passed(column) == Some(true);
            self.count(&format!("{name}: {column}"), cell);
            passed &= cell;
        }
        assert!(row.cells.iter().all(|(name, _)| columns.contains(name)), "a check without a column");
        println!("{name} ... {}", word(passed));
        Some(row)
    }

    fn wanted(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| name.to_lowercase().contains(&filter.to_lowercase()))
    }

    fn count(&mut self, name: &str, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed.push(name.to_owned());
        }
    }

    pub fn finish(self) -> ExitCode {
        table("stack", &COLUMNS, &self.stacks);
        table("Django site", &SITE_COLUMNS, &self.sites);
        table("reached by", &REACH_COLUMNS, &self.reached);
        println!();
        for name in &self.failed {
            println!("failed: {name}");
        }
        println!("{} passed, {} failed", self.passed, self.failed.len());
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn word(passed: bool) -> &'static str {
    if passed { "ok" } else { "FAILED" }
}

fn table(title: &str, columns: &[&str], rows: &[Row]) {
    if rows.is_empty() {
        return;
    }
    let mut lines = vec![[title, "client and version"].map(str::to_owned).to_vec()];
    lines[0].extend(columns.iter().map(|&column| column.to_owned()));
    for row in rows {
        let mut line = vec![row.name.clone(), row.version.clone()];
        line.extend(columns.iter().map(|column| match row.passed(column) {
            Some(true) => "pass".to_owned(),
            Some(false) => "FAIL".to_owned(),
            None => "not run".to_owned(),
        }));
        lines.push(line);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    println!();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
