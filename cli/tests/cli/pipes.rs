//! Readers that have enough, and writers that cannot.

use last_seen_tests::Memcached;

use crate::program::{run, shell, store};

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let memcached = Memcached::start();
    for user in 0..3_000 {
        store(&memcached, &format!("user{user}-{}", "x".repeat(100)), 10);
    }
    for line in
        ["last-seen who | head -1", "last-seen who --json | head -1", "last-seen completions bash | head -1"]
    {
        let said = shell(&memcached, line);
        assert_eq!((said.out.lines().count(), said.err.as_str()), (1, ""), "{line}");
    }
    let said = shell(&memcached, "{ last-seen who; echo $? >&2; } | :");
    assert_eq!(said.err, "0\n");
    let said = shell(&memcached, "{ last-seen show nobody; echo $? >&2; } | :");
    assert_eq!(said.err, "1\n");
    // A quiet site: nothing is written that would find the pipe closed.
    let said = shell(&memcached, "{ last-seen watch nobody; echo $? >&2; } | head -1");
    assert_eq!(
        (said.out.split_whitespace().skip(1).collect::<Vec<_>>().join(" ").as_str(), said.err.as_str()),
        ("offline nobody no record", "0\n")
    );
}

#[test]
fn a_full_disk_is_one_sentence() {
    let memcached = Memcached::start();
    let said = shell(&memcached, "last-seen show alice >/dev/full");
    assert_eq!(said.refused(2), "cannot write to the standard output: No space left on device");
}

#[test]
fn a_closed_standard_error_is_no_panic() {
    let memcached = Memcached::start();
    for (line, code) in [
        ("last-seen 2>&-; echo $?", "64\n"),
        ("last-seen --wrong 2>&-; echo $?", "64\n"),
        ("last-seen --servers 127.0.0.1:1 seen alice 2>&-; echo $?", "2\n"),
    ] {
        assert_eq!(shell(&memcached, line).out, code, "{line}");
    }
}

#[test]
fn what_comes_from_the_cache_is_escaped() {
    let memcached = Memcached::start();
    // A C1 control, a mark that turns the reading direction, and a letter that cannot be seen.
    let user = "eve\u{9b}31m\u{202e}\u{200b}";
    store(&memcached, user, 10);
    let escaped = r"eve\u{9b}31m\u{202e}\u{200b}";
    for arguments in [&["who"][..], &["show", user], &["inspect", user], &["forget", "-v", user, "bob"]] {
        let said = run(&memcached, arguments);
        assert!(said.out.contains(escaped) && !said.out.contains(user), "{arguments:?}: {}", said.out);
        store(&memcached, user, 10);
    }
    for arguments in [&["who", "--json"][..], &["show", "--json", user], &["inspect", "--json", user]] {
        let said = run(&memcached, arguments);
        assert!(said.out.contains(r"eve\u009b31m\u202e\u200b") && !said.out.contains(user), "{}", said.out);
        assert_eq!(said.json(0)[0]["user"], user);
    }
}
