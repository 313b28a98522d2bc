use std::time::Duration;

use proptest::prelude::*;

use super::measure::Measured;
use super::*;
use crate::report::sample;

fn read(toml: &str) -> Result<Thresholds, String> {
    #[derive(Debug, Deserialize)]
    struct File {
        thresholds: Thresholds,
    }
    let file: Result<File, _> = toml::from_str(&format!("[thresholds]\n{toml}"));
    file.map(|file| file.thresholds).map_err(|error| error.message().to_owned())
}

fn outcome(toml: &str) -> Outcome {
    let report = Report { thresholds: read(toml).unwrap(), ..sample::report(None) };
    let [outcome] = report.thresholds.evaluate(&report).try_into().unwrap();
    outcome
}

#[test]
fn every_form_is_understood_and_written_so_that_it_reads_back() {
    let thresholds = read(
        r#"
        lost = 0
        arrived = ">= 900"
        duplicates = "< 0.1%"
        late = "5 %"
        latency.p99 = { max = "2s", except = ["broker down"] }
        latency.p50 = "<= 1m 30s"
        acknowledged = { min = 3 }
        recovery = "< 5s"
        "#,
    )
    .unwrap();
    let shown: Vec<_> = thresholds
        .iter()
        .map(|(metric, threshold)| format!("{} {threshold}", metric.name()))
        .collect();
    assert_eq!(
        shown,
        [
            "acknowledged >= 3",
            "arrived >= 900",
            "duplicates < 0.1%",
            "late <= 5%",
            "latency.p50 <= 1m 30s",
            "latency.p99 <= 2s except broker down",
            "lost <= 0",
            "recovery < 5s",
        ]
    );
    let json = serde_json::to_string(&thresholds).unwrap();
    assert_eq!(serde_json::from_str::<Thresholds>(&json).unwrap(), thresholds, "{json}");
}

#[test]
fn metrics_are_in_the_order_of_their_names_and_found_by_them() {
    assert!(Metric::ALL.is_sorted_by_key(|metric| metric.name()));
    assert!(Metric::ALL.is_sorted());
    for metric in Metric::ALL {
        assert_eq!(Metric::named(metric.name()), Some(metric));
    }
}

#[test]
fn what_is_wrong_with_a_threshold_is_said_with_what_to_write() {
    for (toml, expected) in [
        ("losd = 0", "unknown threshold `losd`; did you mean `lost`?"),
        (
            "latency.p9 = \"2s\"",
            "unknown threshold `latency.p9`; there are acknowledged, arrived, ",
        ),
        (
            "latency.p999x = \"2s\"",
            "unknown threshold `latency.p999x`; did you mean `latency.p999`?",
        ),
        ("lost = \"few\"", "`few` is no limit; write a count (`0`), a percentage"),
        ("lost = -1", "invalid value: integer `-1`, expected a limit: `0`, "),
        ("lost = 0.5", "invalid type: floating point `0.5`, expected a limit"),
        (
            "lost = \"2s\"",
            "the limit of `lost` is a count or a percentage, such as `< 0.1%`, not `<= 2s`",
        ),
        ("unknown = \"1%\"", "the limit of `unknown` is a count, such as `0`, not `<= 1%`"),
        ("recovery = 5", "the limit of `recovery` is a duration, such as `< 2s`, not `<= 5`"),
        ("recovery = \"-5s\"", "`-5s` is no limit"),
        ("lost = { maximum = 0 }", "unknown key `maximum` of a threshold; did you mean `max`?"),
        ("lost = { max = 0, min = 1 }", "one of `limit`, `max` and `min` says"),
        ("lost = { except = [] }", "a threshold needs `max`, `min` or `limit`"),
        ("lost = { max = 0, except = [\"x\"] }", "threshold `lost`: `except` goes with latencies"),
        ("lost = \"0.1234567%\"", "`0.1234567%` is no limit"),
        ("lost = \"99999999999999999999\"", "`99999999999999999999` is no limit"),
        ("lost = \"999999999999999999%\"", "`999999999999999999%` is no limit"),
    ] {
        let error = read(toml).unwrap_err();
        assert!(error.starts_with(expected), "{toml}: {error}");
    }
}

#[test]
fn what_is_excepted_has_to_be_a_fault() {
    let thresholds = read("recovery = { max = \"5s\", except = [\"broker donw\"] }").unwrap();
    let error = thresholds.check(["lossy radio", "broker down"].into_iter()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "threshold `recovery` excepts `broker donw`, which is no fault of this scenario; did you mean `broker down`?"
    );
    assert_eq!(thresholds.check(["broker donw"].into_iter()), Ok(()));
}

