//! What can be set, and what every mistake says.

use std::time::Duration;

use last_seen::{Error, Format, Settings, Sharding, Tracker};

use last_seen_tests::{alone, ms, secs};

#[track_caller]
fn refused(settings: Settings) -> String {
    match Tracker::new(settings) {
        Err(Error::Settings(error)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused_file(text: &str) -> String {
    match toml::from_str::<Settings>(text) {
        Err(error) => error.message().to_owned(),
        Ok(settings) => refused(settings),
    }
}

#[track_caller]
fn refused_servers(servers: &str) -> String {
    refused(Settings::default().with_servers([servers]))
}

#[test]
fn the_defaults_are_those_of_the_post() {
    let settings = Settings::default();
    assert_eq!(settings.servers(), ["127.0.0.1:11211"]);
    assert_eq!(settings.online_timeout(), secs(300));
    assert_eq!(settings.last_seen_timeout(), secs(604_800));
    assert_eq!(settings.key_prefix(), "seen_");
    assert_eq!(settings.format(), Format::UnixSeconds);
    assert_eq!(settings.time_zone(), "UTC");
    assert_eq!(settings.sharding(), Sharding::Ketama);
    assert_eq!(settings.server_timeout(), ms(100));
    assert_eq!(settings.max_connections(), 8);
    assert_eq!(settings.flush_interval(), secs(1));
    assert_eq!(settings.recorder_capacity(), 100_000);
    assert_eq!(toml::from_str::<Settings>("").unwrap(), settings);
}

#[test]
fn a_file_sets_everything() {
    let settings: Settings = toml::from_str(
        r#"
        servers = ["memcache://cache.example:11212"]
        online_timeout = 60
        last_seen_timeout = "30d"
        key_prefix = "shop_seen_"
        format = "unix-seconds"
        time_zone = "UTC"
        sharding = "pymemcache"
        server_timeout = "250ms"
        max_connections = 20
        flush_interval = "2s"
        recorder_capacity = 5
        "#,
    )
    .unwrap();
    let expected = Settings::default()
        .with_servers(["memcache://cache.example:11212"])
        .with_online_timeout(secs(60))
        .with_last_seen_timeout(secs(30 * 86_400))
        .with_key_prefix("shop_seen_")
        .with_format(Format::UnixSeconds)
        .with_time_zone("UTC")
        .with_sharding(Sharding::Pymemcache)
        .with_server_timeout(ms(250))
        .with_max_connections(20)
        .with_flush_interval(secs(2))
        .with_recorder_capacity(5);
    assert_eq!(settings, expected);
    let json = r#"{"servers": "memory:", "online_timeout": "2m", "last_seen_timeout": "3600"}"#;
    let settings: Settings = serde_json::from_str(json).unwrap();
    assert_eq!(settings.online_timeout(), secs(120));
    assert_eq!(settings.last_seen_timeout(), secs(3_600));
    Tracker::new(settings).unwrap().seen("alice").unwrap();
}

#[test]
fn the_example_file_names_every_setting_and_its_default() {
    let file = include_str!("../../examples/last-seen.toml");
    assert_eq!(toml::from_str::<Settings>(file).unwrap(), Settings::default());
    let named = file.lines().filter(|line| line.contains(" = ")).count();
    // As many as there are getters.
    assert_eq!(named, 11);
}

#[test]
fn the_names_of_the_post_are_accepted() {
    let settings: Settings =
        toml::from_str("USER_ONLINE_TIMEOUT = 600\nUSER_LASTSEEN_TIMEOUT = 86400").unwrap();
    assert_eq!(settings.online_timeout(), secs(600));
    assert_eq!(settings.last_seen_timeout(), secs(86_400));
}

#[test]
fn every_form_of_a_server_is_understood() {
    for (text, name) in [
        ("localhost", "localhost:11211"),
        ("127.0.0.1:11999", "127.0.0.1:11999"),
        ("[::1]", "[::1]:11211"),
        ("[::1]:11999", "[::1]:11999"),
        ("memcache://cache_1.example", "cache_1.example:11211"),
        (" localhost:1 ", "localhost:1"),
    ] {
        let tracker = Tracker::connect(text).unwrap();
        let [server] = &tracker.server_status()[..] else { panic!() };
        assert_eq!(server.server, name);
    }
    Tracker::connect("memory:").unwrap().seen("alice").unwrap();
}

#[test]
fn a_server_that_is_none_is_refused() {
    let told = |text| refused_servers(text);
    assert_eq!(told(""), r#"setting servers = "": must name at least one server"#);
    assert_eq!(refused(Settings::default().with_servers([""; 0])), told(""));
    assert_eq!(told("host:port"), r#"setting servers = "host:port": expected a port (1 to 65535) after ":""#);
    assert_eq!(told("host:65536"), r#"setting servers = "host:65536": the port must be 1 to 65535"#);
    assert_eq!(told("host:0"), r#"setting servers = "host:0": the port must be 1 to 65535"#);
    assert_eq!(told("host:"), r#"setting servers = "host:": the port must be 1 to 65535"#);
    assert_eq!(
        told("redis://host"),
        r#"setting servers = "redis://host": unknown scheme; use "memcache://", "tls://" or "unix:""#
    );
    assert_eq!(
        told("::1"),
        r#"setting servers = "::1": write an IPv6 address in brackets, as in "[::1]:11211""#
    );
    assert_eq!(told("[::1"), r#"setting servers = "[::1": missing "]" after the IPv6 address"#);
    assert_eq!(
        told("[host]"),
        r#"setting servers = "[host]": expected an IPv6 address between the brackets"#
    );
    assert_eq!(told("[::1]11211"), r#"setting servers = "[::1]11211": expected ":PORT" after "]""#);
    assert_eq!(told(":11211"), r#"setting servers = ":11211": the host is missing"#);
    assert_eq!(told("a b"), r#"setting servers = "a b": the host must be a name or an address"#);
    assert_eq!(told("host/path"), r#"setting servers = "host/path": the host must be a name or an address"#);
    assert_eq!(
        told("memory:,host"),
        r#"setting servers = "memory:,host": "memory:" cannot be combined with other servers"#
    );
    assert_eq!(told("host,"), r#"setting servers = "": the host is missing"#);
}

#[test]
fn several_servers_are_a_list_or_a_text() {
    let names = |settings: Settings| -> Vec<String> {
        let servers = Tracker::new(settings.with_server_timeout(ms(1))).unwrap().server_status();
        servers.into_iter().map(|server| server.server).collect()
    };
    let expected = ["127.0.0.1:1", "[::1]:2", "127.0.0.1:3"];
    assert_eq!(names(Settings::default().with_servers(expected)), expected);
    assert_eq!(
        names(Settings::default().with_servers(["127.0.0.1:1, [::1]:2,127.0.0.1:3?weight=2"])),
        expected
    );
    let file = r#"servers = ["127.0.0.1:1,[::1]:2", "127.0.0.1:3"]"#;
    assert_eq!(names(toml::from_str(file).unwrap()), expected);
}

#[test]
fn a_list_that_no_client_understands_is_refused() {
    assert_eq!(
        refused_servers("one,two,one:11211"),
        r#"setting servers = "one,two,one:11211": one:11211 is listed twice"#
    );
    for text in ["one?weight=0", "one?weight=65536", "one?weight=-1", "one?weight="] {
        assert_eq!(refused_servers(text), format!("setting servers = {text:?}: weight must be 1 to 65535"));
    }
    assert_eq!(
        refused_servers("one?wait=1"),
        r#"setting servers = "one?wait=***": unknown option; use "weight", "password_file", "ca", "cert", "key" or "server_name""#
    );
    let without =
        [Sharding::Pymemcache, Sharding::Libmemcached, Sharding::PythonMemcached, Sharding::Gomemcache];
    for sharding in without {
        let told = refused(Settings::default().with_servers(["one,two?weight=2"]).with_sharding(sharding));
        assert_eq!(
            told,
            format!(
                r#"setting servers = "one,two?weight=2": weights need sharding "ketama" or "dalli", not {sharding}"#
            )
        );
    }
}

#[test]
fn a_word_that_is_no_choice_is_refused() {
    assert_eq!(
        refused_file("sharding = 'modula'"),
        r#"setting sharding = "modula": must be one of "ketama", "pymemcache", "libmemcached", "python-memcached", "dalli", "gomemcache""#
    );
    assert_eq!(
        refused_file("format = 'pickle'"),
        r#"setting format = "pickle": must be one of "unix-seconds", "django", "django-aware""#
    );
    assert_eq!(refused_file("format = 5"), "setting format = 5: expected text");
    for sharding in ["ketama", "pymemcache", "libmemcached", "python-memcached", "dalli", "gomemcache"] {
        assert_eq!(sharding.parse::<Sharding>().unwrap().to_string(), sharding);
    }
}

#[cfg(feature = "django")]
#[test]
fn a_zone_that_does_not_exist_is_refused() {
    let told =
        r#"setting time_zone = "Mars/Phobos": unknown time zone; use an IANA name such as "Europe/Berlin""#;
    assert_eq!(refused_file("time_zone = 'Mars/Phobos'"), told);
    assert_eq!(Settings::django("Mars/Phobos").unwrap_err().to_string(), told);
    let settings = Settings::django("Europe/Berlin").unwrap();
    assert_eq!(settings.key_prefix(), ":1:seen_");
    assert_eq!(settings.format(), Format::Django);
    assert_eq!(settings.time_zone(), "Europe/Berlin");
    assert_eq!(settings.sharding(), Sharding::Pymemcache);
}

#[cfg(feature = "django")]
#[test]
fn an_aware_site_differs_from_a_naive_one_in_the_format_and_needs_no_zone() {
    let aware = Settings::django_aware();
    assert_eq!(aware.format(), Format::DjangoAware);
    assert_eq!(aware.clone().with_format(Format::Django), Settings::django("UTC").unwrap());
    let file = "format = 'django-aware'\nkey_prefix = ':1:seen_'\nsharding = 'pymemcache'";
    assert_eq!(toml::from_str::<Settings>(file).unwrap(), aware);
}

#[cfg(not(feature = "django"))]
#[test]
fn what_needs_the_feature_is_refused_by_its_name() {
    for format in ["django", "django-aware"] {
        let told = format!("setting format = {format}: needs the feature `django`");
        assert_eq!(refused_file(&format!("format = '{format}'")), told);
    }
    assert_eq!(
        refused_file("time_zone = 'Europe/Berlin'"),
        r#"setting time_zone = "Europe/Berlin": any zone but UTC needs the feature `django`"#
    );
}

#[test]
fn a_duration_that_cannot_be_is_refused() {
    let with = |text: &str| refused_file(text);
    assert_eq!(with("online_timeout = 0"), "setting online_timeout = 0s: must be at least 1s");
    assert_eq!(
        with("online_timeout = \"1500ms\""),
        "setting online_timeout = 1s 500ms: must be a whole number of seconds"
    );
    assert_eq!(
        with("online_timeout = \"8d\""),
        "setting online_timeout = 8days: must be at most 7days, the last_seen_timeout"
    );
    assert_eq!(
        with("last_seen_timeout = 60"),
        "setting online_timeout = 5m: must be at most 1m, the last_seen_timeout"
    );
    assert_eq!(with("last_seen_timeout = 0"), "setting last_seen_timeout = 0s: must be at least 1s");
    assert_eq!(
        with("last_seen_timeout = \"1830d\""),
        "setting last_seen_timeout = 5years 3days 18h: must be at most five years"
    );
    let reason = r#"expected seconds or a duration such as "5m", "7d" or "100ms""#;
    for (value, shown) in
        [("-5", "-5"), ("1.5", "1.5"), ("\"soon\"", "\"soon\""), ("true", "true"), ("\"\"", "\"\"")]
    {
        let told = with(&format!("online_timeout = {value}"));
        assert_eq!(told, format!("setting online_timeout = {shown}: {reason}"));
    }
    refused(Settings::default().with_last_seen_timeout(Duration::MAX));
    refused(Settings::default().with_server_timeout(Duration::MAX));
}

#[test]
fn a_server_timeout_in_the_wrong_unit_gets_a_hint() {
    assert_eq!(
        refused_file("server_timeout = 100"),
        "setting server_timeout = 1m 40s: must be at most 10s (plain numbers are seconds); did you mean \"100ms\"?"
    );
    assert_eq!(refused_file("server_timeout = 0"), "setting server_timeout = 0s: must be at least 1ms");
    assert!(toml::from_str::<Settings>("server_timeout = 10").is_ok());
}

#[test]
fn an_unknown_name_is_refused() {
    let told = refused_file("online_timout = 5");
    assert!(told.contains("unknown field `online_timout`"), "{told}");
    assert!(told.contains("`online_timeout`"), "{told}");
}

#[test]
fn a_prefix_that_cannot_begin_a_key_is_refused() {
    let with = |prefix: &str| refused(Settings::default().with_key_prefix(prefix));
    assert_eq!(with(""), r#"setting key_prefix = "": must not be empty"#);
    assert_eq!(
        with("seen "),
        r#"setting key_prefix = "seen ": must not contain spaces or control characters"#
    );
    assert_eq!(with("\r\n"), r#"setting key_prefix = "\r\n": must not contain spaces or control characters"#);
    assert!(
        with(&"x".repeat(250)).ends_with("must be shorter than 250 bytes, so that a user fits into the key")
    );
    assert_eq!(refused_file("key_prefix = 5"), "setting key_prefix = 5: expected text");
}

#[test]
fn a_number_of_connections_that_cannot_be_is_refused() {
    let with = |count| refused(Settings::default().with_max_connections(count));
    assert_eq!(with(0), "setting max_connections = 0: must be 1 to 1000");
    assert_eq!(with(1_001), "setting max_connections = 1001: must be 1 to 1000");
    assert_eq!(
        refused_file("max_connections = \"many\""),
        r#"setting max_connections = "many": expected a whole number"#
    );
}

#[test]
fn a_recorder_that_could_not_work_is_refused() {
    let told = "setting flush_interval = 5ms: must be 10ms to 1m";
    assert_eq!(refused_file("flush_interval = '5ms'"), told);
    assert_eq!(refused_file("flush_interval = 61"), "setting flush_interval = 1m 1s: must be 10ms to 1m");
    assert_eq!(refused_file("recorder_capacity = 0"), "setting recorder_capacity = 0: must be at least 1");
}

#[test]
fn the_environment_sets_everything() {
    let variables = [
        ("LAST_SEEN_SERVERS", "memory:"),
        ("LAST_SEEN_ONLINE_TIMEOUT", "60"),
        ("LAST_SEEN_LAST_SEEN_TIMEOUT", "1d"),
        ("LAST_SEEN_KEY_PREFIX", "42"),
        ("LAST_SEEN_FORMAT", "unix-seconds"),
        ("LAST_SEEN_TIME_ZONE", "UTC"),
        ("LAST_SEEN_SHARDING", "libmemcached"),
        ("LAST_SEEN_SERVER_TIMEOUT", "1s"),
        ("LAST_SEEN_MAX_CONNECTIONS", "3"),
        ("LAST_SEEN_FLUSH_INTERVAL", "50ms"),
        ("LAST_SEEN_RECORDER_CAPACITY", "10"),
        ("LAST_SEEN_PORT", "tcp://10.0.0.1:80"),
    ];
    alone(&variables, || {
        let expected = Settings::default()
            .with_servers(["memory:"])
            .with_online_timeout(secs(60))
            .with_last_seen_timeout(secs(86_400))
            .with_key_prefix("42")
            .with_sharding(Sharding::Libmemcached)
            .with_server_timeout(secs(1))
            .with_max_connections(3)
            .with_flush_interval(ms(50))
            .with_recorder_capacity(10);
        assert_eq!(Settings::from_env().unwrap(), expected);
        let tracker = Tracker::from_env().unwrap();
        assert_eq!(tracker.settings(), &expected);
        assert_eq!(last_seen::global().unwrap().settings(), &expected);
        assert!(last_seen::set_global(tracker).is_err());
    });
}

#[test]
fn a_wrong_environment_is_an_error_each_time_until_a_tracker_is_set() {
    alone(&[("LAST_SEEN_ONLINE_TIMEOUT", "soon")], || {
        for _ in 0..2 {
            let told = last_seen::global().unwrap_err().to_string();
            assert!(told.starts_with(r#"setting online_timeout = "soon": "#), "{told}");
        }
        last_seen::set_global(Tracker::in_memory()).unwrap();
        last_seen::global().unwrap().seen("alice").unwrap();
    });
}

#[test]
fn an_empty_environment_is_the_defaults() {
    alone(&[], || {
        assert_eq!(Settings::from_env().unwrap(), Settings::default());
        assert_eq!(last_seen::global().unwrap().settings(), &Settings::default());
    });
}
