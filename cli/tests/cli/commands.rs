//! What each command says and does, in pipes.

use serde_json::json;

use last_seen_tests::{Fake, Memcached};

use crate::program::{PROGRAM, Said, command, on, run, shell, shell_on, store};

#[test]
fn seen_says_nothing_and_show_tells() {
    let memcached = Memcached::start();
    assert!(run(&memcached, &["seen", "alice", "bob"]).lines(0).is_empty());
    let shown = run(&memcached, &["show", "alice"]).lines(0);
    assert_eq!(shown[0], "USER STATUS SEEN LAST SEEN");
    assert!(shown[1].starts_with("alice online just now 20") && shown[1].ends_with('Z'), "{}", shown[1]);
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
    assert_eq!(run(&memcached, &["show", "alice", "carol"]).code, Some(3));
    assert_eq!(run(&memcached, &["show", "a b", "carol"]).code, Some(2));
}

#[test]
fn a_table_is_aligned_whatever_the_names_are_made_of() {
    let memcached = Memcached::start();
    let users = ["al", "josé", "李雷", "नमस्ते", "a-rather-long-name"];
    for user in users {
        store(&memcached, user, 7_300);
    }
    let shown = run(&memcached, &[&["show"], &users[..]].concat());
    let columns = |line: &str| unicode_width::UnicodeWidthStr::width(&line[..line.find("offline").unwrap()]);
    let lines: Vec<&str> = shown.out.lines().skip(1).collect();
    assert_eq!(lines.iter().map(|line| columns(line)).collect::<Vec<_>>(), [20; 5], "{}", shown.out);
    assert!(lines.iter().all(|line| line.contains("  offline  2 hours  20")), "{}", shown.out);
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
    let lines = said.json(3);
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
    assert!(shown[8].starts_with("user7 online "), "{}", shown[8]);
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
    assert!(shown[1].starts_with("alice offline 5 min ago "), "{}", shown[1]);
    // Its former name.
    assert!(run(&memcached, &["signed-out", "alice"]).lines(0).is_empty());
    assert_eq!(run(&memcached, &["show", "nobody"]).lines(1)[1], "nobody offline no record -");
    let said = run(&memcached, &["sign-out", "-v", "alice", "nobody"]).lines(0);
    assert_eq!(said, ["alice offline (last seen set to 5 min ago)", "nobody no record"]);
    store(&memcached, "bob", 7_300);
    assert_eq!(run(&memcached, &["sign-out", "-v", "bob"]).lines(0), ["bob offline (last seen 2 hours ago)"]);
}

#[test]
fn forget_says_whether_there_was_a_record() {
    let memcached = Memcached::start();
    store(&memcached, "alice", 10);
    assert_eq!(
        run(&memcached, &["forget", "-v", "alice", "bob"]).lines(0),
        ["alice deleted", "bob no record"]
    );
    assert_eq!(run(&memcached, &["show", "alice"]).code, Some(1));
    assert!(run(&memcached, &["forget", "alice", "bob"]).lines(1).is_empty());
}

