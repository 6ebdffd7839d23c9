//! A headless Chromium, driven by its debugging protocol over two pipes.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long anything may take.
const BOUND: Duration = Duration::from_secs(120);

pub struct Browser {
    child: Child,
    to: File,
    from: File,
    read: Vec<u8>,
    next: u64,
    /// The page's session.
    session: Option<String>,
    /// What the console said that was not plain logging, and what failed to load.
    pub complaints: Vec<String>,
}

fn program() -> PathBuf {
    for name in ["chromium", "chromium-browser", "google-chrome"] {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {name}")])
            .output()
            .unwrap();
        if found.status.success() {
            return PathBuf::from(String::from_utf8(found.stdout).unwrap().trim());
        }
    }
    panic!("no Chromium is installed: scripts/install-chromium installs it");
}

impl Browser {
    pub fn start(dir: &Path) -> Self {
        let (input, output) = (dir.join("to-chromium"), dir.join("from-chromium"));
        for pipe in [&input, &output] {
            assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
        }
        // The shell opens the pipes as the descriptors that Chromium talks over.
        let child = Command::new("sh")
            .arg("-c")
            .arg("exec \"$0\" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync --remote-debugging-pipe --user-data-dir=\"$1\" about:blank 3<\"$2\" 4>\"$3\"")
            .arg(program())
            .arg(dir.join("chromium"))
            .arg(&input)
            .arg(&output)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // In the order in which the shell opens them: each waits for the other side.
        let to = File::options().write(true).open(&input).unwrap();
        let from = File::open(&output).unwrap();
        Self {
            child,
            to,
            from,
            read: Vec::new(),
            next: 0,
            session: None,
            complaints: Vec::new(),
        }
    }

    /// Opens a page of this size.
    pub fn open(&mut self, url: &str, width: u32, height: u32) {
        self.session = None;
        let target = self.call("Target.createTarget", json!({"url": "about:blank"}));
        let id = target["targetId"].as_str().unwrap().to_owned();
        let attached = self.call(
            "Target.attachToTarget",
            json!({"targetId": id, "flatten": true}),
        );
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1,
                          "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", size);
        self.call("Page.navigate", json!({"url": url}));
    }

    /// The value of an expression in the page.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true});
        self.call("Runtime.evaluate", asked)["result"]["value"].clone()
    }

    /// Waits until an expression in the page is true.
    pub fn until(&mut self, expression: &str) {
        let since = Instant::now();
        while self.evaluate(expression) != true {
            if since.elapsed() > BOUND {
                let text = self.evaluate("document.body.innerText");
                panic!("never true: {expression}\n{}", text.as_str().unwrap_or(""));
            }
            // Between two looks at the condition, which has its bound.
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A picture of the whole page, as PNG.
    pub fn screenshot(&mut self) -> Vec<u8> {
        let asked = json!({"format": "png", "captureBeyondViewport": true});
        let shot = self.call("Page.captureScreenshot", asked);
        decode(shot["data"].as_str().unwrap())
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to
            .write_all(format!("{message}\0").as_bytes())
            .unwrap();
        let since = Instant::now();
        loop {
            assert!(since.elapsed() < BOUND, "no answer to {method}");
            let message = self.message();
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.event(&message);
        }
    }

    fn event(&mut self, event: &Value) {
        let what = &event["params"];
        let complaint = match event["method"].as_str().unwrap_or("") {
            "Runtime.exceptionThrown" => true,
            "Runtime.consoleAPICalled" => what["type"] != "log",
            "Log.entryAdded" => what["entry"]["level"] != "info",
            "Network.loadingFailed" => what["canceled"] != true,
            _ => false,
        };
        if complaint {
            self.complaints.push(event.to_string());
        }
    }

    /// The next message; they end in a zero byte.
    fn message(&mut self) -> Value {
        let mut buffer = [0; 65536];
        loop {
            if let Some(end) = self.read.iter().position(|b| *b == 0) {
                let message: Vec<u8> = self.read.drain(..=end).collect();
                return serde_json::from_slice(&message[..end]).unwrap();
            }
            let count = self.from.read(&mut buffer).unwrap();
            assert!(count > 0, "Chromium has ended");
            self.read.extend_from_slice(&buffer[..count]);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Base64.
fn decode(text: &str) -> Vec<u8> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for six in text.bytes().filter_map(value) {
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xFF).unwrap());
        }
    }
    bytes
}
