//! Every mistake: one sentence, an exit code, no backtrace.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use last_seen_tests::Memcached;

use crate::program::{PROGRAM, Said, command, on, run};

#[test]
fn a_wrong_option_or_word_is_one_sentence() {
    for (arguments, sentence) in [
        (&["--zzz", "who"][..], "unexpected argument '--zzz' found; see"),
        (
            &["show", "--jsn", "alice"],
            "unexpected argument '--jsn' found; a similar argument exists: '--json'",
        ),
        (&["seen", "--count", "alice"], "unexpected argument '--count' found"),
        (
            &["watch", "--keep", "soon"],
            "invalid value 'soon' for '--keep <TIME>': a number with s, m, h or d",
        ),
        (&["inspct", "alice"], "unrecognized subcommand 'inspct'; a similar subcommand exists: 'inspect'"),
        (
            &["--sharding", "random", "who"],
            "invalid value 'random' for '--sharding <NAME>' [possible values: ketama,",
        ),
    ] {
        let told = on("127.0.0.1:1", arguments).refused(64);
        assert!(told.starts_with(sentence) && told.ends_with("; see last-seen --help"), "{told}");
    }
    let told = on("127.0.0.1:1", &["show"]).refused(64);
    assert_eq!(
        told,
        "the following required arguments were not provided: <USER>...; try: last-seen show alice bob"
    );
}

#[test]
fn a_word_that_is_not_utf_8_is_no_obstacle_to_an_example() {
    let mut command = command(PROGRAM, "127.0.0.1:1");
    command.arg("--config").arg(OsStr::from_bytes(b"\xff.toml")).arg("show");
    let told = Said::from(command.output().unwrap()).refused(64);
    assert!(told.ends_with("; try: last-seen show alice bob"), "{told}");
}

#[test]
fn no_word_at_all_gives_the_help() {
    let said = on("127.0.0.1:1", &[]);
    assert_eq!((said.code, said.out.as_str()), (Some(64), ""));
    assert!(said.err.contains("Usage: last-seen") && said.err.lines().count() <= 14, "{}", said.err);
    let help = on("127.0.0.1:1", &["--help"]);
    assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
    assert!(help.out.contains("Exit codes:") && help.out.contains("LAST_SEEN_SERVERS"), "{}", help.out);
}