#[test]
fn what_was_written_is_an_object_a_line() {
    let memcached = Memcached::start();
    let done = |command: &str, code| {
        let lines = run(&memcached, &[command, "--json", "alice", "a b", "bob"]).json(code);
        let error = |line: &serde_json::Value| line["error"]["kind"].as_str().map(str::to_owned);
        assert_eq!(lines.iter().map(error).collect::<Vec<_>>(), [None, Some("invalid_user".into()), None]);
        lines.iter().map(|line| line["result"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(done("sign-out", 3), ["no_record", "failed", "no_record"]);
    assert_eq!(done("seen", 3), ["recorded", "failed", "recorded"]);
    assert_eq!(done("sign-out", 3), ["signed_out", "failed", "signed_out"]);
    assert_eq!(done("forget", 3), ["deleted", "failed", "deleted"]);
}

#[test]
fn a_dash_reads_users_from_the_standard_input() {
    let memcached = Memcached::start();
    let said = shell(&memcached, "printf 'alice\n\nbob\r\n' | last-seen seen - carol");
    assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{said:?}");
    let said = shell(&memcached, "printf 'bob\ncarol' | last-seen show alice - dave | cut -d' ' -f1");
    assert_eq!(said.out, "USER\nalice\nbob\ncarol\ndave\n");
}

#[test]
fn quiet_is_the_exit_code_alone() {
    let memcached = Memcached::start();
    store(&memcached, "alice", 10);
    for (servers, user, code) in [
        (memcached.address(), "alice", 0),
        (memcached.address(), "bob", 1),
        ("127.0.0.1:1".into(), "alice", 2),
    ] {
        let said = on(&servers, &["show", "-q", user]);
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(code), "", ""), "{user}");
    }
}

#[test]
fn who_is_everyone_online_the_newest_first_and_the_count() {
    let memcached = Memcached::start();
    let nobody = run(&memcached, &["who"]);
    assert_eq!((nobody.code, nobody.out.as_str()), (Some(0), ""));
    assert!(nobody.err.starts_with("nobody is online (1 of 1 servers answered, "), "{}", nobody.err);
    assert!(run(&memcached, &["who", "--json"]).json(0).is_empty());
    assert_eq!(run(&memcached, &["who", "--count"]).lines(0), ["0"]);

    let bob = store(&memcached, "bob", 200);
    let alice = store(&memcached, "alice", 10);
    store(&memcached, "carol", 400);
    let who = run(&memcached, &["who"]).lines(0);
    let (alice_line, bob_line) = (format!("alice just now {alice}"), format!("bob 3 min ago {bob}"));
    assert_eq!(who, ["USER SEEN LAST SEEN", &alice_line, &bob_line]);
    assert_eq!(run(&memcached, &["who", "--count"]).lines(0), ["2"]);
    assert_eq!(run(&memcached, &["who", "-n", "1"]).lines(0), ["USER SEEN LAST SEEN", &alice_line]);
    store(&memcached, "zoe", 0);
    let by_name = run(&memcached, &["who", "--sort", "user"]).lines(0);
    assert!(by_name[1].starts_with("alice ") && by_name[3].starts_with("zoe "), "{by_name:?}");
    run(&memcached, &["forget", "zoe"]).lines(0);
    let who = run(&memcached, &["who", "--json"]).json(0);
    let (user, status, last_seen) = (&who[0]["user"], &who[0]["status"], &who[0]["last_seen"]);
    assert_eq!((user, status, last_seen), (&json!("alice"), &json!("online"), &json!(alice)));
    assert_eq!((who.len(), &who[1]["user"]), (2, &json!("bob")));
}

#[test]
fn inspect_shows_the_record_and_how_each_format_would_have_written_it() {
    let memcached = Memcached::start();
    memcached.set("seen_alice", 2, b"1795489200123");
    let shown = run(&memcached, &["inspect", "bob"]).lines(1);
    let server = format!("server {}", memcached.address());
    assert_eq!(
        shown,
        [
            "bob has no record here",
            "",
            &server,
            "key seen_bob",
            "",
            "Also looked for: :1:seen_bob (django): no record",
            "Record one with: last-seen seen bob",
        ]
    );

    let shown = run(&memcached, &["inspect", "alice", "--json", "--all-formats"]);
    let line: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!((&line["user"], &line["key"]), (&json!("alice"), &json!("seen_alice")));
    assert_eq!((&line["stored"]["flags"], &line["stored"]["bytes"]), (&json!(2), &json!("1795489200123")));
    assert_eq!(line["stored"]["bytes_base64"], json!("MTc5NTQ4OTIwMDEyMw=="));
    assert_eq!(line["stored"]["expires_in_s"], json!(null));
    assert_eq!(line["stored"]["format"], json!(null));
    assert_eq!(line["formats"].as_array().unwrap().len(), 3);
    let candidate = json!({
        "name": "django", "server": memcached.address(), "key": ":1:seen_alice", "status": "no_record",
        "last_seen": null, "error": null,
    });
    assert_eq!(line["candidates"], json!([candidate]));
}

#[test]
fn inspect_tells_which_format_it_is_and_what_each_would_store() {
    let memcached = Memcached::start();
    let django = ["--django", "Europe/Berlin"];
    run(&memcached, &[&django[..], &["seen", "alice"]].concat()).lines(0);
    let shown = run(&memcached, &[&django[..], &["inspect", "alice", "--all-formats"]].concat()).lines(0);
    assert!(shown[0].starts_with("alice is online, last seen just now (20"), "{}", shown[0]);
    assert_eq!(shown[3], "key :1:seen_alice");
    let value = &shown[4];
    assert!(value.contains(r#"\x94\x85\x94R\x94." 53 bytes, flags 1, expires in "#), "{value}");
    assert_eq!(shown[5], "format django ok the format that this tracker writes");
    assert!(shown[6].starts_with("zone Europe/Berlin, now 20"), "{}", shown[6]);
    assert_eq!(shown[8], "Also looked for: seen_alice (unix-seconds): no record");
    assert!(shown[9].starts_with(r#"as unix-seconds seen_alice, flags 0, "1"#), "{}", shown[9]);
    assert!(shown[10].starts_with(r#"as django :1:seen_alice, flags 1, "\x80"#), "{}", shown[10]);
    assert!(shown[10].ends_with(", as it is stored"), "{}", shown[10]);
    assert!(shown[11].starts_with(r#"as django-aware :1:seen_alice, flags 1, "\x80"#), "{}", shown[11]);
}

#[test]
fn inspect_says_that_a_record_never_expires_only_if_the_server_does() {
    let memcached = Memcached::start();
    store(&memcached, "alice", 10);
    let value = |servers: &str| on(servers, &["inspect", "alice"]).lines(0).remove(4);
    let shown = value(&memcached.address());
    assert!(shown.ends_with(" flags 0, never expires"), "{shown}");
    // As memcached before 1.6.10: it has no meta commands.
    let old = Fake::start(|mut stream| {
        use std::io::{BufRead, BufReader, Write};
        let asked = BufReader::new(stream.try_clone().unwrap()).lines();
        for line in asked.map_while(Result::ok) {
            let now = chrono::Utc::now().timestamp();
            let answer = match line.split(' ').collect::<Vec<_>>()[..] {
                ["get" | "gets", "seen_alice"] => format!("VALUE seen_alice 0 10 1\r\n{now}\r\nEND\r\n"),
                ["get" | "gets", _] => "END\r\n".to_owned(),
                _ => "ERROR\r\n".to_owned(),
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let shown = value(&old.address());
    assert!(shown.ends_with(" flags 0, expiry unknown"), "{shown}");
}

#[test]
fn inspect_finds_the_record_of_programs_that_are_set_up_in_another_way() {
    let memcached = Memcached::start();
    let naive = &["--django", "Europe/Berlin"][..];
    let aware = &["--django-aware"][..];
    for (stored, asked, told) in [
        (
            naive,
            &[][..],
            ":1:seen_dave (django), a local time. Your programs use different formats. Try: last-seen inspect dave --django ZONE",
        ),
        (
            aware,
            &[][..],
            ":1:seen_dave (django), last seen just now. Your programs use different formats. Try: last-seen inspect dave --django-aware",
        ),
        (
            &[][..],
            naive,
            "seen_dave (unix-seconds), last seen just now. Your programs use different formats. Try it without the Django settings",
        ),
    ] {
        run(&memcached, &[stored, &["seen", "dave"]].concat()).lines(0);
        let shown = run(&memcached, &[asked, &["inspect", "dave"]].concat()).lines(1);
        assert_eq!(shown[0], "dave has no record here");
        assert_eq!(shown[5], format!("But there is one under {told}"));
        run(&memcached, &[stored, &["forget", "dave"]].concat()).lines(0);
    }
}

#[test]
fn inspect_finds_the_record_on_the_server_that_another_client_chooses() {
    let (one, two) = (Memcached::start(), Memcached::start());
    let both = format!("{},{}", one.address(), two.address());
    let preview = |sharding: &str, user: &str| {
        let settings =
            last_seen::Settings::default().with_servers([&both]).with_sharding(sharding.parse().unwrap());
        last_seen::Tracker::new(settings).unwrap().preview(user, chrono::Utc::now()).unwrap().server
    };
    let user =
        (0..).map(|nth| format!("user{nth}")).find(|user| preview("ketama", user) != preview("dalli", user));
    let user = user.unwrap();
    on(&both, &["--sharding", "dalli", "seen", &user]).lines(0);
    let shown = on(&both, &["inspect", &user]).lines(1);
    let told = shown.iter().find(|line| line.starts_with("But there is one under")).unwrap();
    assert!(told.contains(&format!("on {}", preview("dalli", &user))), "{told}");
    assert!(told.contains("Your programs choose servers differently. Try: "), "{told}");
}

#[test]
fn inspect_tells_that_the_site_has_another_zone_or_other_zone_files() {
    let memcached = Memcached::start();
    let inspect = |zone| run(&memcached, &["--django", zone, "inspect", "alice"]);
    for (here, there, off) in [
        ("Etc/GMT+7", "Etc/GMT+8", "1h more in the past"),
        ("Etc/GMT+8", "Etc/GMT+7", "1h more in the future"),
        ("UTC", "Asia/Kolkata", "5h 30m more in the future"),
        ("Asia/Kolkata", "Asia/Kathmandu", "15m more in the future"),
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
    let zone = shown.iter().find(|line| line.starts_with("zone ")).unwrap();
    assert!(zone.ends_with(&format!(" UTC-07:00, zone files {}", zones.display())), "{zone}");
    let said = command("America/Winnipeg", "inspect");
    assert!(said.code == Some(2) && said.err.contains("its zone files differ from this host's"), "{said:?}");
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
            assert!(inspected.out.contains(" x but the format set here is "), "{inspected:?}");
            assert_eq!(inspected.code, Some(2));
            run(&memcached, &[set, &["inspect", "alice", "--json"]].concat()).json(2);
        }
    }
}

#[test]
fn a_site_is_of_one_kind() {
    let memcached = Memcached::start();
    let both = run(&memcached, &["--django", "UTC", "--django-aware", "show", "alice"]).refused(64);
    assert!(both.contains("cannot be used with"), "{both}");
}

#[test]
fn inspect_of_what_is_no_time_shows_it_and_fails() {
    let memcached = Memcached::start();
    memcached.set("seen_alice", 4, b"\x04\x08I:\x1b[31m");
    let shown = run(&memcached, &["inspect", "alice"]).lines(2);
    assert_eq!(
        shown[0],
        r#"alice has a record that is not a timestamp: flags 4, 9 bytes, beginning "\x04\x08I:\x1b[31m", Ruby's Marshal of something else than a time"#
    );
    assert!(shown[4].starts_with(r#"value "\x04\x08I:\x1b[31m" 9 bytes, flags 4"#), "{shown:?}");
    let line = run(&memcached, &["inspect", "alice", "--json"]).json(2).remove(0);
    assert_eq!(line["stored"]["bytes"], json!(r"\x04\x08I:\x1b[31m"));
    assert_eq!(line["stored"]["last_seen"], json!(null));

    // The formats cannot write it, and the rest is shown all the same.
    memcached.set("seen_old", 0, b"1960-01-01 00:00:00");
    let shown = run(&memcached, &["inspect", "old"]).lines(0);
    assert!(shown[0].ends_with(" days ago (1960-01-01 00:00:00 UTC)"), "{shown:?}");
    let ahead = chrono::Utc::now().timestamp() + 930;
    memcached.set("seen_future", 0, ahead.to_string().as_bytes());
    let shown = run(&memcached, &["inspect", "future"]).lines(2);
    assert_eq!(shown[0], "future has a time 15m in the future: check the clock of the writing host");
}

#[test]
fn servers_shows_each_one() {
    let memcached = Memcached::start();
    let both = format!("{},127.0.0.1:1", memcached.address());
    let said = on(&both, &["servers"]);
    let lines: Vec<&str> = said.out.lines().collect();
    assert!(lines[1].contains(" ms ") && lines[1].contains(" of 1024"), "{}", said.out);
    assert!(lines[2].starts_with("127.0.0.1:1 ") && lines[2].contains(" DOWN "), "{}", said.out);
    assert_eq!(lines.last(), Some(&"127.0.0.1:1  connection refused. Is memcached running there?"));
    assert_eq!((said.code, said.err.as_str()), (Some(3), ""));

    let lines = on(&both, &["servers", "--json"]).json(3);
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
        assert!(said.out.contains(" s   3 of 3"), "{}", said.out);
        let remarks: Vec<&str> = said.out.lines().skip(3).collect();
        assert!(remarks.iter().any(|remark| remark.ends_with(" s behind: run NTP")), "{}", said.out);
        assert!(remarks.iter().any(|remark| remark.contains("connections at 100 %")), "{}", said.out);
        let warned = remarks.iter().any(|remark| remark.contains("1.6.18: before 1.6.19 a suspended `who`"));
        assert_eq!((said.code, warned), (Some(0), old), "{}", said.out);
    }
}

#[test]
fn completions_are_made_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = on("", &["completions", shell]);
        assert!(said.code == Some(0) && said.out.contains("sign-out"), "{shell}: {said:?}");
    }
}

#[test]
fn completions_are_put_where_a_fresh_account_has_no_folder() {
    let home = last_seen_tests::Folder::create();
    for (shell, file) in [
        ("bash", ".local/share/bash-completion/completions/last-seen"),
        ("zsh", ".zfunc/_last-seen"),
        ("fish", ".config/fish/completions/last-seen.fish"),
    ] {
        let mut command = command(PROGRAM, "");
        command.args(["completions", shell, "--install"]).env("HOME", home.file(""));
        let said =
            Said::from(command.env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME").output().unwrap());
        assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{said:?}");
        assert!(said.err.starts_with("wrote ") && said.err.contains(file), "{said:?}");
        assert_eq!(std::fs::read_to_string(home.file(file)).unwrap(), on("", &["completions", shell]).out);
    }
}

#[test]
fn the_manual_pages_are_made_from_the_help() {
    let page = on("", &["man"]);
    for words in ["sign\\-out", "Exit codes:", "LAST_SEEN_SERVERS", "\\-\\-django\\-aware"] {
        assert!(page.code == Some(0) && page.out.contains(words), "{words}: {}", page.out);
    }
    assert!(on("", &["man", "watch"]).out.contains("\\-\\-keep"));
    assert_eq!(
        on("", &["man", "nothing"]).refused(64),
        "there is no command \"nothing\"; see last-seen --help"
    );
}

#[test]
fn servers_are_named_in_every_form_and_no_password_is_shown() {
    let socket = Memcached::start_on_socket();
    let secret = Memcached::start_with_password("site", "geheim", &[]);
    for server in [&socket, &secret] {
        on(&server.address(), &["seen", "alice"]).lines(0);
        let shown = on(&server.address(), &["show", "alice"]).lines(0);
        assert!(shown[1].starts_with("alice online "), "{shown:?}");
        let listed = on(&server.address(), &["servers", "--json"]).json(0);
        assert_eq!(listed[0]["server"], server.place());
    }
    let wrong = secret.address().replace("geheim", "geheimer");
    let down = "memcache://site:geheim@127.0.0.1:1";
    for servers in [wrong.as_str(), down, "memcache://site:geheim@127.0.0.1:x"] {
        for arguments in [
            &["show", "alice"][..],
            &["who"],
            &["servers"],
            &["inspect", "alice"],
            &["seen", "alice"],
            &["show", "alice", "--json"],
            &["servers", "--json"],
        ] {
            let said = on(servers, arguments);
            assert_ne!(said.code, Some(0), "{said:?}");
            assert!(!(said.out + &said.err).contains("geheim"), "{servers} {arguments:?}");
        }
    }
    let said = shell_on(down, "last-seen watch | head -2");
    assert!(said.out.contains("127.0.0.1:1") && !said.out.contains("geheim"), "{said:?}");
}
