//! A browser window, driven as a person would use it.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use fantoccini::{Client, ClientBuilder, Locator, wd::WebDriverCompatibleCommand};
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
        let options = json!({
            "goog:chromeOptions": { "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--hide-scrollbars", "--disable-dev-shm-usage",
            ]},
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
        self.click("header button").await;
        self.0.wait().for_element(Locator::Css("header form b")).await.unwrap();
    }

    pub async fn click(&self, css: &str) {
        self.0.find(Locator::Css(css)).await.unwrap().click().await.unwrap();
    }

    /// Waits until the table has this row; the page is not loaded again.
    pub async fn shows(&self, user: &str, last_seen: &str, online: &str) {
        let script = "return Array.from(document.querySelectorAll('#users tr'), \
            row => Array.from(row.cells, cell => cell.textContent))";
        let row = json!([user, last_seen, online]);
        let mut table = Value::Null;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            table = self.0.execute(script, vec![]).await.unwrap();
            if table.as_array().is_some_and(|rows| rows.contains(&row)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no row {row} in {table}");
    }

    pub async fn text_of(&self, css: &str) -> String {
        self.0.find(Locator::Css(css)).await.unwrap().text().await.unwrap()
    }

    pub async fn count_of(&self, css: &str) -> usize {
        self.0.find_all(Locator::Css(css)).await.unwrap().len()
    }

    /// Waits until the element is seen, or not.
    pub async fn wait_until_visible(&self, css: &str, visible: bool) {
        let deadline = Instant::now() + PATIENCE;
        while self.0.find(Locator::Css(css)).await.unwrap().is_displayed().await.unwrap() != visible {
            assert!(Instant::now() < deadline, "{css} is still not so");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Gives the page so many pixels and a colour scheme.
    pub async fn look(&self, width: u32, height: u32, scheme: &str) {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", media).await;
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
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
