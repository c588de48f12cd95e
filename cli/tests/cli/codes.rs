//! The exit codes of docs/cli.md, each by each command that can give it.

use last_seen_tests::Memcached;

use crate::{
    program::{on, store},
    terminal::Terminal,
};

/// A user on each of the two servers.
fn a_user_of_each(one: &Memcached, two: &Memcached) -> [String; 2] {
    let tracker = last_seen::Tracker::connect(&format!("{},{}", one.address(), two.address())).unwrap();
    [one, two].map(|server| {
        let is_there =
            |user: &String| tracker.preview(user, chrono::Utc::now()).unwrap().server == server.address();
        (0..).map(|nth| format!("user{nth}")).find(is_there).unwrap()
    })
}

#[test]
fn a_script_can_tell_yes_no_unknown_partial_and_a_mistake() {
    let (up, mut down) = (Memcached::start(), Memcached::start());
    let [here, there] = a_user_of_each(&up, &down);
    let both = format!("{},{}", up.address(), down.address());
    down.kill();
    let (here, there) = (here.as_str(), there.as_str());
    store(&up, here, 10);
    store(&up, "away", 400);
    let one = up.address();
    let none = "127.0.0.1:1";
    for (code, servers, arguments) in [
        (0, &*one, &["show", here][..]),
        (1, &one, &["show", "away"]),
        (1, &one, &["show", "nobody"]),
        (0, &one, &["show", here, "away", "nobody"]),
        (2, &both, &["show", there]),
        (2, none, &["show", here, there]),
        (3, &both, &["show", here, there]),
        (2, &one, &["show", "a b"]),
        (3, &one, &["show", "a b", here]),
        (0, &one, &["who"]),
        (3, &both, &["who"]),
        (3, &both, &["who", "--count"]),
        (2, none, &["who"]),
        (2, none, &["who", "--count"]),
        (0, &one, &["inspect", here]),
        (1, &one, &["inspect", "nobody"]),
        (2, &one, &["inspect", "a b"]),
        (2, &both, &["inspect", there]),
        (0, &one, &["servers"]),
        (3, &both, &["servers"]),
        (2, none, &["servers"]),
        (0, &one, &["seen", here]),
        (3, &both, &["seen", here, there]),
        (2, &both, &["seen", there]),
        (0, &one, &["sign-out", here, "nobody"]),
        (1, &one, &["sign-out", "nobody"]),
        (3, &both, &["sign-out", here, there]),
        (2, none, &["sign-out", here]),
        (0, &one, &["forget", here, "nobody"]),
        (1, &one, &["forget", here]),
        (3, &both, &["forget", here, there]),
        (2, none, &["forget", here]),
        (64, &one, &[]),
        (64, &one, &["show"]),
        (64, &one, &["shw", "alice"]),
        (64, &one, &["show", "--no-such-option", "alice"]),
        (64, "memory:", &["servers"]),
        (64, "127.0.0.1:x", &["show", "alice"]),
        (64, &one, &["--config", "/none.toml", "who"]),
        (0, &one, &["help"]),
        (0, &one, &["help", "watch"]),
        (0, &one, &["--version"]),
        (0, &one, &["completions", "bash"]),
    ] {
        let said = on(servers, arguments);
        assert_eq!(said.code, Some(code), "{arguments:?}: {said:?}");
    }
    // A lower bound, or nothing.
    assert_eq!(
        (on(&both, &["who", "--count"]).out, on(none, &["who", "--count"]).out),
        ("0\n".into(), "".into())
    );
}

/// Their users may be online.
#[test]
fn a_list_without_what_cannot_be_read_is_partial() {
    let memcached = Memcached::start();
    memcached.set("seen_carol", 4, b"soon");
    let list = |arguments: &[&str]| {
        let said = on(&memcached.address(), arguments);
        let unreadable = "last-seen: 1 record is not a timestamp, and those users are unknown. Try: last-seen inspect carol\n";
        assert_eq!((said.code, said.err.as_str()), (Some(3), unreadable), "{arguments:?}");
        said.out
    };
    assert_eq!(list(&["who"]), "");
    store(&memcached, "alice", 10);
    assert!(list(&["who"]).contains("\nalice  "));
    assert_eq!(list(&["who", "--count"]), "1\n");
    assert!(list(&["who", "--json"]).starts_with(r#"{"user":"alice","status":"online","#));

    let mut terminal = Terminal::start(&memcached.address(), &["who"], (80, 24), &[]);
    assert_eq!(terminal.ends(), 3);
    let heading = terminal.text();
    assert!(heading.starts_with("at least 1 online at "), "{heading}");
}

#[test]
fn ctrl_c_is_130_to_a_shell() {
    let memcached = Memcached::start();
    store(&memcached, "alice", 10);
    let arguments = ["watch", "--plain"];
    let mut terminal = Terminal::start(&memcached.address(), &arguments, (80, 24), &[]);
    terminal.shows("ready     1 online");
    terminal.press("\x03");
    assert_eq!(terminal.ends(), 130);
}
