//! The compose file that developers start memcached with.

use std::process::Command;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docker-compose.yml");

#[test]
fn docker_compose_accepts_the_file() {
    let output = Command::new("docker-compose")
        .args(["-f", FILE, "config"])
        .output()
        .expect("docker-compose cannot be started: install it, or run tests/run, which does");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let config = String::from_utf8(output.stdout).unwrap();
    assert!(config.contains("127.0.0.1:11211:11211"), "{config}");
}

#[test]
fn the_development_memcached_is_pinned_local_and_checked() {
    let file = std::fs::read_to_string(FILE).unwrap();
    let image = file.lines().find_map(|line| line.trim().strip_prefix("image: memcached:")).unwrap();
    let version: Vec<u32> =
        image.split('-').next().unwrap().split('.').map(|part| part.parse().unwrap()).collect();
    assert!(version >= vec![1, 6, 45], "{image}");
    let ports: Vec<_> = file.lines().filter(|line| line.trim().starts_with("- \"")).collect();
    assert_eq!(ports, ["      - \"127.0.0.1:11211:11211\""]);
    assert!(file.contains(r#"command: ["memcached", "-U", "0","#), "no UDP");
    assert!(file.contains("healthcheck:"));
}
