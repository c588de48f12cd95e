//! What makes two spellings of a name one, and a key of a name that is none: the same in each language.

use std::process::Command;

use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

use crate::program::{cache, output};

const NAMES: [&str; 7] = [
    "jos\u{e9}",
    "jose\u{301}",
    "\u{fb01}ona",
    "Jane.Doe+tag@Example.com",
    "\u{1f2b}\u{1fc3}",
    "Alice Smith",
    "\u{5f35}\u{2f8f9}\u{ff21}",
];

/// The lines that docs/sharing.md shows, run by the languages that bring what they need.
pub fn one_spelling_is_the_same_everywhere() {
    let python = cache().join("django52/bin/python");
    let python = python.to_str().unwrap();
    for name in NAMES {
        let lower = name.to_lowercase();
        let nfkc: String = name.nfkc().collect();
        for (program, option, line, expected) in [
            (
                python,
                "-c",
                "import sys, unicodedata; name = sys.argv[1]; print(unicodedata.normalize('NFKC', name))",
                &nfkc,
            ),
            ("node", "-e", "const name = process.argv[1]; console.log(name.normalize('NFKC'))", &nfkc),
            (
                "ruby",
                "-e",
                "name = ARGV[0].dup.force_encoding('UTF-8'); puts name.unicode_normalize(:nfkc)",
                &nfkc,
            ),
            (python, "-c", "import sys; name = sys.argv[1]; print(name.lower())", &lower),
            ("node", "-e", "const name = process.argv[1]; console.log(name.toLowerCase())", &lower),
            ("ruby", "-e", "name = ARGV[0].dup.force_encoding('UTF-8'); puts name.downcase", &lower),
        ] {
            let mut command = Command::new(program);
            let said = output(command.args([option, line, name]).env("PYTHONUTF8", "1"));
            assert_eq!(said, *expected, "{program} {line} {name}");
        }
        let uuid = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string();
        let line = "import sys, uuid; name = sys.argv[1]; print(uuid.uuid5(uuid.NAMESPACE_URL, name))";
        assert_eq!(
            output(Command::new(python).args(["-c", line, name]).env("PYTHONUTF8", "1")),
            uuid,
            "{name}"
        );
        let mut shell = Command::new("uuidgen");
        assert_eq!(output(shell.args(["--sha1", "--namespace", "@url", "--name", name])), uuid, "{name}");
    }
}
