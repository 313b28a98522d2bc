//! Files of TLS that cannot be used: told when the configuration is loaded.

use std::fs;
use std::path::Path;

use crate::authority::{Authority, Pair};
use crate::config;
use crate::harness::gateway::Gateway;
use crate::harness::mosquitto::table_of;
use crate::harness::process::run;
use crate::harness::temp::TempDir;

/// What `gateway check` says about a broker with these keys.
fn complaint(keys: &str) -> String {
    let gateway = Gateway::new(&config(&(table_of("b", "\"mqtts://h\"") + keys)));
    let output = gateway.command("check").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{text}");
    text
}

fn own(cert: &Path, key: &Path) -> String {
    Pair { cert: cert.to_owned(), key: key.to_owned() }.keys()
}

#[test]
fn what_is_wrong_with_a_file_is_told_at_the_key_that_names_it() {
    let authority = Authority::new();
    let (one, other) = (authority.issue("DNS:a"), authority.issue("DNS:b"));
    let der = authority.cert().with_file_name("ca.der");
    run(&mut authority.openssl(&["x509", "-in", "ca.pem", "-outform", "der", "-out", "ca.der"]));
    let encrypted = authority.cert().with_file_name("encrypted.key");
    let plain = one.key.display().to_string();
    let encrypt = ["pkcs8", "-topk8", "-in", &plain, "-passout", "pass:x", "-out", "encrypted.key"];
    run(&mut authority.openssl(&encrypt));
    let dir = TempDir::new();
    let file = |name: &str, text: &str| {
        fs::write(dir.join(name), text).unwrap();
        dir.join(name)
    };
    let broken = file("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    let no_ca = file("no-ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let large = file("large.pem", &"x".repeat(2 << 20));
    let missing = dir.join("missing.pem");

    let ca = |path: &Path| format!("tls.ca_file = \"{}\"\n", path.display());
    for (keys, key, expected) in [
        (ca(&missing), "tls.ca_file", "cannot read"),
        (ca(dir.path()), "tls.ca_file", "is a directory"),
        (ca(&one.key), "tls.ca_file", "there is no certificate in"),
        (ca(&der), "tls.ca_file", "openssl x509 -inform der -in"),
        (ca(&broken), "tls.ca_file", "is broken PEM"),
        (ca(&no_ca), "tls.ca_file", "cannot be that of a CA"),
        (ca(&large), "tls.ca_file", "is larger than 1 MiB"),
        (own(&one.key, &one.key), "tls.cert_file", "there is no certificate in"),
        (own(&one.cert, &one.cert), "tls.key_file", "there is no private key in"),
        (own(&one.cert, &encrypted), "tls.key_file", "is encrypted"),
        (own(&one.cert, &other.key), "tls.key_file", "is not that of the certificate"),
    ] {
        let text = complaint(&keys);
        assert!(text.contains(expected), "{expected}: {text}");
        assert!(text.contains("gateway.toml:") && text.contains(key), "{key}: {text}");
        assert!(text.contains("1 problem in the configuration"), "{text}");
        assert!(!text.contains("PRIVATE KEY-----\n"), "{text}");
    }
}

#[test]
fn a_relative_path_is_looked_for_among_the_credentials_then_beside_the_file() {
    let authority = Authority::new();
    let broker = table_of("b", "\"mqtts://h\"") + "tls.ca_file = \"ca.pem\"\n";
    let gateway = Gateway::new(&config(&broker));
    let check = |credentials: &Path| {
        let mut command = gateway.command("check");
        command.env("CREDENTIALS_DIRECTORY", credentials).output().unwrap()
    };
    let empty = TempDir::new();
    let text = String::from_utf8(check(empty.path()).stderr).unwrap();
    assert!(text.contains("a relative path is looked for in $CREDENTIALS_DIRECTORY ("), "{text}");
    assert!(check(authority.cert().parent().unwrap()).status.success());
    fs::copy(authority.cert(), gateway.dir().join("ca.pem")).unwrap();
    assert!(check(empty.path()).status.success());
}
