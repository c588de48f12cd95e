//! The compose file that developers start memcached with. That docker-compose takes it is a stage of tests/run.

use last_seen_tests::root;

#[test]
fn the_development_memcached_is_pinned_local_and_checked() {
    let file = std::fs::read_to_string(root().join("docker-compose.yml")).unwrap();
    let image = file.lines().find_map(|line| line.trim().strip_prefix("image: memcached:")).unwrap();
    let version: Vec<u32> =
        image.split('-').next().unwrap().split('.').map(|part| part.parse().unwrap()).collect();
    assert!(version >= vec![1, 6, 45], "{image}");
    let ports: Vec<_> = file.lines().filter(|line| line.trim().starts_with("- \"")).collect();
    assert_eq!(ports, ["      - \"127.0.0.1:11211:11211\""]);
    assert!(file.contains(r#"command: ["memcached", "-U", "0","#), "no UDP");
    assert!(file.contains("healthcheck:"));
}
