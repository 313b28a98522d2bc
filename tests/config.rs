//! The configuration from outside: the built binary with good and bad files, variables and
//! arguments.
//!
//! `tests/config/bad/*.toml` are configurations with mistakes, each with the messages that they must
//! give beside it. `UPDATE=1 cargo test -p gateway --test config` writes them, and the manual, anew:
//! read the difference before it is committed.

#[path = "config/explain.rs"]
mod explain;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use proptest::prelude::*;
use serde_json::Value;

/// The folder of the workspace: files are named relative to it, so that messages are the same
/// everywhere.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The gateway with nothing in its environment.
fn gateway(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.env_clear().current_dir(root()).args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    gateway(arguments).output().expect("the gateway starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// The files of a folder with this extension, in order, relative to the root.
fn files(folder: &str, extension: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).expect("a folder");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| format!("{folder}/{}", path.file_name().expect("a name").display()))
        .collect();
    files.sort();
    files
}

/// Every example: a file of its own, or a folder whose files are layers in the order of their names.
fn examples() -> Vec<Vec<String>> {
    let mut examples: Vec<_> =
        files("configs", "toml").into_iter().map(|file| vec![file]).collect();
    for entry in fs::read_dir(root().join("configs")).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            let name = path.file_name().expect("a name").display().to_string();
            examples.push(files(&format!("configs/{name}"), "toml"));
        }
    }
    examples
}

/// `-c FILE` for each file.
fn with_files(command: &[&str], files: &[String]) -> Vec<String> {
    let named = files.iter().flat_map(|file| ["-c".to_owned(), file.clone()]);
    command.iter().map(|part| (*part).to_owned()).chain(named).collect()
}

fn run_with(command: &[&str], files: &[String]) -> Output {
    let arguments = with_files(command, files);
    run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Compares `actual` with the file at `path`, or writes it where `UPDATE` is set.
fn compare(path: &Path, actual: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, actual).expect("the snapshot can be written");
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    let hint = "UPDATE=1 cargo test -p gateway --test config writes it anew";
    assert!(
        expected == actual,
        "{} is stale; {hint}\n--- expected\n{expected}\n--- actual\n{actual}",
        path.display()
    );
}

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gateway-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).expect("a file");
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is in the system's folder for such files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn every_example_passes_the_check() {
    let examples = examples();
    assert!(examples.len() >= 7, "{examples:?}");
    for files in examples {
        let output = run_with(&["check"], &files);
        assert_eq!(output.status.code(), Some(0), "{files:?}: {}", stderr(&output));
        assert!(stdout(&output).starts_with("ok: "), "{files:?}");
    }
}

#[test]
fn check_counts_the_parts() {
    let output = run(&["check", "-c", "configs/quickstart.toml"]);
    assert_eq!(stdout(&output), "ok: 2 sources, 1 broker, 1 route\n");
    let output = run(&["check", "--json", "-c", "configs/quickstart.toml"]);
    let result: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(result["ok"], true);
    assert_eq!(result["sources"], 2);
}

#[test]
fn each_bad_configuration_gets_its_messages() {
    let files = files("tests/config/bad", "toml");
    assert!(files.len() >= 10);
    for file in files {
        let output = run(&["check", "-c", &file]);
        assert_eq!(output.status.code(), Some(78), "{file}");
        assert_eq!(stdout(&output), "", "{file}");
        compare(&root().join(file).with_extension("stderr"), &stderr(&output));
    }
}

#[test]
fn what_overrides_a_good_value_is_named_with_it() {
    let layers = ["-c", "configs/quickstart.toml", "-c", "tests/config/layers/override.toml"];
    let output = gateway(&["check"])
        .args(layers)
        .args(["--set", "brokers.local.window=0", "--set", "routes.all.qos=high"])
        .env("GATEWAY_SOURCES__BENCH__LINK__BAUD", "fast")
        .env("GATEWAY_BROKERS_LOCAL_URL", "mqtt://elsewhere")
        .env("GATEWAY_BROKER__LOCAL__URL", "mqtt://elsewhere")
        .output()
        .expect("the gateway starts");
    assert_eq!(output.status.code(), Some(78));
    compare(&root().join("tests/config/layers/override.stderr"), &stderr(&output));
}