#[test]
fn an_outcome_has_the_value_and_the_reason() {
    let shown = |toml| {
        let Outcome { measured, passed, reason, .. } = outcome(toml);
        (passed, measured.unwrap_or_default(), reason)
    };
    let is =
        |passed, measured: &str, reason: &str| (passed, measured.to_owned(), reason.to_owned());
    assert_eq!(shown("lost = 0"), is(false, "1", "1 of 960 that were sent; asked was <= 0"));
    assert_eq!(shown("lost = 1"), is(true, "1", "1 of 960 that were sent"));
    assert_eq!(shown("lost = \"< 0.2%\""), is(true, "0.10 %", "1 of 960 that were sent"));
    let (passed, measured, reason) = shown("recovery = \"< 1s\"");
    assert_eq!((passed, &*measured), (false, "2.26 s"));
    assert_eq!(reason, "2.26 s after `broker down`; asked was < 1s");
}

#[test]
fn readings_that_were_due_during_an_excepted_fault_do_not_count() {
    assert!(!outcome("latency.p99 = \"2s\"").passed);
    assert!(outcome("latency.p99 = { max = \"2s\", except = [\"broker down\"] }").passed);
    assert!(!outcome("latency.p50 = { max = \"100ms\", except = [\"quiet\"] }").passed);
    assert!(outcome("recovery = { max = \"1s\", except = [\"broker down\"] }").passed);
}

#[test]
fn a_run_in_which_nothing_happens_proves_nothing() {
    let empty = Report {
        fleets: BTreeMap::new(),
        latency: Vec::new(),
        recoveries: Vec::new(),
        ..sample::report(None)
    };
    for (toml, why) in [
        ("latency.p99 = \"2s\"", "no reading arrived whose latency counts"),
        ("recovery = \"2s\"", "no fault that counts ended before the run did"),
        ("duplicates = \"1%\"", "there is nothing to take a share of: 0 of 0 that arrived"),
    ] {
        let [Outcome { passed, reason, measured, .. }] =
            read(toml).unwrap().evaluate(&empty).try_into().unwrap();
        assert_eq!((passed, &*reason, measured), (false, why, None), "{toml}");
    }
}

/// A run of a fleet over CoAP and one over UDP, with these counts of the former.
fn of_bench(acknowledged: u64, refused: u64, unanswered: u64) -> Report {
    let mut report = sample::report(None);
    for (name, fleet) in &mut report.fleets {
        (fleet.lost, fleet.wrong_value) = (0, 0);
        if name == "bench" {
            fleet.arrived = acknowledged;
            (fleet.acknowledged, fleet.refused) = (acknowledged, refused);
            fleet.unanswered = unanswered;
        }
    }
    report
}

/// Whether `lost` was kept, and why not.
fn lost(toml: &str, report: &Report) -> (bool, String) {
    let outcomes = read(toml).unwrap().evaluate(report);
    let lost = outcomes.into_iter().find(|outcome| outcome.name == "lost").unwrap();
    (lost.passed, lost.reason)
}

#[test]
fn nothing_lost_of_what_nobody_took_is_no_proof() {
    let missed = (false, "nothing was acknowledged, so `lost <= 0` says nothing".to_owned());
    for (toml, report) in [
        ("lost = 0", of_bench(0, 0, 480)),
        ("lost = 0", of_bench(0, 480, 0)),
        // The threshold is not about what happened.
        ("lost = 0\nrefused = 0", of_bench(0, 0, 480)),
    ] {
        assert_eq!(lost(toml, &report), missed, "{toml}");
    }
    assert!(lost("lost = 0", &of_bench(1, 0, 479)).0);
    for toml in ["unanswered = \"<= 100%\"", "acknowledged = 0"] {
        assert!(lost(&format!("lost = 0\n{toml}"), &of_bench(0, 0, 480)).0, "{toml}");
    }
    let mut two = of_bench(0, 0, 480);
    two.fleets.insert("others".to_owned(), of_bench(480, 0, 0).fleets["bench"].clone());
    let reason =
        "nothing of `bench` was acknowledged (480 were sent), so `lost <= 0` says nothing of it";
    assert_eq!(lost("lost = 0", &two), (false, reason.to_owned()));
}

#[test]
fn nothing_lost_where_nothing_arrives_is_no_proof() {
    let mut report = of_bench(480, 0, 0);
    report.fleets.retain(|name, _| name == "meters");
    assert!(lost("lost = 0", &report).0);
    report.fleets.values_mut().for_each(|fleet| fleet.arrived = 0);
    let missed = (false, "nothing arrived, so `lost <= 0` says nothing".to_owned());
    assert_eq!(lost("lost = 0", &report), missed);
    assert!(lost("lost = 0\narrived = 0", &report).0);
}

