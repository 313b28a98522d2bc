//! Chromium, which evaluates expressions in a page.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::Value;

use super::process::{any_program, program};
use super::temp::TempDir;

/// A page that is open; the browser ends with this value.
#[derive(Debug)]
pub(crate) struct Browser {
    driver: Child,
    /// `None` after the end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    _profile: TempDir,
}

impl Browser {
    /// Opens a page, and does not wait until it is there.
    pub(crate) fn open(address: &str) -> Self {
        let profile = TempDir::new();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/harness/browser.py");
        let chromium = program("chromium", "chromium");
        let mut driver = any_program(&["python3"], "python3")
            .arg(script)
            .arg(chromium.get_program())
            .arg(profile.path())
            .arg(address)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(driver.stdout.take().unwrap());
        Self { input: driver.stdin.take(), output, driver, _profile: profile }
    }

    /// What an expression gives; null for what JSON cannot say, and while there is no page.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let input = self.input.as_mut().expect("it runs");
        writeln!(input, "{}", expression.replace('\n', " ")).unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Exceptions that nobody has caught.
    pub(crate) fn errors(&mut self) -> Vec<String> {
        serde_json::from_value(self.eval("errors")).unwrap()
    }

    /// What the browser says of the page, such as what it refused to load.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        serde_json::from_value(self.eval("complaints")).unwrap()
    }

    /// The addresses that the page asked for, its own first.
    pub(crate) fn requests(&mut self) -> Vec<String> {
        serde_json::from_value(self.eval("requests")).unwrap()
    }

    /// Calls a method of the DevTools protocol.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Value {
        self.eval(&format!("!{method} {params}"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The end of its input ends the driver, and that the browser.
        drop(self.input.take());
        let _ = self.driver.wait();
    }
}
