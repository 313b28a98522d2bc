//! The page of a report in a real browser, and its JUnit XML in a parser that others wrote.
//!
//! Both are the files under `src/golden`, of which a unit test says that they are what a report
//! becomes.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test did not expect ends it"
)]
#![allow(dead_code, reason = "a part of the harness is needed here")]

#[path = "../../../tests/harness/browser.rs"]
mod browser;
#[path = "../../../tests/harness/clock.rs"]
mod clock;
#[path = "../../../tests/harness/process.rs"]
mod process;
#[path = "../../../tests/harness/temp.rs"]
mod temp;

use serde_json::{Value, json};

use browser::Browser;
use clock::wait_until;
use process::any_program;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/golden");
/// How much wider the page is than the screen.
const OVERFLOW: &str =
    "document.documentElement.scrollWidth - document.documentElement.clientWidth";

/// The page on a screen of this width.
fn open(width: u32) -> Browser {
    let mut browser = Browser::open(&format!("file://{GOLDEN}/report.html"));
    let screen =
        json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
    browser.call("Emulation.setDeviceMetricsOverride", &screen);
    wait_until("the page", || browser.eval("document.title") == "greenhouse-flaky-radio");
    wait_until("all of it", || browser.eval("document.readyState") == "complete");
    browser
}

fn is_shown(browser: &mut Browser, selector: &str) -> Value {
    browser.eval(&format!("document.querySelector('{selector}').getBoundingClientRect().width > 0"))
}

#[test]
fn the_page_asks_for_nothing_and_nothing_goes_wrong_in_it() {
    let mut browser = open(1400);
    assert_eq!(browser.eval("document.querySelectorAll('h2').length"), 7);
    assert_eq!([browser.errors(), browser.complaints()].concat(), Vec::<String>::new());
    let requests = browser.requests();
    let foreign: Vec<_> = requests.iter().filter(|address| !address.starts_with("data:")).collect();
    assert_eq!(foreign, [&format!("file://{GOLDEN}/report.html")]);
}

#[test]
fn the_page_would_not_load_what_is_not_its_own() {
    let mut browser = open(1400);
    browser.eval(
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"http://127.0.0.1:9/x.png\">')",
    );
    wait_until("the refusal", || {
        browser.complaints().iter().any(|text| text.contains("Content Security Policy"))
    });
}

#[test]
fn the_pointer_shows_the_numbers_of_a_window() {
    let mut browser = open(1400);
    let readout = "document.getElementById('readout').textContent";
    let about = browser.eval(readout);
    browser.eval("document.getElementById('timeline-plot').scrollIntoView()");
    let point = browser.eval(
        "(() => { const box = document.querySelector('svg.wide').getBoundingClientRect(); \
         return { x: box.left + box.width * (48 + 900 * 41.5 / 60) / 960, y: box.top + 100 }; })()",
    );
    let moved = |x: &Value, y: &Value| json!({ "type": "mouseMoved", "x": x, "y": y });
    browser.call("Input.dispatchMouseEvent", &moved(&point["x"], &point["y"]));
    wait_until("the numbers", || browser.eval(readout) != about);
    assert_eq!(
        browser.eval(readout),
        "41–42 s: 16 sent, 8 acknowledged, 96 arrived, 99 % within 40 ms"
    );
    browser.call("Input.dispatchMouseEvent", &moved(&json!(1), &json!(1)));
    wait_until("the text from before", || browser.eval(readout) == about);
    assert_eq!(browser.errors(), Vec::<String>::new());
}

#[test]
fn a_phone_has_all_of_it_within_its_width() {
    let mut wide = open(1400);
    assert_eq!(wide.eval(OVERFLOW), 0);
    assert_eq!(wide.eval("[...document.querySelectorAll('.scroll')].every((box) => box.scrollWidth <= box.clientWidth)"), true);
    assert_eq!(
        (is_shown(&mut wide, "svg.wide"), is_shown(&mut wide, "svg.narrow")),
        (true.into(), false.into())
    );
    let mut phone = open(390);
    assert_eq!(phone.eval("innerWidth"), 390);
    assert_eq!(phone.eval(OVERFLOW), 0);
    assert_eq!(
        (is_shown(&mut phone, "svg.wide"), is_shown(&mut phone, "svg.narrow")),
        (false.into(), true.into())
    );
    let overlaps = "[...document.querySelectorAll('td')].filter((cell) => cell.scrollWidth > cell.clientWidth + 1).map((cell) => cell.textContent)";
    assert_eq!(phone.eval(overlaps), json!([]));
}

#[test]
fn light_and_dark_are_as_the_reader_has_it_and_paper_is_light() {
    let mut browser = open(1400);
    let mut colours = |media: &str, scheme: &str| {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        browser
            .call("Emulation.setEmulatedMedia", &json!({ "media": media, "features": features }));
        let style = browser.eval(
            "(() => { const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]; })()",
        );
        style
            .as_array()
            .unwrap()
            .iter()
            .map(|colour| colour.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(colours("screen", "light"), ["rgb(247, 247, 245)", "rgb(28, 30, 33)"]);
    assert_eq!(colours("screen", "dark"), ["rgb(22, 24, 27)", "rgb(232, 233, 234)"]);
    assert_eq!(colours("print", "dark"), ["rgb(255, 255, 255)", "rgb(28, 30, 33)"]);
}

#[test]
fn junit_is_xml_with_a_case_for_each_threshold() {
    let script = "import sys, xml.etree.ElementTree as tree\n\
                  suite = tree.parse(sys.argv[1]).getroot().find('testsuite')\n\
                  cases = suite.findall('testcase')\n\
                  print(suite.get('tests'), len(cases), suite.get('failures'), \
                  len(suite.findall('testcase/failure')), cases[0].get('name'))";
    let file = format!("{GOLDEN}/report.xml");
    let output = any_program(&["python3"], "python3").args(["-c", script, &file]).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(stdout, "6 6 2 2 duplicates < 1%\n", "{}", String::from_utf8_lossy(&output.stderr));
}
