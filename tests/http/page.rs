//! The page, in a real browser.

use serde_json::{Value, json};

use crate::harness::browser::Browser;
use crate::harness::clock::wait_until;
use crate::harness::http::ask;
use crate::start;

/// The rows of a table, cell by cell.
fn rows(browser: &mut Browser, table: &str) -> Value {
    browser.eval(&format!(
        "[...document.querySelectorAll('#{table} tbody tr:not([hidden])')].map(r => [...r.cells].map(c => c.textContent))"
    ))
}

fn text(browser: &mut Browser, id: &str) -> Value {
    browser.eval(&format!("document.getElementById('{id}').textContent"))
}

#[test]
fn a_browser_shows_the_values_and_their_changes_and_what_was_refused() {
    let mut gateway = start("", "");
    let web = gateway.address("web");
    let pack =
        br#"[{"bn":"th-2/","n":"temp","u":"Cel","v":21.50},{"bn":"th-10/","n":"door","vb":true}]"#;
    assert_eq!(ask(web, "POST /r", pack).status, 202);
    let mut browser = Browser::open(&format!("http://{web}/"));
    wait_until("two values", || text(&mut browser, "count") == "2 values");
    let shown = rows(&mut browser, "values");
    assert_eq!(
        shown[0].as_array().unwrap()[..4],
        [json!("th-2"), json!("temp"), json!("21.50"), json!("°C")]
    );
    assert_eq!(
        shown[1].as_array().unwrap()[..4],
        [json!("th-10"), json!("door"), json!("true"), json!("")]
    );
    assert_eq!(text(&mut browser, "state"), "Live");

    assert_eq!(ask(web, "PUT /r/th-2/temp", b"22.75").status, 202);
    wait_until("the new value", || rows(&mut browser, "values")[0][2] == "22.75");
    assert_eq!(ask(web, "PUT /r/th-2/temp", b" ").status, 400);
    wait_until("what was refused", || {
        rows(&mut browser, "sources")[0][4].as_str().is_some_and(|cell| cell.contains("empty: 1"))
    });

    // What comes from a device is text, whatever it looks like.
    let evil = "/r/%3Cscript%3Edocument.title=1%3C%2Fscript%3E/%3Cimg%20src=x%20onerror=document.title=2%3E";
    assert_eq!(ask(web, &format!("PUT {evil}"), b"<b onclick=x>v</b>").status, 202);
    wait_until("the third value", || text(&mut browser, "count") == "3 values");
    let shown = rows(&mut browser, "values").to_string();
    assert!(shown.contains("<script>document.title=1</script>"), "{shown}");
    let elements = "document.querySelectorAll('main script, main img, main b').length";
    assert_eq!(browser.eval(elements), 0);
    assert_eq!(browser.eval("document.title"), "Last values");
    // And the browser would not run it if it were not.
    let policy = ask(web, "GET /", b"");
    let policy = policy.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");

    browser.eval("document.getElementById('filter').value = 'door'; document.getElementById('filter').dispatchEvent(new Event('input'))");
    assert_eq!(rows(&mut browser, "values").as_array().unwrap().len(), 1);
    gateway.kill();
    wait_until("the loss to be shown", || {
        browser.eval("document.getElementById('state').dataset.state") == "lost"
    });
    assert_eq!(browser.errors(), Vec::<String>::new());
}

#[test]
fn the_page_asks_for_the_token_and_remembers_it() {
    let gateway = start(r#", token = "s3cret""#, "");
    let web = gateway.address("web");
    assert_eq!(ask(web, "PUT /r/a/t\nAuthorization: Bearer s3cret", b"1").status, 202);
    let mut browser = Browser::open(&format!("http://{web}/"));
    let hidden = |browser: &mut Browser, id: &str| {
        browser.eval(&format!("document.getElementById('{id}').hidden"))
    };
    wait_until("the form", || hidden(&mut browser, "login") == false);
    let enter = |browser: &mut Browser, token: &str| {
        browser.eval(&format!(
            "document.getElementById('token').value = '{token}'; document.querySelector('#login button').click()"
        ))
    };
    enter(&mut browser, "wrong");
    wait_until("the refusal", || hidden(&mut browser, "wrong") == false);
    assert_eq!(hidden(&mut browser, "main"), true);
    enter(&mut browser, "s3cret");
    wait_until("the value", || text(&mut browser, "count") == "1 value");
    browser.eval("location.reload()");
    wait_until("the value again", || text(&mut browser, "count") == "1 value");
    let address = browser.eval("location.href");
    assert!(!address.as_str().unwrap().contains("s3cret"), "{address}");
}
