//! What each verb says and does, in pipes.

use serde_json::json;

use last_seen_tests::{Fake, Memcached};

use crate::program::{PROGRAM, Said, command, on, run, store};

#[test]
fn seen_says_nothing_and_show_tells() {
    let memcached = Memcached::start();
    assert!(run(&memcached, &["seen", "alice", "bob"]).lines(0).is_empty());
    let shown = run(&memcached, &["show", "alice"]).lines(0);
    assert_eq!(shown[0], "USER LAST SEEN AGO ONLINE");
    assert!(shown[1].starts_with("alice 20") && shown[1].ends_with("Z just now yes"), "{}", shown[1]);
}

#[test]
fn show_of_one_user_answers_by_its_exit_code() {
    let memcached = Memcached::start();
    store(&memcached, "alice", 10);
    store(&memcached, "bob", 400);
    memcached.set("seen_carol", 4, b"soon");
    for (user, code) in [("alice", 0), ("bob", 1), ("nobody", 1), ("carol", 2), ("a b", 2)] {
        assert_eq!(run(&memcached, &["show", user]).code, Some(code), "{user}");
        assert_eq!(run(&memcached, &["show", "--json", user]).code, Some(code), "{user}");
    }
    assert_eq!(run(&memcached, &["show", "alice", "bob", "nobody"]).code, Some(0));
    assert_eq!(run(&memcached, &["show", "alice", "carol"]).code, Some(2));
}

#[test]
fn a_table_is_aligned_whatever_the_names_are_made_of() {
    let memcached = Memcached::start();
    let users = ["al", "josé", "李雷", "नमस्ते", "a-rather-long-name"];
    for user in users {
        store(&memcached, user, 7_300);
    }
    let shown = run(&memcached, &[&["show"], &users[..]].concat());
    let columns = |line: &str| unicode_width::UnicodeWidthStr::width(&line[..line.find("20").unwrap()]);
    let lines: Vec<&str> = shown.out.lines().skip(1).collect();
    assert_eq!(lines.iter().map(|line| columns(line)).collect::<Vec<_>>(), [20; 5], "{}", shown.out);
    assert!(lines.iter().all(|line| line.ends_with("Z  2 hours ago  no")), "{}", shown.out);
}