#[test]
fn later_layers_override_single_keys_and_origins_are_shown() {
    let layers = ["-c", "configs/cloud/common.toml", "-c", "configs/cloud/site.toml"];
    let output = gateway(&["config", "show", "--origin"])
        .args(layers)
        .args(["--set", "store.quota=2GiB"])
        .env("GATEWAY_BROKERS__CLOUD__WINDOW", "50")
        .env("GATEWAY_ROUTES__CLOUD__TO", "cloud,wall")
        .env("STATE_DIRECTORY", "/var/lib/gateway")
        .output()
        .expect("the gateway starts");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    compare(&root().join("tests/config/layers/show.stdout"), &stdout(&output));
}

#[test]
fn what_is_shown_reads_back_as_the_same() {
    let folder = Folder::new("roundtrip");
    for files in examples().into_iter().filter(|files| files.len() == 1) {
        let shown = stdout(&run_with(&["config", "show"], &files));
        let copy = folder.file("copy.toml", &shown);
        let again = stdout(&run(&["config", "show", "-c", &copy]));
        assert_eq!(shown, again, "{files:?}");
    }
}

#[test]
fn a_variable_is_read_as_its_key_and_not_as_it_looks() {
    let show = |name: &str, value: &str| {
        let output = gateway(&["config", "show", "--json"])
            .args(["-c", "configs/quickstart.toml"])
            .env(name, value)
            .output()
            .expect("the gateway starts");
        serde_json::from_str::<Value>(&stdout(&output)).expect("JSON")
    };
    let shown = show("GATEWAY_BROKERS__LOCAL__USERNAME", "00123");
    assert_eq!(shown["brokers"]["local"]["username"], "00123");
    let shown = show("GATEWAY_BROKERS__LOCAL__USERNAME", "true");
    assert_eq!(shown["brokers"]["local"]["username"], "true");
    let shown = show("GATEWAY_ROUTES__ALL__RETAIN", "true");
    assert_eq!(shown["routes"]["all"]["retain"], true);
    let shown = show("GATEWAY_STORE__QUOTA", "1073741824");
    assert_eq!(shown["store"]["quota"], "1GiB");
}

#[test]
fn variables_of_others_are_left_alone() {
    let output = gateway(&["check", "-c", "configs/quickstart.toml"])
        .env("GATEWAY_PORT", "tcp://10.0.0.1:1883")
        .env("GATEWAY_SERVICE_HOST", "10.0.0.1")
        .output()
        .expect("the gateway starts");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_variable_that_is_no_text_is_told() {
    let output = gateway(&["check", "-c", "configs/quickstart.toml"])
        .env("GATEWAY_GATEWAY__ID", std::ffi::OsString::from_vec(vec![0xff]))
        .output()
        .expect("the gateway starts");
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("not UTF-8 text\n--> env GATEWAY_GATEWAY__ID"));
}

#[test]
fn a_password_file_is_found_beside_the_file_or_among_the_credentials() {
    let folder = Folder::new("credentials");
    let config = folder.file(
        "gateway.toml",
        "[sources.a]\nlink = { type = \"coap\" }\n[routes.all]\n[brokers.b]\n\
         url = \"mqtt://h\"\nusername = \"u\"\npassword_file = \"pw\"\n",
    );
    let check = |credentials: Option<&Path>| {
        let mut command = gateway(&["check", "-c", &config]);
        if let Some(credentials) = credentials {
            command.env("CREDENTIALS_DIRECTORY", credentials);
        }
        command.output().expect("the gateway starts").status.code()
    };
    assert_eq!(check(None), Some(78));
    let credentials = Folder::new("credentials-directory");
    credentials.file("pw", "hunter2\n");
    assert_eq!(check(Some(&credentials.0)), Some(0));
    folder.file("pw", "hunter2");
    assert_eq!(check(None), Some(0));
    folder.file("pw", "\n");
    assert_eq!(check(None), Some(78));
    folder.file("pw", [0xff]);
    assert_eq!(check(None), Some(78));
}

