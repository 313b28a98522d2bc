//! Rules of brokers: who says the password, what TLS needs, who connects under which name, and how far
//! behind one may be.

use std::collections::BTreeMap;

use super::super::model::Broker;
use super::super::tree::KeyPath;
use super::super::values::ServerName;
use super::Checks;

pub(super) fn check(checks: &mut Checks<'_>) {
    let config = checks.config;
    let mut sessions: BTreeMap<_, KeyPath> = BTreeMap::new();
    for (id, broker) in &config.brokers {
        let path = KeyPath::of(["brokers", id.as_str()]);
        let (password, file) = (path.key("password"), path.key("password_file"));
        if broker.password.is_some() && broker.password_file.is_some() {
            let problem = checks
                .at(&file, "`password` and `password_file` are both there")
                .expected("expected one of them")
                .note(format!("`password` is set in {}", checks.origin(&password)))
                .help("keep `password_file`: a file can have its own permissions");
            checks.findings.fail(file.clone(), problem);
        }
        for (key, is_there) in
            [(&password, broker.password.is_some()), (&file, broker.password_file.is_some())]
        {
            let lacks_user = broker.username.is_none() && checks.findings.is_complete();
            if is_there && lacks_user && checks.sound([&path.key("username")]) {
                let problem = checks
                    .at_key(key, format!("a password without `username` in `{path}`"))
                    .expected("expected `username` beside it")
                    .note("MQTT 3.1.1 has no password without a user name (§3.1.2.9)");
                checks.findings.add(problem);
            }
        }
        check_tls(checks, broker, &path);
        check_max_lag(checks, broker, &path);
        let client_id = path.key("client_id");
        if !checks.sound([&path.key("url"), &client_id, &KeyPath::of(["gateway", "id"])]) {
            continue;
        }
        let client = broker.client_id_for(&config.gateway.id);
        let taken =
            broker.url.iter().find_map(|url| sessions.get_key_value(&(url, client.clone())));
        if let Some(((url, _), other)) = taken {
            let written = checks.whole.get(&client_id).is_some();
            let at = if written { client_id } else { path.clone() };
            let problem = checks
                .at(&at, format!("two brokers are {url} with the client identifier `{client}`"))
                .expected(
                    "expected a `client_id` of its own: a session ends when its name is taken",
                )
                .note(format!("the other one is {other} ({})", checks.origin(other)));
            checks.findings.add(problem);
        } else {
            sessions.extend(broker.url.iter().map(|url| ((url, client.clone()), path.clone())));
        }
    }
}

/// What is under way must not be dropped.
fn check_max_lag(checks: &mut Checks<'_>, broker: &Broker, path: &KeyPath) {
    let (max_lag, window) = (path.key("max_lag"), path.key("window"));
    let is_short = broker.max_lag.is_some_and(|most| most < u64::from(broker.window));
    if !is_short || !checks.sound([&max_lag, &window]) {
        return;
    }
    let mut problem = checks
        .at(&max_lag, "`max_lag` is less than `window`")
        .expected(format!("expected {} or more", broker.window))
        .help("readings that are under way would be dropped; raise it, or lower `window`");
    if checks.whole.get(&window).is_some() {
        problem = problem.note(format!("`window` is set in {}", checks.origin(&window)));
    }
    checks.findings.add(problem);
}

/// TLS where it is used and nowhere else, a name that a certificate can have, and a key with its
/// certificate.
fn check_tls(checks: &mut Checks<'_>, broker: &Broker, path: &KeyPath) {
    let (url, tls) = (path.key("url"), path.key("tls"));
    let settings = broker.tls.clone().unwrap_or_default();
    if broker.url.is_secure() {
        let nameless =
            broker.url.iter().find(|url| url.host().parse::<ServerName>().is_err()).filter(|_| {
                settings.server_name.is_none() && checks.sound([&url, &tls.key("server_name")])
            });
        if let Some(nameless) = nameless {
            let problem = checks
                .at(&url, format!("no certificate can be made for the host `{}`", nameless.host()))
                .expected("expected a DNS name or an IP address")
                .help("if the certificate has another name, it is the `tls.server_name`");
            checks.findings.fail(url.clone(), problem);
        }
    } else if broker.tls.is_some() && checks.sound([&url]) {
        let problem = checks
            .at_key(&tls, format!("`tls` in `{path}`, whose address is not one of TLS"))
            .expected("expected `mqtts://` or `wss://` in `url`, or no `tls`")
            .note(format!("`url` is set in {}", checks.origin(&url)));
        checks.findings.add(problem);
    }
    let (there, lacking) = match (&settings.cert_file, &settings.key_file) {
        (Some(_), None) => ("cert_file", "key_file"),
        (None, Some(_)) => ("key_file", "cert_file"),
        (Some(_), Some(_)) | (None, None) => return,
    };
    if checks.sound([&tls.key(lacking)]) && checks.findings.is_complete() {
        let problem = checks
            .at_key(&tls.key(there), format!("`{there}` without `{lacking}` in `{tls}`"))
            .expected(format!("expected `{lacking}` beside it"));
        checks.findings.add(problem);
    }
}
