//! Where the figures come from.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::Serialize;

use super::Outcome;

/// What a reader has to know about the machine.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cores: usize,
    processor: String,
    kernel: String,
    /// Under the stores.
    file_system: String,
    /// As the kernel sees it: a virtual disk often says that it rotates.
    disk: String,
}

impl Machine {
    /// Looks at the machine and at the disk under `dir`, which it creates.
    pub(crate) fn look(dir: &Path) -> Outcome<Self> {
        fs::create_dir_all(dir)?;
        let dir = dir.canonicalize()?;
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let (device, file_system) = mounts
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                Some((words.next()?, words.next()?, words.next()?))
            })
            .filter(|(_, point, _)| dir.starts_with(point))
            .max_by_key(|(_, point, _)| point.len())
            .map(|(device, _, kind)| (device, kind))
            .ok_or("no file system is mounted there")?;
        if file_system == "tmpfs" || file_system == "ramfs" {
            return Err("the folder for the stores is in memory; choose another with --dir".into());
        }
        let processor = fs::read_to_string("/proc/cpuinfo")?
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown", |(_, name)| name)
            .to_owned();
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            processor,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            file_system: file_system.to_owned(),
            disk: disk(device),
        })
    }
}

/// The kind of a block device.
fn disk(device: &str) -> String {
    let name = device.trim_start_matches("/dev/");
    let kind = match name {
        _ if name.starts_with("nvme") => "NVMe",
        _ if name.starts_with("vd") => "virtio",
        _ if name.starts_with("mmcblk") => "SD or eMMC",
        _ if name.starts_with("sd") => "SCSI or SATA",
        _ => "another",
    };
    match fs::read_to_string(format!("/sys/class/block/{name}/queue/rotational")) {
        Ok(text) => format!("{kind}, rotational {}", text.trim()),
        Err(_) => kind.to_owned(),
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, processor, kernel, file_system, disk } = self;
        writeln!(
            f,
            "{cores} cores ({processor}), Linux {kernel}; stores on {file_system} ({disk})."
        )
    }
}