/// The same secret in every place where one can stand, also in files that cannot be read: no
/// command shows it.
#[test]
fn a_secret_is_in_no_output() {
    const SECRET: &str = "hunter2-7f3a";
    let folder = Folder::new("secrets");
    folder.file("pw", SECRET);
    let good = "[sources.a]\nlink = { type = \"coap\" }\n[routes.all]\n[brokers.b]\n";
    let brokers = [
        "url = \"mqtt://h\"\nusername = \"u\"\npassword = \"SECRET\"",
        "url = \"mqtt://h\"\nusername = \"u\"\npassword_file = \"pw\"",
        "url = \"mqtt://h\"\nusername = \"u\"\npassword = \"SECRET\"\nwindow = 0",
        "url = \"mqtt://u:SECRET@h\"",
        "url = \"mqtt://h\"\npassword = \"SECRET",
        "url = \"mqtt://h\"\npassword = \"SECRET\" x",
        "url = \"mqtt://h\"\npassword = SECRET",
        "url = \"mqtt://h\"\npassword = \"\"\"\nSECRET\n",
        "url = \"mqtt://h\"\npassword = [\"SECRET\"]",
        "url = \"mqtt://h\"\npassword = { a = \"SECRET\" }",
        "url = \"mqtt://h\"\npassword =\n\"SECRET\"",
        "url = \"mqtt://h\"\npassword = \"x\"\npasswrd = \"\"\"\nSECRET",
        "url = \"mqtt://h\"\npasswd = \"SECRET\"",
        "url = \"mqtt://h\"\npassword = \"x\"\npassword = \"SECRET\"",
        "url = \"mqtt://h\"\nauth = { user = \"u\", password = \"SECRET\", url = 5 }",
        "url = \"mqtt://h\"\npwsd = \"SECRET\"",
        "pwsd = \"SECRET\"\nwindow = 0",
        "url = \"mqtt://h\"\n[brokers]\nc = { pwsd = \"SECRET\", window = 0 }",
        "password = \"SECRET\"",
        "url = \"mqtt://h\"\n[sources.w]\nlink = { type = \"http\", bind = \"h:1\", token = \"SECRET\" }",
        "url = \"mqtt://h\"\n[sources.w]\nlink = { type = \"http\", bind = \"[::]:1\", token = \"SECRET\" }",
        "url = \"mqtt://h\"\n[sources.w]\nlink = { type = \"http\", bind = \"[::]:1\", token = \"SECRET x\" }",
        "url = \"mqtt://h\"\n[sources.w]\nlink = { type = \"http\", bind = \"[::]:1\", token_file = \"pw\" }",
    ];
    let commands: [&[&str]; 5] = [
        &["check"],
        &["check", "--json"],
        &["config", "show"],
        &["config", "show", "--origin"],
        &["config", "show", "--json", "--origin"],
    ];
    for broker in brokers {
        let text = format!("{good}{}\n", broker.replace("SECRET", SECRET));
        let file = folder.file("gateway.toml", text);
        for command in commands {
            let output = run_with(command, std::slice::from_ref(&file));
            let all = stdout(&output) + &stderr(&output);
            assert!(!all.is_empty() && !all.contains(SECRET), "{command:?}\n{broker}\n{all}");
        }
    }
    let file = folder.file("gateway.toml", format!("{good}url = \"mqtt://h\"\n"));
    let settings = ["password", "passwrd", "url", "window.password", "password.x"];
    for (setting, command) in settings.iter().flat_map(|s| commands.map(|command| (s, command))) {
        let value = format!("mqtt://u:{SECRET}@h");
        let output = gateway(command)
            .args(["-c", &file, "--set", &format!("brokers.b.{setting}={value}")])
            .env("GATEWAY_BROKERS__B__PASSWORD", SECRET)
            .env("GATEWAY_BROKERS__B__PASSWRD", SECRET)
            .output()
            .expect("the gateway starts");
        let all = stdout(&output) + &stderr(&output);
        assert!(!all.is_empty() && !all.contains(SECRET), "{command:?} {setting}\n{all}");
    }
}

#[test]
fn problems_are_machine_readable() {
    let output = run(&["check", "--json", "-c", "tests/config/bad/values.toml"]);
    assert_eq!(output.status.code(), Some(78));
    let result: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(result["ok"], false);
    let first = &result["problems"][0];
    assert_eq!(first["origin"], "tests/config/bad/values.toml");
    assert!(first["line"].is_u64() && first["column"].is_u64() && first["expected"].is_string());
}