#[test]
fn show_as_json_is_an_object_a_line_in_the_order_asked() {
    let memcached = Memcached::start();
    let (alice, bob) = (store(&memcached, "alice", 10), store(&memcached, "bob", 400));
    memcached.set("seen_carol", 4, b"soon");
    let said = run(&memcached, &["show", "bob", "carol", "nobody", "alice", "--json"]);
    assert!(
        said.out.starts_with(&format!(r#"{{"user":"bob","status":"offline","last_seen":"{bob}","age_s":4"#))
    );
    let lines = said.json(2);
    assert_eq!((&lines[3]["status"], &lines[3]["last_seen"]), (&json!("online"), &json!(alice)));
    assert!((10..20).contains(&lines[3]["age_s"].as_i64().unwrap()), "{}", lines[3]);
    let nobody =
        json!({"user": "nobody", "status": "offline", "last_seen": null, "age_s": null, "error": null});
    assert_eq!(lines[2], nobody);
    let error =
        r#"the value stored under "seen_carol" is not a valid timestamp: flags 4, 4 bytes, beginning "soon""#;
    let error = json!({"kind": "invalid_record", "server": null, "message": error});
    assert_eq!((&lines[1]["status"], &lines[1]["error"]), (&json!("unknown"), &error));
}

#[test]
fn show_of_a_thousand_users_is_one_round_trip() {
    let memcached = Memcached::start();
    let users: Vec<String> = (0..1_000).map(|user| format!("user{user}")).collect();
    store(&memcached, "user7", 10);
    let arguments: Vec<&str> = ["show"].into_iter().chain(users.iter().map(String::as_str)).collect();
    let before = memcached.stat("total_connections");
    let shown = run(&memcached, &arguments).lines(0);
    assert_eq!(shown.len(), 1_001);
    assert!(shown[8].starts_with("user7 ") && shown[8].ends_with("yes"), "{}", shown[8]);
    // One of the program's, and one of the second question's.
    assert_eq!(memcached.stat("total_connections") - before, 2);
    assert_eq!(memcached.stat("get_misses"), 999);
}

#[test]
fn a_user_who_signs_out_is_offline_and_remembered() {
    let memcached = Memcached::start();
    store(&memcached, "alice", 10);
    assert!(run(&memcached, &["sign-out", "alice", "nobody"]).lines(0).is_empty());
    let shown = run(&memcached, &["show", "alice"]).lines(1);
    assert!(shown[1].ends_with("5 minutes ago no"), "{}", shown[1]);
    // Its former name.
    assert!(run(&memcached, &["signed-out", "alice"]).lines(0).is_empty());
    assert_eq!(run(&memcached, &["show", "nobody"]).lines(1)[1], "nobody - awhile ago no");
}

#[test]
fn forget_says_whether_there_was_a_record() {
    let memcached = Memcached::start();
    store(&memcached, "alice", 10);
    assert_eq!(run(&memcached, &["forget", "alice", "bob"]).lines(0), ["alice: forgotten", "bob: no record"]);
    assert_eq!(run(&memcached, &["show", "alice"]).code, Some(1));
}

#[test]
fn who_is_everyone_online_the_newest_first_and_the_count() {
    let memcached = Memcached::start();
    assert_eq!(run(&memcached, &["who"]).lines(0), ["nobody is online"]);
    assert!(run(&memcached, &["who", "--json"]).json(0).is_empty());

    let bob = store(&memcached, "bob", 200);
    let alice = store(&memcached, "alice", 10);
    store(&memcached, "carol", 400);
    let who = run(&memcached, &["who"]).lines(0);
    let alice_line = format!("alice {alice} just now");
    assert_eq!(
        who,
        ["USER LAST SEEN AGO", &alice_line, &format!("bob {bob} 3 minutes ago"), "2 users are online"]
    );
    let who = run(&memcached, &["who", "--json"]).json(0);
    let (user, status, last_seen) = (&who[0]["user"], &who[0]["status"], &who[0]["last_seen"]);
    assert_eq!((user, status, last_seen), (&json!("alice"), &json!("online"), &json!(alice)));
    assert_eq!((who.len(), &who[1]["user"]), (2, &json!("bob")));
}

#[test]
fn inspect_shows_the_record_and_how_each_format_would_have_written_it() {
    let memcached = Memcached::start();
    memcached.set("seen_alice", 2, b"1795489200123");
    let shown = run(&memcached, &["inspect", "bob"]).lines(0);
    assert_eq!(
        shown[1..4],
        [format!("server {}", memcached.address()), "key seen_bob".into(), "record none".into()]
    );

    let shown = run(&memcached, &["inspect", "alice", "--json"]);
    let line: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!((&line["user"], &line["key"]), (&json!("alice"), &json!("seen_alice")));
    assert_eq!((&line["stored"]["flags"], &line["stored"]["bytes"]), (&json!(2), &json!("1795489200123")));
    assert_eq!(line["stored"]["expires_in_s"], json!(null));
    assert_eq!(line["stored"]["format"], json!(null));
    assert_eq!(line["formats"].as_array().unwrap().len(), 3);
}

#[test]
fn inspect_tells_which_format_it_is_and_where_django_looks() {
    let memcached = Memcached::start();
    let django = ["--django", "Europe/Berlin"];
    run(&memcached, &[&django[..], &["seen", "alice"]].concat()).lines(0);
    let shown = run(&memcached, &[&django[..], &["inspect", "alice"]].concat()).lines(0);
    assert_eq!(shown[2..4], ["key :1:seen_alice", "flags 1"]);
    assert!(shown[4].starts_with("expires in "), "{}", shown[4]);
    assert!(shown[5].ends_with(r#"\x94\x85\x94R\x94.", 53 bytes"#), "{}", shown[5]);
    assert_eq!(shown[6], "format django");
    assert!(shown[7].starts_with("time zone Europe/Berlin, now 20"), "{}", shown[7]);
    assert!(
        shown[8].starts_with("decodes to 20") && shown[8].ends_with("Z, just now, online"),
        "{}",
        shown[8]
    );
    assert!(shown[9].starts_with(r#"as unix-seconds seen_alice, flags 0, "1"#), "{}", shown[9]);
    assert!(shown[10].starts_with(r#"as django :1:seen_alice, flags 1, "\x80"#), "{}", shown[10]);
    assert!(shown[10].ends_with(", as it is stored"), "{}", shown[10]);
    assert!(shown[11].starts_with(r#"as django-aware :1:seen_alice, flags 1, "\x80"#), "{}", shown[11]);
}

#[test]
fn inspect_tells_that_the_site_has_another_zone_or_other_zone_files() {
    let memcached = Memcached::start();
    let inspect = |zone| run(&memcached, &["--django", zone, "inspect", "alice"]);
    for (here, there, off) in [
        ("Etc/GMT+7", "Etc/GMT+8", "1h 0m more in the past"),
        ("Etc/GMT+8", "Etc/GMT+7", "1h 0m more in the future"),
        ("UTC", "Asia/Kolkata", "5h 30m more in the future"),
        ("Asia/Kolkata", "Asia/Kathmandu", "15m 0s more in the future"),
    ] {
        run(&memcached, &["--django", there, "seen", "alice"]).lines(0);
        let said = inspect(here);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.lines().last().unwrap().contains(&format!(" and its time is {off}: ")), "{said:?}");
        inspect(there).lines(0);
        run(&memcached, &["--django", there, "sign-out", "alice"]).lines(0);
        inspect(there).lines(0);
    }
}

/// Zone files of two hosts, one of them older: a zone that is an hour ahead there.
#[test]
fn inspect_tells_where_the_zone_files_are() {
    let memcached = Memcached::start();
    let folder = last_seen_tests::Folder::create();
    let zones = std::path::PathBuf::from(folder.file("zoneinfo"));
    std::fs::create_dir_all(zones.join("America")).unwrap();
    std::fs::copy("/usr/share/zoneinfo/Etc/GMT+7", zones.join("America/Vancouver")).unwrap();
    std::fs::copy("/usr/share/zoneinfo/Etc/GMT+8", zones.join("America/Winnipeg")).unwrap();
    let command = |zone: &str, verb: &str| {
        let mut command = command(PROGRAM, &memcached.address());
        command.args(["--django", zone, verb, "alice"]).env("TZDIR", &zones);
        Said::from(command.output().unwrap())
    };
    command("America/Vancouver", "seen").lines(0);
    let shown = command("America/Vancouver", "inspect").lines(0);
    let zone = shown.iter().find(|line| line.starts_with("time zone ")).unwrap();
    assert!(zone.ends_with(&format!(" UTC-07:00, zone files {}", zones.display())), "{zone}");
    let said = command("America/Winnipeg", "inspect");
    assert!(
        said.code == Some(2) && said.err.contains("or its zone files are not those of this host"),
        "{said:?}"
    );
}

#[test]
fn inspect_with_the_format_of_another_kind_of_django_site_says_which_and_fails() {
    let memcached = Memcached::start();
    let naive = &["--django", "Europe/Berlin"][..];
    let aware = &["--django-aware"][..];
    let digits = &["--prefix", ":1:seen_"][..];
    for (stored, call, option) in
        [(naive, "datetime.now()", "--django ZONE"), (aware, "timezone.now()", "--django-aware")]
    {
        run(&memcached, &[stored, &["seen", "alice"]].concat()).lines(0);
        for set in [naive, aware, digits] {
            let inspected = run(&memcached, &[set, &["inspect", "alice"]].concat());
            if set == stored {
                assert_eq!((inspected.code, inspected.err.as_str()), (Some(0), ""));
                continue;
            }
            // Without the site's zone its naive time is another one, which is said too.
            let told = inspected.err.lines().last().unwrap_or_default();
            let call = format!("last-seen: the record is a Django site's that stores {call}, ");
            assert!(told.starts_with(&call) && told.ends_with(&format!("; use {option}")), "{inspected:?}");
            assert_eq!(inspected.code, Some(2));
            run(&memcached, &[set, &["inspect", "alice", "--json"]].concat()).json(2);
        }
    }
}

#[test]
fn a_site_is_of_one_kind() {
    let memcached = Memcached::start();
    let both = run(&memcached, &["--django", "UTC", "--django-aware", "show", "alice"]).refused();
    assert!(both.contains("cannot be used with"), "{both}");
}

#[test]
fn inspect_of_what_is_no_time_shows_it_and_fails() {
    let memcached = Memcached::start();
    memcached.set("seen_alice", 4, b"\x04\x08I:\x1b[31m");
    let said = run(&memcached, &["inspect", "alice"]);
    assert!(said.out.contains(r#""\x04\x08I:\x1b[31m", 9 bytes"#), "{}", said.out);
    assert!(said.out.contains("no time that can be believed"), "{}", said.out);
    assert!(said.refused().ends_with(
        r#"flags 4, 9 bytes, beginning "\x04\x08I:\x1b[31m", Ruby's Marshal of something else than a time"#
    ));
    let line = run(&memcached, &["inspect", "alice", "--json"]).json(2).remove(0);
    assert_eq!(line["stored"]["bytes"], json!(r"\x04\x08I:\x1b[31m"));
    assert_eq!(line["stored"]["last_seen"], json!(null));

    // The formats cannot write it, and the rest is shown all the same.
    memcached.set("seen_old", 0, b"1960-01-01 00:00:00");
    let shown = run(&memcached, &["inspect", "old"]).lines(0);
    assert!(shown.last().unwrap().starts_with("decodes to 1960-01-01T00:00:00Z"), "{shown:?}");
}

#[test]
fn servers_shows_each_one() {
    let memcached = Memcached::start();
    let both = format!("{},127.0.0.1:1", memcached.address());
    let said = on(&both, &["servers"]);
    let lines: Vec<&str> = said.out.lines().collect();
    assert!(lines[1].contains(" ms ") && lines[1].contains(" of 1024"), "{}", said.out);
    assert!(lines[2].starts_with("127.0.0.1:1 ") && lines[2].contains("unknown"), "{}", said.out);
    assert!(said.err.contains("last-seen: memcached at 127.0.0.1:1 is unavailable: "), "{}", said.err);
    assert_eq!(said.code, Some(2));

    let lines = on(&both, &["servers", "--json"]).json(2);
    assert_eq!(
        (&lines[0]["server"], &lines[0]["max_connections"]),
        (&json!(memcached.address()), &json!(1024))
    );
    assert_eq!(lines[1]["server"], json!("127.0.0.1:1"));
    assert_eq!((&lines[0]["status"], &lines[1]["status"]), (&json!("up"), &json!("down")));
    assert_eq!((&lines[0]["error"], &lines[1]["error"]["kind"]), (&json!(null), &json!("unavailable")));
    assert_eq!(lines[1]["version"], json!(null));
}

#[test]
fn servers_warns_of_versions_that_hold_locks_while_they_list() {
    for (version, old) in [("1.6.18", true), ("1.6.19", false), ("1.7.0", false)] {
        let fake = Fake::start(move |mut stream| {
            use std::io::{BufRead, BufReader, Write};
            let mut asked = BufReader::new(stream.try_clone().unwrap()).lines();
            assert_eq!(asked.next().unwrap().unwrap(), "version");
            let _ = stream.write_all(format!("VERSION {version}\r\n").as_bytes());
            let _ = asked.next();
            let now = chrono::Utc::now().timestamp() - 7;
            let stats = [("version", version.to_owned()), ("time", now.to_string())];
            let stats = stats
                .into_iter()
                .chain(["curr_connections", "max_connections"].map(|name| (name, "3".into())));
            let lines: String = stats.map(|(name, value)| format!("STAT {name} {value}\r\n")).collect();
            let _ = stream.write_all((lines + "END\r\n").as_bytes());
        });
        let said = on(&fake.address(), &["servers"]);
        assert!(said.out.contains(" s behind  3 of 3"), "{}", said.out);
        assert_eq!((said.code, said.err.contains("below 1.6.19")), (Some(0), old), "{}", said.err);
    }
}

#[test]
fn completions_are_made_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = on("", &["completions", shell]);
        assert!(said.code == Some(0) && said.out.contains("sign-out"), "{shell}: {said:?}");
    }
}
