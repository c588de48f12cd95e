//! A browser window, driven as a person would use it.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use fantoccini::{
    Client, ClientBuilder, Locator,
    actions::{InputSource, MouseActions, PointerAction},
    wd::WebDriverCompatibleCommand,
};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

/// Chromedriver, ended by its handle.
pub struct Driver {
    child: Child,
    port: u16,
}

impl Driver {
    #[track_caller]
    pub fn start() -> Self {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("chromedriver cannot be started ({error}): install chromium-driver, or run tests/run")
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            let line = line.unwrap();
            line.rsplit_once("successfully on port ")?.1.trim_end_matches('.').parse().ok()
        });
        // Its further words are read and dropped, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port: port.expect("chromedriver names its port") }
    }

    /// A window with cookies of its own.
    pub async fn window(&self) -> Window {
        self.window_with(json!({})).await
    }

    /// One whose user has switched scripts off.
    pub async fn window_without_scripts(&self) -> Window {
        self.window_with(json!({ "profile.managed_default_content_settings.javascript": 2 })).await
    }

    async fn window_with(&self, preferences: Value) -> Window {
        let options = json!({
            "goog:chromeOptions": { "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--hide-scrollbars", "--disable-dev-shm-usage",
            ], "prefs": preferences },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let Value::Object(options) = options else { unreachable!() };
        let connected = ClientBuilder::new(HttpConnector::new())
            .capabilities(options)
            .connect(&format!("http://127.0.0.1:{}", self.port))
            .await;
        Window(connected.unwrap())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub struct Window(Client);

/// How long a page may take to show what has happened: that memcached is stopped is found out within 25 s.
const PATIENCE: Duration = Duration::from_secs(30);

impl Window {
    pub async fn open(&self, url: &str) {
        self.0.goto(url).await.unwrap();
    }

    pub async fn sign_in(&self, name: &str) {
        let field = self.0.wait().for_element(Locator::Css("#user")).await.unwrap();
        field.send_keys(name).await.unwrap();
        self.click("header form button").await;
        self.0.wait().for_element(Locator::Css("header form b")).await.unwrap();
    }

    pub async fn click(&self, css: &str) {
        self.0.find(Locator::Css(css)).await.unwrap().click().await.unwrap();
    }

    /// Waits until the table has this row; the page is not loaded again. Of the last cell the beginning counts: a time may
    /// follow.
    pub async fn shows(&self, user: &str, status: &str, seen: &str) {
        let row =
            |row: &Value| row[0] == user && row[1] == status && row[2].as_str().unwrap().starts_with(seen);
        let wanted = format!("{user} {status} {seen}");
        self.until(&wanted, TABLE, |rows| rows.as_array().unwrap().iter().any(row)).await;
    }

    /// Waits until these are the users, from above.
    pub async fn lists(&self, users: &[&str]) {
        let names = |rows: &Value| {
            let rows = rows.as_array().unwrap().iter();
            rows.map(|row| row[0].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        self.until(&format!("{users:?}"), TABLE, |rows| names(rows) == users).await;
    }

    /// Waits until this is the text of the element, or its beginning if it ends with `…`.
    pub async fn says(&self, css: &str, text: &str) {
        let script = format!("return document.querySelector('{css}').textContent");
        let is_so = |said: &Value| {
            let said = said.as_str().unwrap();
            text.strip_suffix('…').map_or(said == text, |begin| said.starts_with(begin))
        };
        self.until(&format!("{css}: {text}"), &script, is_so).await;
    }

    /// Waits until the script returns what is wanted.
    pub async fn until(&self, wanted: &str, script: &str, is_so: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.run(script).await;
            if is_so(&now) {
                return;
            }
            assert!(Instant::now() < deadline, "not {wanted}, but {now}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn run(&self, script: &str) -> Value {
        self.0.execute(script, vec![]).await.unwrap()
    }

    pub async fn text_of(&self, css: &str) -> String {
        self.0.find(Locator::Css(css)).await.unwrap().text().await.unwrap()
    }

    pub async fn texts_of(&self, css: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for element in self.0.find_all(Locator::Css(css)).await.unwrap() {
            texts.push(element.text().await.unwrap());
        }
        texts
    }

    pub async fn count_of(&self, css: &str) -> usize {
        self.0.find_all(Locator::Css(css)).await.unwrap().len()
    }

    /// Types into the element that has the focus.
    pub async fn press(&self, keys: &str) {
        self.0.active_element().await.unwrap().send_keys(keys).await.unwrap();
    }

    /// Moves the mouse to a part of an element: 0 is its left edge, 1 its right one.
    pub async fn point_at(&self, css: &str, part: f64) {
        let element = self.0.find(Locator::Css(css)).await.unwrap();
        let (_, _, width, _) = element.rectangle().await.unwrap();
        let to = PointerAction::MoveToElement { element, duration: None, x: width * (part - 0.5), y: 0.0 };
        self.0.perform_actions(MouseActions::new("mouse".to_owned()).then(to)).await.unwrap();
    }

    pub async fn reload(&self) {
        self.0.refresh().await.unwrap();
    }

    pub async fn path(&self) -> String {
        let url = self.0.current_url().await.unwrap();
        url.as_str()[url.origin().ascii_serialization().len()..].to_owned()
    }

    /// Waits for a page that a form or a link has asked for.
    pub async fn wait_until_path(&self, path: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.path().await != path {
            assert!(Instant::now() < deadline, "at {}", self.path().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the element is seen, or not.
    pub async fn wait_until_visible(&self, css: &str, visible: bool) {
        let deadline = Instant::now() + PATIENCE;
        while self.0.find(Locator::Css(css)).await.unwrap().is_displayed().await.unwrap() != visible {
            assert!(Instant::now() < deadline, "{css} is still not so");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What axe-core finds wrong with the page as it is, in both schemes: rule, and where.
    pub async fn faults(&self) -> Vec<String> {
        self.run(&axe()).await;
        let script = "const done = arguments[arguments.length - 1]; \
            axe.run(document).then(found => done(found.violations.flatMap(rule => \
            rule.nodes.map(node => `${rule.id}: ${node.html}: ${node.failureSummary}`))), error => done([`${error}`]))";
        let mut faults = Vec::new();
        for scheme in ["light", "dark"] {
            self.scheme(scheme).await;
            let found = self.0.execute_async(script, vec![]).await.unwrap();
            faults.extend(found.as_array().unwrap().iter().map(|fault| format!("{scheme}: {fault}")));
        }
        faults
    }

    /// Gives the page so many pixels and a colour scheme.
    pub async fn look(&self, width: u32, height: u32, scheme: &str) {
        self.scheme(scheme).await;
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    async fn scheme(&self, scheme: &str) {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    /// As on paper.
    pub async fn print(&self) {
        self.devtools("Emulation.setEmulatedMedia", json!({ "media": "print" })).await;
    }

    /// Whether nothing stands out to the side.
    pub async fn fits(&self) -> bool {
        let script = "return document.documentElement.scrollWidth <= innerWidth";
        self.0.execute(script, vec![]).await.unwrap() == true
    }

    pub async fn picture(&self) -> Vec<u8> {
        self.0.screenshot().await.unwrap()
    }

    /// What the console said that was an error.
    pub async fn console_errors(&self) -> Vec<String> {
        let log = self.0.issue_cmd(Custom("se/log", json!({ "type": "browser" }))).await.unwrap();
        let severe = |entry: &&Value| entry["level"] == "SEVERE";
        log.as_array().unwrap().iter().filter(severe).map(|entry| entry["message"].to_string()).collect()
    }

    pub async fn close(self) {
        self.0.close().await.unwrap();
    }

    async fn devtools(&self, command: &str, parameters: Value) {
        let body = json!({ "cmd": command, "params": parameters });
        self.0.issue_cmd(Custom("goog/cdp/execute", body)).await.unwrap();
    }
}

/// User, status and last seen of every row.
const TABLE: &str = "return Array.from(document.querySelectorAll('#users tr:not(.bar)'), \
    row => Array.from(row.cells, cell => cell.textContent))";

/// What checks a page for those who cannot see it, or not well.
#[track_caller]
fn axe() -> String {
    let given = std::env::var_os("LAST_SEEN_INTEROP_CACHE").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
    let usual =
        || std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("last-seen-interop");
    let script = given.unwrap_or_else(usual).join("node/node_modules/axe-core/axe.min.js");
    std::fs::read_to_string(&script)
        .unwrap_or_else(|error| panic!("{} ({error}): run tests/interop/install", script.display()))
}

/// A command of chromedriver's own.
#[derive(Debug)]
struct Custom(&'static str, Value);

impl WebDriverCompatibleCommand for Custom {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.0))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.1.to_string()))
    }
}
