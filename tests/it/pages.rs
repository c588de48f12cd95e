//! The pages are in order: they show what runs, their links lead somewhere, and README.md is short.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use last_seen::Settings;
use last_seen_tests::root;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::house::{compiled, files, with_extension};

/// What a forge makes of a page.
struct Page {
    path: PathBuf,
    anchors: BTreeSet<String>,
    links: Vec<String>,
    blocks: Vec<Block>,
}

struct Block {
    language: String,
    code: String,
    /// The file that it shows, from a comment before it: `<!-- FILE -->`.
    file: Option<String>,
}

impl Page {
    fn read(path: PathBuf) -> Self {
        let markdown = fs::read_to_string(&path).unwrap();
        let mut page = Self { path, anchors: BTreeSet::new(), links: Vec::new(), blocks: Vec::new() };
        let (mut text, mut language, mut file) = (String::new(), String::new(), None);
        for event in Parser::new_ext(&markdown, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Heading { .. }) => text.clear(),
                Event::End(TagEnd::Heading(_)) => page.add_anchor(&text),
                Event::Start(Tag::CodeBlock(kind)) => {
                    text.clear();
                    language = match kind {
                        CodeBlockKind::Fenced(language) => language.into_string(),
                        CodeBlockKind::Indented => String::new(),
                    };
                }
                Event::End(TagEnd::CodeBlock) => {
                    let (language, code) = (std::mem::take(&mut language), text.trim_end().to_owned());
                    page.blocks.push(Block { language, code, file: file.take() });
                }
                Event::Text(part) | Event::Code(part) => text.push_str(&part),
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Html(html) | Event::InlineHtml(html) => {
                    let sources = html.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next());
                    page.links.extend(sources.map(str::to_owned));
                    let comment =
                        html.trim().strip_prefix("<!-- ").and_then(|html| html.strip_suffix(" -->"));
                    let comment = comment.filter(|comment| !comment.contains(' '));
                    file = comment.map(str::to_owned).or(file);
                }
                _ => {}
            }
        }
        page
    }

    fn add_anchor(&mut self, heading: &str) {
        let is_kept = |char: &char| char.is_alphanumeric() || "-_ ".contains(*char);
        let name: String = heading.to_lowercase().chars().filter(is_kept).collect();
        let name = name.replace(' ', "-");
        let again = (1..).map(|nth| format!("{name}-{nth}"));
        let free = [name.clone()].into_iter().chain(again).find(|name| !self.anchors.contains(name));
        self.anchors.extend(free);
    }

    fn shown(&self) -> String {
        self.path.strip_prefix(root().canonicalize().unwrap()).unwrap().display().to_string()
    }
}

fn pages() -> Vec<Page> {
    with_extension("md").map(Page::read).collect()
}

fn readme() -> Page {
    Page::read(root().join("README.md").canonicalize().unwrap())
}

/// The part of a file between its two marks, without the indentation that its lines share; or all of it.
fn snippet(source: &str) -> String {
    let Some((_, marked)) = source.split_once("--- snippet ---") else {
        return source.trim_end().to_owned();
    };
    let lines: Vec<&str> = marked.lines().skip(1).take_while(|line| !line.contains("--- end ---")).collect();
    let indentation = |line: &&str| line.len() - line.trim_start().len();
    let shared = lines.iter().filter(|line| !line.is_empty()).map(indentation).min().unwrap_or(0);
    let cut: Vec<&str> = lines.iter().map(|line| line.get(shared..).unwrap_or("")).collect();
    cut.join("\n").trim_end().to_owned()
}

#[test]
fn pages_show_what_their_files_say() {
    let mut shown = BTreeSet::new();
    for page in pages() {
        for Block { code, file, .. } in &page.blocks {
            let Some(file) = file else { continue };
            let source = fs::read_to_string(root().join(file));
            let source = source.unwrap_or_else(|error| panic!("{}: {file}: {error}", page.shown()));
            assert_eq!(*code, snippet(&source), "{} and {file} differ", page.shown());
            shown.insert(root().join(file).canonicalize().unwrap());
        }
    }
    let own = root().join(file!()).canonicalize().unwrap();
    let is_marked =
        |file: &PathBuf| fs::read_to_string(file).is_ok_and(|text| text.contains("--- snippet ---"));
    let marked = files().into_iter().filter(|file| *file != own && is_marked(file));
    let hidden: Vec<PathBuf> = marked.filter(|file| !shown.contains(file)).collect();
    assert!(hidden.is_empty(), "no page shows the marked part of {hidden:#?}");
    assert!(shown.len() >= 20, "{shown:#?}");
}

#[test]
fn the_rust_of_the_readme_is_compiled() {
    let compiled = compiled();
    let readme = readme();
    let rust: Vec<_> = readme.blocks.iter().filter(|block| block.language.starts_with("rust")).collect();
    assert!(rust.len() >= 3, "{}", rust.len());
    for block in rust {
        let file = block.file.as_ref().unwrap_or_else(|| panic!("no <!-- FILE --> before {}", block.code));
        let file = root().join(file).canonicalize().unwrap();
        assert!(compiled.contains(&file), "{} is not compiled", file.display());
    }
}

/// Lines that documentation for Rust hides, and a forge shows.
#[test]
fn no_page_shows_a_hidden_line() {
    for page in pages() {
        for block in page.blocks.iter().filter(|block| block.language.starts_with("rust")) {
            let hidden = block.code.lines().find(|line| line.starts_with("# ") || *line == "#");
            assert_eq!(hidden, None, "{}", page.shown());
        }
    }
}

#[test]
fn the_readme_is_short() {
    let lines = fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(lines <= 150, "{lines} lines");
}

#[test]
fn every_link_leads_somewhere() {
    let pages: BTreeMap<PathBuf, Page> = pages().into_iter().map(|page| (page.path.clone(), page)).collect();
    let (mut broken, mut counted) = (Vec::new(), 0);
    for page in pages.values() {
        for link in page.links.iter().filter(|link| !link.contains("://")) {
            counted += 1;
            if !leads_somewhere(page, link, &pages) {
                broken.push(format!("{}: {link}", page.shown()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(counted >= 40, "{counted}");
}

fn leads_somewhere(from: &Page, link: &str, pages: &BTreeMap<PathBuf, Page>) -> bool {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match path {
        "" => Ok(from.path.clone()),
        path => from.path.parent().unwrap_or(Path::new("")).join(path).canonicalize(),
    };
    let Ok(target) = target else { return false };
    anchor.is_empty() || pages.get(&target).is_some_and(|page| page.anchors.contains(anchor))
}

#[test]
fn settings_md_has_every_setting_with_its_default() {
    let page = fs::read_to_string(root().join("docs/settings.md")).unwrap();
    let mut file = String::new();
    for row in page.lines().filter(|line| line.starts_with("| `") && line.contains("`LAST_SEEN_")) {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [_, name, variable, default, ..] = cells[..] else { panic!("{row}") };
        assert_eq!(variable, format!("LAST_SEEN_{}", name.to_uppercase()));
        file += &format!("{name} = {default}\n");
    }
    assert_eq!(toml::from_str::<Settings>(&file).unwrap(), Settings::default(), "{file}");
    // As many as `Settings` has getters.
    assert_eq!(file.lines().count(), 11, "{file}");
}
