//! Other programs.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use super::clock::wait_for;

/// A command of a program; fails with the name of its Debian package where it is missing.
pub(crate) fn program(name: &str, package: &str) -> Command {
    match find(name) {
        Some(path) => Command::new(path),
        None => panic!("`{name}` is missing, apt-get install {package}"),
    }
}

/// The first of several names under which a program is known.
pub(crate) fn any_program(names: &[&str], package: &str) -> Command {
    let name = names.iter().find(|name| find(name).is_some()).unwrap_or(&names[0]);
    program(name, package)
}

/// A script of `tests/spine` that uses a package which `tests/setup` installs, to be given its
/// arguments.
pub(crate) fn script_with(package: &str, script: &str) -> Command {
    let tests = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests"));
    let python = tests.join(".venv/bin/python");
    let import = format!("import {package}");
    let has_it = Command::new(&python).args(["-c", &import]).output();
    let has_it = has_it.is_ok_and(|output| output.status.success());
    assert!(has_it, "{} has no {package}; run tests/setup", python.display());
    let mut command = Command::new(&python);
    command.arg(tests.join("spine").join(script));
    command
}

/// pymodbus with these units, once they can be asked.
pub(crate) fn pymodbus(arguments: &[&str]) -> Running {
    let lines = Lines::default();
    let mut command = script_with("pymodbus", "modbus_slave.py");
    let mut slave = Running::start_reading(command.args(arguments), &lines);
    wait_for("pymodbus to be ready", || {
        assert!(slave.is_running(), "pymodbus has ended: {}", lines.text());
        lines.text().contains("ready").then_some(())
    });
    slave
}

fn find(name: &str) -> Option<PathBuf> {
    // Debian keeps daemons where a user's PATH does not look.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    path.split(':').map(|folder| Path::new(folder).join(name)).find(|file| file.is_file())
}

/// What a program writes, line by line as it comes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// Reads to the end in the background.
    pub(crate) fn read(&self, from: impl Read + Send + 'static) {
        let lines = Arc::clone(&self.0);
        thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                lines.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
            }
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// The lines from the one at `start` on.
    pub(crate) fn since(&self, start: usize) -> Vec<String> {
        self.0.lock().unwrap().get(start..).unwrap_or_default().to_vec()
    }

    pub(crate) fn text(&self) -> String {
        self.since(0).join("\n")
    }
}

/// A program that runs in the background, killed with this value.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    name: String,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { child, name }
    }

    /// The same, and what it writes on both outputs.
    pub(crate) fn start_reading(command: &mut Command, lines: &Lines) -> Self {
        let mut running = Self::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        lines.read(running.child.stdout.take().unwrap());
        lines.read(running.child.stderr.take().unwrap());
        running
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM; see [`wait`](Self::wait).
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by its name without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait_for(&what, || self.child.try_wait().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program to its end, and says what it wrote where it failed.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {stderr}", output.status);
    output
}
