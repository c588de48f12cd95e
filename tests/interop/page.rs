//! docs/sharing.md shows what the programs run.

use std::{collections::BTreeSet, path::Path};

use last_seen_tests::root;

use crate::program::here;

/// After `<!-- tests/interop/FILE -->` the page shows the part of that file between its two marks.
pub fn shows_the_programs_as_they_are() {
    let page = std::fs::read_to_string(root().join("docs/sharing.md")).unwrap();
    let mut shown = BTreeSet::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(file) = line.strip_prefix("<!-- tests/interop/").and_then(|line| line.strip_suffix(" -->"))
        else {
            continue;
        };
        assert!(lines.next().is_some_and(|line| line.starts_with("```")), "no fenced block after {line}");
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let source = std::fs::read_to_string(here().join(file)).unwrap();
        assert_eq!(block.join("\n"), snippet(&source), "docs/sharing.md and {file} differ");
        shown.insert(file.to_owned());
    }
    let mut files = BTreeSet::new();
    collect(&here(), &mut files);
    assert_eq!(shown, files, "the files with a snippet, and those that docs/sharing.md shows");
}

/// The lines between the marks, without the indentation that they share.
fn snippet(source: &str) -> String {
    let mut lines = source.lines();
    lines.find(|line| line.contains("--- snippet ---"));
    let lines: Vec<&str> = lines.take_while(|line| !line.contains("--- end ---")).collect();
    let indentation = |line: &&str| line.len() - line.trim_start().len();
    let shared = lines.iter().filter(|line| !line.is_empty()).map(indentation).min().unwrap_or(0);
    let cut: Vec<&str> = lines.iter().map(|line| line.get(shared..).unwrap_or("")).collect();
    cut.join("\n").trim_end().to_owned()
}

fn collect(folder: &Path, files: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_none_or(|extension| extension != "rs")
            && std::fs::read_to_string(&path).is_ok_and(|text| text.contains("--- snippet ---"))
        {
            files.insert(path.strip_prefix(here()).unwrap().to_str().unwrap().to_owned());
        }
    }
}
