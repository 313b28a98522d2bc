//! The configuration of the demo's gateway, as an operator would write it.

use std::fmt::Write as _;
use std::fs;

use super::DemoError;
use super::fleet::{BAUD, METER_COLUMNS, Ports, serial_device};
use super::folder::Folder;
use crate::config::{LoadOptions, Loaded, load};

/// First level of every topic.
pub(super) const TOPIC: &str = "demo";
/// The keys of the nodes, in the folder.
const KEYS: &str = "keys";

/// Writes the file into the folder and reads it as any other.
pub(super) fn load_settings(
    folder: &Folder,
    broker: &str,
    keys: &str,
    ports: &Ports,
) -> Result<Loaded, DemoError> {
    let file = folder.path().join("gateway.toml");
    let written = fs::write(folder.path().join(KEYS), keys)
        .and_then(|()| fs::write(&file, text(folder, broker, ports)));
    written.map_err(|error| DemoError::Folder(folder.path().display().to_string(), error))?;
    let options = LoadOptions { files: vec![file], to_run: true, ..LoadOptions::default() };
    load(&options).map_err(|report| DemoError::Config(report.render(false)))
}

fn text(folder: &Folder, broker: &str, ports: &Ports) -> String {
    let keys = quoted(&folder.path().join(KEYS));
    let state_dir = quoted(&folder.path().join("state"));
    let mut text = format!(
        r#"[gateway]
id = "demo"
state_dir = {state_dir}

[sources.coap]
link = {{ type = "coap", bind = ["127.0.0.1:0"], tcp = ["127.0.0.1:0"] }}

[sources.udp]
link = {{ type = "udp", bind = "127.0.0.1:0" }}
decode = {{ type = "keyvalue", device = "id", time = "at", time_unit = "ms", epoch = "boot", seq = "n" }}

[sources.tcp]
link = {{ type = "tcp", bind = "127.0.0.1:0", reply = true }}
decode = {{ type = "json", device = "device", time = "at", time_unit = "ms", epoch = "epoch", seq = "seq" }}

[sources.link-tcp]
link = {{ type = "tcp", bind = "127.0.0.1:0" }}
decode = {{ type = "link", keys_file = {keys} }}

[sources.link-udp]
link = {{ type = "udp", bind = "127.0.0.1:0" }}
decode = {{ type = "link", keys_file = {keys} }}

[brokers.recorder]
url = "{broker}"

[routes.all]
topic = "{TOPIC}/{{device}}/{{name}}"
payload = "json"
"#
    );
    for (number, port) in (1..).zip(&ports.lines) {
        let (device, path) = (serial_device(number), quoted(port.path()));
        let columns = METER_COLUMNS.map(|column| format!("{column:?}")).join(", ");
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            r#"
[sources.serial-{number}]
device = "{device}"
link = {{ type = "serial", path = {path}, baud = {BAUD}, open_delay = "0s" }}
decode = {{ type = "csv", separator = ";", columns = ["at", "boot", "n", {columns}], time = "at", time_unit = "ms", epoch = "boot", seq = "n" }}
"#
        );
    }
    for (number, port) in (1..).zip(&ports.links) {
        let path = quoted(port.path());
        let _ = write!(
            text,
            r#"
[sources.link-serial-{number}]
link = {{ type = "serial", path = {path}, baud = {BAUD}, open_delay = "0s" }}
decode = {{ type = "link", keys_file = {keys} }}
"#
        );
    }
    text
}

/// A path as TOML's text.
fn quoted(path: &std::path::Path) -> String {
    toml::Value::from(path.to_string_lossy().into_owned()).to_string()
}
