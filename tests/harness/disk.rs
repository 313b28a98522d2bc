//! A small file system of its own, where the test may mount one.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::process::run;

/// A file system in memory, unmounted with this value.
#[derive(Debug)]
pub(crate) struct SmallDisk(PathBuf);

/// Whether this test may mount file systems that nobody else sees. Where it may not, it is run again in
/// a namespace where it may (`unshare -rm`), and has passed there; what forbids that is said.
pub(crate) fn is_in_namespace(test: &str) -> bool {
    const IS_WITHIN: &str = "GATEWAY_TEST_NAMESPACE";
    if std::env::var_os(IS_WITHIN).is_some() {
        return true;
    }
    let may = Command::new("unshare").args(["-rm", "true"]).stdin(Stdio::null()).output();
    match may {
        Ok(output) if output.status.success() => {
            let mut command = Command::new("unshare");
            command.arg("-rm").arg(std::env::current_exe().unwrap());
            command.args(["--exact", test, "--nocapture"]).env(IS_WITHIN, "1");
            let text = String::from_utf8(run(&mut command).stdout).unwrap();
            assert!(text.contains("1 passed"), "{text}");
        }
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            eprintln!("skipped: there are no user namespaces here: {}", why.trim());
        }
        Err(error) => eprintln!("skipped: cannot run unshare of util-linux: {error}"),
    }
    false
}

impl SmallDisk {
    /// Mounts one of so many MiB at `path`; where that is not allowed, says so.
    pub(crate) fn mount(path: PathBuf, mib: u64) -> Option<Self> {
        fs::create_dir_all(&path).unwrap();
        let size = format!("size={mib}m");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path);
        let output = command.stdin(Stdio::null()).output().unwrap();
        if output.status.success() {
            return Some(Self(path));
        }
        let why = String::from_utf8_lossy(&output.stderr);
        eprintln!("skipped: a file system cannot be mounted here: {}", why.trim());
        None
    }

    /// Fills it to the last byte with a file, whose path this is.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = File::options().create(true).append(true).open(&path).unwrap();
        let block = [1; 4096];
        while file.write_all(&block).is_ok() {}
        path
    }

    /// Bytes that are free.
    pub(crate) fn free(&self) -> u64 {
        free(&self.0)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever still has a file open there keeps it until it closes that.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn free(path: &Path) -> u64 {
    let output = Command::new("stat").args(["-f", "-c", "%a %S"]).arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().map(|number| number.parse::<u64>().unwrap()).product()
}