#[test]
fn what_no_threshold_is_about_is_warned_of() {
    let warnings = |toml, report: &Report| read(toml).unwrap().warnings(report);
    let some = of_bench(400, 0, 80);
    let [warning] = &warnings("lost = 0", &some)[..] else { panic!() };
    let expected = "80 readings were unanswered (8.33 %), which `lost` does not count: say in";
    assert!(warning.starts_with(expected), "{warning}");
    assert!(warnings("lost = 0\nunanswered = 0", &some).is_empty());
    assert!(warnings("lost = 0", &of_bench(480, 0, 0)).is_empty());
    assert_eq!(warnings("lost = 0", &of_bench(400, 1, 79)).len(), 2);
}

#[test]
fn a_scenario_without_thresholds_loses_and_falsifies_nothing() {
    let shown: Vec<_> = Thresholds::default()
        .iter()
        .map(|(metric, limit)| format!("{} {limit}", metric.name()))
        .collect();
    assert_eq!(shown, ["lost <= 0", "wrong_value <= 0"]);
}

/// Fractions, compared by long division instead of by multiplication.
fn compare(count: u64, of: u64, share: u64) -> std::cmp::Ordering {
    let (whole, rest) = (count / of, count % of);
    let limit = (share / 100_000_000, share % 100_000_000);
    let digits = u128::from(rest) * 100_000_000 / u128::from(of);
    let remainder = u128::from(rest) * 100_000_000 % u128::from(of);
    (whole, digits, remainder).cmp(&(limit.0, limit.1.into(), 0))
}

/// What a sign says of values that compare so.
fn allows(sign: &str, ordering: std::cmp::Ordering) -> bool {
    match sign {
        "<" => ordering.is_lt(),
        ">" => ordering.is_gt(),
        ">=" => ordering.is_ge(),
        _ => ordering.is_le(),
    }
}

#[test]
fn a_limit_is_exact_at_its_border() {
    for sign in ["<", "<=", ">", ">=", ""] {
        let allows = |ordering| allows(sign, ordering);
        let limit = |value: String| format!("{sign} {value}").parse::<Limit>().unwrap();
        for (count, of, eighths) in (0..=9)
            .flat_map(|count| [1, 2, 4, 8].map(|of| (count, of)))
            .flat_map(|(count, of)| (0..=9_u64).map(move |eighths| (count, of, eighths)))
        {
            let measured = Measured::Count { count, of };
            let share = limit(format!("{}%", eighths as f64 * 12.5));
            let expected = allows((count * 8).cmp(&(eighths * of)));
            assert_eq!(share.allows(measured), Some(expected), "{count} of {of} {share}");
            let expected = allows(count.cmp(&eighths));
            assert_eq!(limit(eighths.to_string()).allows(measured), Some(expected));
            let duration = Measured::Duration(Duration::from_micros(count));
            assert_eq!(limit(format!("{eighths}us")).allows(duration), Some(expected));
        }
    }
}

proptest! {
    #[test]
    fn limits_agree_with_a_naive_comparison(
        sign in prop::sample::select(vec!["<", "<=", ">", ">=", ""]),
        count in prop_oneof![0..20_u64, any::<u64>()],
        of in prop_oneof![1..20_u64, 1..u64::MAX],
        limit in prop_oneof![0..20_u64, 0..200_000_000_u64],
    ) {
        let allows = |ordering| allows(sign, ordering);
        let read = |value: String| format!("{sign}{value}").parse::<Limit>().unwrap();
        let measured = Measured::Count { count, of };
        prop_assert_eq!(read(limit.to_string()).allows(measured), Some(allows(count.cmp(&limit))));
        let percent = format!(" {}.{:06} %", limit / 1_000_000, limit % 1_000_000);
        let expected = allows(compare(count, of, limit));
        prop_assert_eq!(read(percent.clone()).allows(measured), Some(expected), "{}", percent);
        let micros = Duration::from_micros(count >> 20);
        let expected = allows((count >> 20).cmp(&limit));
        prop_assert_eq!(read(format!("{limit}us")).allows(Measured::Duration(micros)), Some(expected));
    }

    #[test]
    fn a_limit_reads_back_as_it_was_written(text in "(<|<=|>|>=|)( ?)([0-9]{1,9}|[0-9]{1,5}(\\.[0-9]{1,6})? ?%|[0-9]{1,6} ?(us|ms|s|m|h))") {
        let limit: Limit = text.parse().unwrap();
        prop_assert_eq!(limit.to_string().parse::<Limit>(), Ok(limit));
    }

    #[test]
    fn no_text_ends_the_program(text in any::<String>()) {
        let _ = text.parse::<Limit>();
    }
}