#[test]
fn a_wrong_setting_is_one_sentence_wherever_it_comes_from() {
    let told = on("127.0.0.1:1", &["--django", "Mars/Phobos", "who"]).refused(64);
    assert!(told.starts_with(r#"setting time_zone = "Mars/Phobos": "#), "{told}");
    let told = on("127.0.0.1:1", &["--prefix", "", "who"]).refused(64);
    assert_eq!(told, r#"setting key_prefix = "": must not be empty"#);
    let told = on("127.0.0.1:x", &["who"]).refused(64);
    assert!(told.starts_with(r#"setting servers = "127.0.0.1:x": "#), "{told}");
    let told = on("memory:", &["who"]).refused(64);
    assert!(told.contains("name a memcached"), "{told}");

    let mut command = command(PROGRAM, "127.0.0.1:1");
    command.env("LAST_SEEN_ONLINE_TIMEOUT", "soon").args(["show", "alice"]);
    let told = Said::from(command.output().unwrap()).refused(64);
    assert!(told.starts_with(r#"setting online_timeout = "soon": "#), "{told}");
}

/// A settings file of a test's own, removed with it.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("last-seen-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_wrong_file_is_one_sentence_with_its_line() {
    let told = on("127.0.0.1:1", &["--config", "/none.toml", "who"]).refused(64);
    assert_eq!(told, "cannot read /none.toml: No such file or directory");
    for (nth, (text, expected)) in [
        ("\nkey_prefix = 'x_'\nprefix = 'y_'", ", line 3: unknown field `prefix`, expected one of `servers`"),
        ("key_prefix = ", ", line 1: "),
        ("sharding = 'random'", ": setting sharding = \"random\": must be one of "),
    ]
    .into_iter()
    .enumerate()
    {
        let file = File::new(&format!("wrong{nth}"), text);
        let told = on("127.0.0.1:1", &["--config", file.path(), "who"]).refused(64);
        assert!(told.starts_with(&format!("cannot use {}{expected}", file.path())), "{told}");
    }
}

#[test]
fn options_go_before_the_file_which_is_read_in_place_of_the_environment() {
    let memcached = Memcached::start();
    let address = memcached.address();
    let file =
        File::new("order", &format!("key_prefix = 'file_'\nservers = '{address}'\nserver_timeout = '5s'"));
    let config = ["--config", file.path()];
    let key = |arguments: &[&str]| {
        let mut command = command(PROGRAM, &address);
        command
            .args(arguments)
            .args(["inspect", "alice", "--json"])
            .env("LAST_SEEN_KEY_PREFIX", "environment_");
        let line = Said::from(command.output().unwrap()).json(1).remove(0);
        line["key"].as_str().unwrap().to_owned()
    };
    assert_eq!(key(&[]), "environment_alice");
    assert_eq!(key(&config), "file_alice");
    // What the file does not name has its default.
    let empty = File::new("empty", &format!("servers = '{address}'\nserver_timeout = '5s'"));
    assert_eq!(key(&["--config", empty.path()]), "seen_alice");
    assert_eq!(key(&[&config[..], &["--django", "UTC"]].concat()), ":1:seen_alice");
    assert_eq!(key(&["--django", "UTC", "--prefix", "site:2:seen_"]), "site:2:seen_alice");
    assert_eq!(key(&[&config[..], &["--prefix", "option_"]].concat()), "option_alice");

    let both = format!("{},127.0.0.1:1", memcached.address());
    let lines = run(&memcached, &["servers", "--servers", &both, "--json"]).json(3);
    assert_eq!(lines.len(), 2);
}

#[test]
fn a_server_that_is_down_is_one_sentence() {
    let down = "127.0.0.1:1 is down: connection refused";
    for (arguments, told) in [
        (&["show", "alice"][..], format!("{down}. Is memcached running?")),
        (&["show", "alice", "bob", "carol"], format!("{down}. Is memcached running?")),
        (&["seen", "alice"], format!("alice not recorded: {down}")),
        (&["sign-out", "alice"], format!("alice not signed out: {down}")),
        (&["forget", "alice"], format!("alice not deleted: {down}")),
        (&["inspect", "alice"], format!("{down}. alice is unknown.")),
        (
            &["who"],
            format!(
                "{down}. Cannot list users. Is memcached running? If it is elsewhere, pass --servers HOST:PORT."
            ),
        ),
    ] {
        assert_eq!(on("127.0.0.1:1", arguments).refused(2), told, "{arguments:?}");
    }
    let shown = on("127.0.0.1:1", &["show", "alice"]).out;
    assert_eq!(shown, "USER   STATUS   SEEN  LAST SEEN\nalice  unknown  -     -\n");
    let shown = on("127.0.0.1:1", &["servers"]);
    assert_eq!((shown.code, shown.err.as_str()), (Some(2), ""));
    assert!(
        shown.out.ends_with("\n127.0.0.1:1  connection refused. Is memcached running there?\n"),
        "{shown:?}"
    );
    let lines = on("127.0.0.1:1", &["show", "alice", "--json"]).json(2);
    let error = serde_json::json!({
        "kind": "unavailable", "server": "127.0.0.1:1", "message": "connection refused",
    });
    assert_eq!((&lines[0]["status"], &lines[0]["error"]), (&"unknown".into(), &error));
}

#[test]
fn a_write_that_fails_names_its_user_and_the_others_go_on() {
    let memcached = Memcached::start();
    let said = run(&memcached, &["seen", "alice", "Bob Smith", "carol"]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (
            Some(3),
            "last-seen: Bob Smith not recorded: invalid user: contains a space at byte 3; pass the id\n\
             last-seen: 2 of 3 users recorded\n"
        )
    );
    assert_eq!(run(&memcached, &["show", "carol"]).code, Some(0));

    let said = on("127.0.0.1:1", &["seen", "alice", "bob"]);
    let told: Vec<&str> = said.err.lines().collect();
    let down = "127.0.0.1:1 is down: connection refused";
    let each = ["alice", "bob"].map(|user| format!("last-seen: {user} not recorded: {down}"));
    assert_eq!(told, [&each[0], &each[1], "last-seen: 0 of 2 users recorded"]);
    assert_eq!(said.code, Some(2));
}

#[test]
fn a_server_that_does_not_list_is_one_sentence() {
    let memcached = Memcached::start_with(&["-o", "no_lru_crawler"]);
    let told = run(&memcached, &["who"]).refused(2);
    assert!(told.starts_with(&format!("{} answered ", memcached.address())), "{told}");
}
