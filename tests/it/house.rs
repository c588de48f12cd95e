//! The house is in order: every source is compiled, every file of test data is read, and imports run one way.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use last_seen_tests::root;

/// What is in the repository, or about to be.
pub fn files() -> Vec<PathBuf> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    let output = Command::new("git").args(list).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    let paths = names.split_terminator('\0').map(|name| root().join(name));
    paths.filter(|path| path.is_file()).map(|path| path.canonicalize().unwrap()).collect()
}

pub fn with_extension(extension: &str) -> impl Iterator<Item = PathBuf> {
    files().into_iter().filter(move |path| path.extension().is_some_and(|of| of == extension))
}

/// The roots of all module trees: what cargo compiles, here, in fuzz/ and in recipes/.
fn targets() -> Vec<PathBuf> {
    let manifests =
        ["Cargo.toml", "fuzz/Cargo.toml", "recipes/Cargo.toml"].map(|manifest| root().join(manifest));
    let metadata = |manifest: &PathBuf| -> serde_json::Value {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(manifest);
        serde_json::from_slice(&cargo.output().unwrap().stdout).unwrap()
    };
    let mut targets = Vec::new();
    for metadata in manifests.iter().map(metadata) {
        for package in metadata["packages"].as_array().unwrap() {
            let of = package["targets"].as_array().unwrap().iter();
            targets.extend(of.map(|target| PathBuf::from(target["src_path"].as_str().unwrap())));
        }
    }
    targets
}

/// Adds a source and the modules that it declares on lines of their own, and theirs.
fn collect(source: &Path, is_root: bool, into: &mut BTreeSet<PathBuf>) {
    let source = source.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", source.display()));
    if !into.insert(source.clone()) {
        return;
    }
    let folder = source.parent().unwrap();
    let stem = source.file_stem().unwrap();
    let modules = if is_root || stem == "mod" { folder.to_owned() } else { folder.join(stem) };
    let mut path = None;
    for line in fs::read_to_string(&source).unwrap().lines().map(str::trim) {
        let declared = ["", "pub ", "pub(crate) ", "pub(super) "];
        let module =
            declared.iter().find_map(|with| line.strip_prefix(with)?.strip_prefix("mod ")?.strip_suffix(';'));
        if let Some(module) = module {
            let file = path.take().unwrap_or_else(|| match modules.join(format!("{module}.rs")) {
                file if file.exists() => file,
                _ => modules.join(module).join("mod.rs"),
            });
            collect(&file, false, into);
        } else if let Some(named) = line.strip_prefix("#[path = \"") {
            path = named.strip_suffix("\"]").map(|named| folder.join(named));
        }
    }
}

pub fn compiled() -> BTreeSet<PathBuf> {
    let mut compiled = BTreeSet::new();
    targets().iter().for_each(|target| collect(target, true, &mut compiled));
    compiled
}

#[test]
fn every_source_is_in_a_module_tree() {
    let compiled = compiled();
    let stray: Vec<_> = with_extension("rs").filter(|source| !compiled.contains(source)).collect();
    assert!(stray.is_empty(), "never compiled: {stray:#?}");
}

#[test]
fn every_file_of_test_data_is_read_by_a_test() {
    let sources: String = compiled().iter().map(|source| fs::read_to_string(source).unwrap()).collect();
    let data: Vec<_> = ["bin", "tsv"].into_iter().flat_map(with_extension).collect();
    assert!(data.len() >= 7, "{data:?}");
    let unread: Vec<_> =
        data.iter().filter(|file| !sources.contains(file.file_name().unwrap().to_str().unwrap())).collect();
    assert!(unread.is_empty(), "{unread:#?}");
}

/// The modules of the library, each of which imports those before it and no other.
const HOUSE: [&str; 15] = [
    "error",
    "presence",
    "record",
    "settings",
    "memcached",
    "store",
    "queue",
    "tracker",
    "recorder",
    "async_tracker",
    "seen_layer",
    "who",
    "global",
    "recipes",
    "fuzzing",
];

#[test]
fn imports_of_the_library_run_one_way() {
    let src = root().join("src").canonicalize().unwrap();
    let place = |module: &str| HOUSE.iter().position(|other| *other == module);
    let mut counted: BTreeMap<usize, usize> = BTreeMap::new();
    for source in with_extension("rs").filter(|source| source.starts_with(&src)) {
        let module = source.strip_prefix(&src).unwrap().iter().next().unwrap().to_str().unwrap();
        let module = module.trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let own = place(module).unwrap_or_else(|| panic!("{module} has no place in the house"));
        let text = fs::read_to_string(&source).unwrap();
        for imported in imports(&text) {
            let Some(other) = place(&imported) else { continue };
            assert!(other <= own, "{} imports {imported}", source.display());
            *counted.entry(own).or_default() += 1;
        }
    }
    assert!(
        counted.len() >= 10 && counted.values().sum::<usize>() >= 60,
        "imports are not found: {counted:?}"
    );
}

/// The first name of each path that begins with `crate::`, also in a `use crate::{..}` over several lines.
fn imports(text: &str) -> Vec<String> {
    let name = |text: &str| {
        text.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect::<String>()
    };
    let mut imports = Vec::new();
    for rest in text.split("crate::").skip(1) {
        let Some(list) = rest.strip_prefix('{') else {
            imports.push(name(rest));
            continue;
        };
        let (mut depth, mut start) = (0, true);
        for (at, char) in list.char_indices() {
            match char {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                char if start && !char.is_whitespace() => {
                    imports.push(name(&list[at..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    imports
}

#[test]
fn imports_are_found_in_every_form() {
    let text =
        "use crate::{\n    error::{Error, Result},\n    record::Key,\n};\nfn f() -> crate::who::Watch {}";
    assert_eq!(imports(text), ["error", "record", "who"]);
}
