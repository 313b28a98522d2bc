//! Rules of brokers: who says the password, who connects under which name, and how far behind one
//! may be.

use std::collections::BTreeMap;

use super::super::tree::KeyPath;
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
        let (max_lag, window) = (path.key("max_lag"), path.key("window"));
        let is_short = broker.max_lag.is_some_and(|most| most < u64::from(broker.window));
        if is_short && checks.sound([&max_lag, &window]) {
            let mut problem = checks
                .at(&max_lag, "`max_lag` is less than `window`")
                .expected(format!("expected {} or more", broker.window))
                .help("readings that are under way would be dropped; raise it, or lower `window`");
            if checks.whole.get(&window).is_some() {
                problem = problem.note(format!("`window` is set in {}", checks.origin(&window)));
            }
            checks.findings.add(problem);
        }
        let client_id = path.key("client_id");
        if !checks.sound([&path.key("url"), &client_id, &KeyPath::of(["gateway", "id"])]) {
            continue;
        }
        let session = (&broker.url, broker.client_id_for(&config.gateway.id));
        if let Some(other) = sessions.get(&session) {
            let (url, client) = session;
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
            sessions.insert(session, path);
        }
    }
}