#[test]
fn usage_errors_exit_with_2_and_help_names_the_exit_codes() {
    for arguments in [&["chek"][..], &["check", "--set", "x"], &["check", "--set", "a..b=1"], &[]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
    }
    let help = stdout(&run(&["--help"]));
    assert!(help.contains("78 bad configuration"), "{help}");
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let mut child = gateway(&["config", "docs"]).stdout(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn messages_have_no_colour_off_a_terminal() {
    let output = run(&["check", "-c", "tests/config/bad/values.toml"]);
    assert!(!output.stderr.contains(&0x1b));
}

#[test]
fn the_manual_is_up_to_date() {
    let output = run(&["config", "docs"]);
    compare(&root().join("docs/configuration.md"), &stdout(&output));
}

/// All examples of the manual together are one configuration.
#[test]
fn the_examples_of_the_manual_pass_the_check() {
    let manual = stdout(&run(&["config", "docs"]));
    let examples: Vec<_> =
        manual.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() > 15);
    let folder = Folder::new("manual");
    folder.file("cloud-password", "x");
    folder.file("ca.pem", fs::read(root().join("configs/cloud/ca.pem")).expect("a certificate"));
    let file = folder.file("gateway.toml", examples.join("\n"));
    let output = run(&["check", "-c", &file]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

/// Structural, without a validator: every key that an example uses is a property, no schema is open.
#[test]
fn the_schema_knows_every_key_of_the_examples() {
    let schema: Value = serde_json::from_str(&stdout(&run(&["config", "schema"]))).expect("JSON");
    assert!(schema["$schema"].as_str().is_some_and(|uri| uri.contains("draft-07")));
    for file in examples().concat() {
        let text = fs::read_to_string(root().join(&file)).expect("an example");
        let value: toml::Value = toml::from_str(&text).expect("TOML");
        covers(&schema, &value, &file);
    }
}

fn covers(schema: &Value, value: &toml::Value, at: &str) {
    let toml::Value::Table(table) = value else { return };
    let variants = schema["oneOf"].as_array();
    let tag = table.get("type").and_then(toml::Value::as_str);
    let schema = variants
        .and_then(|variants| {
            variants.iter().find(|variant| {
                let found = variant.pointer("/properties/type/const");
                found.and_then(Value::as_str) == tag
            })
        })
        .unwrap_or(schema);
    assert_eq!(schema["additionalProperties"], false, "{at}");
    for (key, value) in table {
        let at = format!("{at}.{key}");
        let named = schema["patternProperties"].as_object().and_then(|named| named.values().next());
        let inner = schema["properties"].get(key).or(named);
        covers(inner.unwrap_or_else(|| panic!("{at} is not in the schema")), value, &at);
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        let key = required.as_str().expect("a key");
        let layered = at.contains("/cloud/site.toml");
        assert!(layered || table.contains_key(key), "{at} lacks {key}");
    }
}

/// What can happen to a good file: bytes replaced, removed, doubled, and parts of other files.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let seeds: Vec<Vec<u8>> = examples()
        .concat()
        .into_iter()
        .chain(files("tests/config/bad", "toml"))
        .map(|file| fs::read(root().join(file)).expect("a file"))
        .collect();
    let edit = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
    (prop::sample::select(seeds), prop::collection::vec(edit, 1..8)).prop_map(|(seed, edits)| {
        edits.into_iter().fold(seed, |mut text, (from, to, byte, what)| {
            if text.is_empty() {
                return vec![byte];
            }
            let (a, b) = (from.index(text.len()), to.index(text.len()));
            let (start, end) = (a.min(b), a.max(b));
            let part: Vec<u8> =
                text.iter().copied().skip(start).take((end - start).min(64)).collect();
            let sign = b"\"'[]{}=.#\n".iter().cycle().nth(usize::from(byte)).copied();
            drop(match what {
                0 => text.splice(start..=start, [byte]).collect::<Vec<_>>(),
                1 => text.splice(start..start + part.len(), []).collect(),
                2 => text.splice(end..end, part).collect(),
                _ => text.splice(start..start, sign).collect(),
            });
            text
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// No file makes the gateway panic (101) or die: it is good (0) or told to be bad (78).
    #[test]
    fn no_file_makes_it_panic(text in mutated()) {
        let folder = Folder::new("mutated");
        let file = folder.file("gateway.toml", &text);
        let output = run(&["check", "-c", &file]);
        prop_assert!(
            matches!(output.status.code(), Some(0 | 78)),
            "{}\n{}", String::from_utf8_lossy(&text), stderr(&output)
        );
    }
}

/// A test that compares needs every pair: a snapshot without its configuration is left over.
#[test]
fn no_snapshot_is_left_over() {
    let bad = files("tests/config/bad", "toml");
    let told: BTreeMap<_, _> = files("tests/config/bad", "stderr")
        .into_iter()
        .map(|file| (file.replace(".stderr", ".toml"), ()))
        .collect();
    assert_eq!(bad, told.into_keys().collect::<Vec<_>>());
}

/// The README shows an example file; what it shows must be that file.
#[test]
fn the_readme_shows_the_quickstart_as_it_is() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let quickstart =
        fs::read_to_string(root().join("configs/quickstart.toml")).expect("quickstart");
    let shown = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let without_comments = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        lines.map(str::to_owned).collect()
    };
    assert_eq!(without_comments(shown.expect("a TOML block")), without_comments(&quickstart));
}
