//! A test in a process of its own: one that counts its threads, changes its environment, or is stopped.

use std::process::Command;

const ALONE: &str = "LAST_SEEN_TEST_ALONE";

/// Runs `test`, which is the body of the test that calls this, in a new process of this binary with these
/// variables.
#[track_caller]
pub fn alone<F: FnOnce()>(variables: &[(&str, &str)], test: F) {
    // it::faults::process::a_test::{{closure}}
    let path = std::any::type_name::<F>();
    let name = path.split_once("::").unwrap().1.strip_suffix("::{{closure}}").unwrap();
    if std::env::var(ALONE).is_ok_and(|alone| alone == name) {
        return test();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(ALONE, name).envs(variables.iter().copied());
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    let [out, err] = &said;
    assert!(output.status.success() && out.contains("1 passed"), "{}\n{out}\n{err}", output.status);
    print!("{out}");
}

/// What this process has open, and runs, and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pub threads: usize,
    pub descriptors: usize,
    pub sockets: usize,
    pub resident_kb: usize,
}

impl Process {
    pub fn now() -> Self {
        let count = |folder: &str| std::fs::read_dir(folder).unwrap().count();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let links = std::fs::read_dir("/proc/self/fd").unwrap();
        let target = |link: std::io::Result<std::fs::DirEntry>| std::fs::read_link(link.ok()?.path()).ok();
        let sockets = links.filter_map(target).filter(|to| to.to_string_lossy().starts_with("socket:"));
        Self {
            threads: count("/proc/self/task"),
            descriptors: count("/proc/self/fd"),
            sockets: sockets.count(),
            resident_kb: resident.trim().trim_end_matches(" kB").parse().unwrap(),
        }
    }

    /// How many threads of this process have the name, of which the system keeps 15 bytes.
    pub fn threads_named(name: &str) -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        // One that ends meanwhile has no name any more.
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|other| other.trim_end() == name).count()
    }
}
