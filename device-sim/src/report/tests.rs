use std::time::Duration;

use super::*;
use crate::golden::assert_golden;

fn shard(text: &str) -> Option<Shard> {
    Some(text.parse().unwrap())
}

#[test]
fn shards_merge_into_the_report_of_the_whole_in_any_order() {
    let whole = sample::report(None);
    let mut parts: Vec<_> = ["1/3", "2/3", "3/3"].map(shard).map(sample::report).into();
    for _ in 0..parts.len() {
        parts.rotate_left(1);
        // As they come out of files.
        let read = |part: &Report| Report::from_json(&part.to_json().unwrap()).unwrap();
        let mut merged = Report::merge(parts.iter().map(read).collect()).unwrap();
        assert_eq!(merged.wall.as_ref().unwrap().processors, 6);
        merged.wall.clone_from(&whole.wall);
        assert_eq!(merged.to_json().unwrap(), whole.to_json().unwrap());
    }
}

#[test]
fn a_part_of_the_shards_is_not_the_whole() {
    let parts = ["3/3", "1/3"].map(|part| sample::report(shard(part)));
    let error = Report::merge(parts.into()).unwrap_err().to_string();
    assert_eq!(error, "there is no report of shard 2/3; give the reports of all shards");
}

#[test]
fn reports_of_other_runs_do_not_merge() {
    let (one, two) = (sample::report(shard("1/2")), sample::report(shard("2/2")));
    let refused = |change: fn(&mut Report)| {
        let mut other = two.clone();
        change(&mut other);
        Report::merge(vec![one.clone(), other]).unwrap_err().to_string()
    };
    assert_eq!(
        refused(|report| report.seed = 43),
        "the reports have different seeds: 42 and 43; merge shards of one run only"
    );
    assert!(refused(|report| report.scenario = "x".to_owned()).contains("scenarios"));
    assert!(refused(|report| report.duration_us = 1).contains("durations"));
    assert!(refused(|report| report.shard = shard("2/3")).contains("numbers of shards"));
    assert!(refused(|report| report.recoveries.clear()).contains("faults"));
    assert!(refused(|report| report.thresholds = Thresholds::default()).contains("thresholds"));
    assert_eq!(
        refused(|report| report.shard = shard("1/2")),
        "two reports are of shard 1/2; give each report once"
    );
    assert_eq!(Report::merge(Vec::new()), Err(MergeError::Nothing));
}

#[test]
fn without_the_wall_equal_runs_give_equal_bytes() {
    let bytes = || Report { wall: None, ..sample::report(None) }.to_json().unwrap();
    assert_eq!(bytes(), bytes());
    assert!(!bytes().contains("2026"));
}

#[test]
fn a_report_reads_back_and_other_files_do_not() {
    let report = sample::report(None);
    assert_eq!(Report::from_json(&report.to_json().unwrap()).unwrap(), report);
    let error = |text: &str| Report::from_json(text).unwrap_err().to_string();
    assert!(error("{}").starts_with("this is no report of a run"));
    assert!(error(r#"{"version": 2, "else": 1}"#).starts_with("it has version 2"));
}

#[test]
fn it_counts_what_happened_to_each_reading() {
    let report = sample::report(None);
    let bench = &report.fleets["bench"];
    assert_eq!(
        (bench.devices, bench.sent, bench.refused),
        (4, 480, bench.sent - bench.acknowledged)
    );
    assert_eq!((bench.duplicates, bench.lost, bench.arrived), (1, 0, bench.acknowledged));
    let meters = &report.fleets["meters"];
    assert_eq!((meters.acknowledged, meters.lost, meters.wrong_value), (0, 1, 1));
    assert_eq!(meters.arrived, meters.sent - 1);
    let windows = || report.series.windows();
    assert_eq!(windows().map(|window| window.sent).sum::<u64>(), 960);
    assert_eq!(windows().map(|window| window.arrived).sum::<u64>(), report.total().arrived);
    let mixes: u64 = report.latency.iter().map(|mix| mix.latency.count()).sum();
    assert_eq!(mixes, report.total().arrived);
}

#[test]
fn latency_is_told_by_phase_and_recovery_by_fault() {
    let report = sample::report(None);
    let latency = |name: &str| {
        let phase = report.phases.iter().find(|phase| phase.name == name).unwrap();
        (phase.latency.count, Duration::from_micros(phase.latency.p99_us))
    };
    assert!(latency("quiet").1 < Duration::from_secs(1));
    assert!(latency("broker down").1 > Duration::from_secs(9));
    let [radio, broker] = &report.recoveries[..] else { panic!("{:?}", report.recoveries) };
    assert!(radio.took() < Some(Duration::from_secs(1)) && radio.lost == 1);
    assert!(broker.took() > Some(Duration::from_secs(2)) && broker.lost == 0);
}

#[test]
fn examples_are_the_first_and_name_the_command_that_shows_them_again() {
    let report = sample::report(None);
    let lost = &report.examples[&Failure::Lost];
    assert_eq!((&*lost.device, lost.expected.as_deref()), ("meters-02", Some("21.5")));
    assert_eq!(lost.intended_us, Some(16_185_000));
    assert_eq!(lost.replay, "device-sim run scenarios/greenhouse.toml --seed 42 --only meters-02");
    let wrong = &report.examples[&Failure::WrongValue];
    assert_eq!((wrong.expected.as_deref(), wrong.got.as_deref()), (Some("21.5"), Some("2.15")));
    assert_eq!(wrong.fleet.as_deref(), Some("meters"));
    assert_eq!(report.examples[&Failure::Duplicate].device, "bench-03");
}

#[test]
fn every_device_belongs_to_one_shard() {
    let shards = [1, 2, 3].map(|index| Shard::new(index, 3).unwrap());
    for device in 0..100 {
        assert_eq!(shards.iter().filter(|shard| shard.has(device)).count(), 1);
    }
    for text in ["0/3", "4/3", "1", "1/", "a/b", "-1/3", "1/0"] {
        assert_eq!(text.parse::<Shard>(), Err(ShardError), "{text}");
    }
}

#[test]
fn golden_forms_of_a_report() {
    let report = sample::report(None);
    assert_golden("report.txt", &report.to_text(Colour::Never));
    assert_golden("report.xml", &report.to_junit());
    assert_golden("report.html", &report.to_html());
}

#[test]
fn equal_faults_have_one_row_and_each_is_in_the_json() {
    let span = |index| Span { fault: "kill".to_owned(), from_us: index, to_us: index + 200_000 };
    let spans = (1..=100).map(|index| span(index * 2_000_000)).collect();
    let plan = Plan { spans, duration: Duration::from_secs(300), ..sample::plan(None) };
    let report = Recorder::new(plan).report(None);
    let text = report.to_text(Colour::Never);
    let rows: Vec<_> = text.lines().filter(|line| line.starts_with("kill")).collect();
    let [latency, recovery] = rows[..] else { panic!("{text}") };
    assert_eq!(
        latency.split_whitespace().collect::<Vec<_>>(),
        ["kill", "0", "-", "-", "-", "-", "-", "-"]
    );
    assert_eq!(
        recovery.split_whitespace().collect::<Vec<_>>(),
        ["kill", "100", "20.0", "s", "0", "0"]
    );
    assert_eq!(report.to_html().matches("<th scope=\"row\">kill</th>").count(), 2);
    assert_eq!(report.recoveries.len(), 100);
}

#[test]
fn columns_stay_apart_whatever_is_in_them() {
    let mut report = sample::report(None);
    for phase in &mut report.phases {
        let long = 754_000_000_000;
        (phase.latency.count, phase.latency.min_us) = (u64::MAX, long);
        (phase.latency.p50_us, phase.latency.p90_us) = (long, long);
        (phase.latency.p99_us, phase.latency.p999_us, phase.latency.max_us) = (long, long, long);
    }
    let text = report.to_text(Colour::Never);
    let row = text.lines().find(|line| line.starts_with("quiet")).unwrap();
    assert_eq!(row.matches("  209 h 26 min").count(), 6, "{row}");
}

#[test]
fn colours_change_nothing_but_colours() {
    let report = sample::report(None);
    let text = report.to_text(Colour::Always);
    let plain: String = text
        .split('\u{1b}')
        .enumerate()
        .map(|(index, part)| if index == 0 { part } else { part.split_once('m').unwrap().1 })
        .collect();
    assert_ne!(plain, text);
    let trimmed = |text: &str| text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let trimmed: [String; 2] = [trimmed(&plain), trimmed(&report.to_text(Colour::Never))];
    assert_eq!(trimmed[0], trimmed[1]);
}

/// A run in which everything has a name that tries to be something else.
fn hostile() -> Report {
    let evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u{1b}[31m\0";
    let mut report = sample::report(None);
    report.scenario = evil.to_owned();
    report.file = evil.to_owned();
    report.fleets = report.fleets.into_values().map(|fleet| (evil.to_owned(), fleet)).collect();
    for phase in &mut report.phases {
        phase.name = evil.to_owned();
        phase.spans.iter_mut().for_each(|span| span.fault = evil.to_owned());
    }
    report.recoveries.iter_mut().for_each(|recovery| recovery.span.fault = evil.to_owned());
    for example in report.examples.values_mut() {
        *example = Example {
            fleet: Some(evil.to_owned()),
            device: evil.to_owned(),
            name: evil.to_owned(),
            expected: Some(evil.to_owned()),
            got: Some(evil.to_owned()),
            replay: evil.to_owned(),
            ..example.clone()
        };
    }
    for outcome in &mut report.outcomes {
        (outcome.name, outcome.reason) = (evil.to_owned(), evil.to_owned());
        outcome.limit = evil.to_owned();
        outcome.measured = Some(evil.to_owned());
    }
    report.wall =
        Some(Wall { started: evil.to_owned(), system: evil.to_owned(), ..sample::wall() });
    report
}

#[test]
fn no_name_becomes_markup_or_an_order_for_a_terminal() {
    let report = hostile();
    let html = report.to_html();
    assert_eq!(html.matches("<script").count(), 2, "the page's own");
    assert!(!html.contains("<img") && !html.contains('\u{1b}') && !html.contains('\0'));
    let xml = report.to_junit();
    assert!(!xml.contains("<script") && !xml.contains('\u{1b}') && !xml.contains('\0'));
    let text = report.to_text(Colour::Never);
    assert!(
        !text.contains(|character: char| character.is_control() && character != '\n'),
        "{text}"
    );
}

#[test]
fn a_report_of_nothing_is_readable() {
    let plan = Plan { scenario: "empty".to_owned(), ..Plan::default() };
    let report = Recorder::new(plan).report(None);
    assert!(!report.passed, "that nothing was lost proves nothing");
    for text in [report.to_html(), report.to_junit(), report.to_text(Colour::Never)] {
        assert!(text.contains("empty") && !text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}

#[test]
fn a_thousand_faults_do_not_make_a_page_that_nobody_can_open() {
    let span = |index| Span { fault: format!("cut {index}"), from_us: index, to_us: index + 5 };
    let plan = Plan { spans: (0..1000).map(span).collect(), ..sample::plan(None) };
    let report = Recorder::new(plan).report(None);
    assert_eq!(report.recoveries.len(), recovery::MAX_FOLLOWED);
    let html = report.to_html();
    assert!(html.contains("900 more faults are not drawn."));
    assert_eq!(html.matches("class=\"fault\"").count(), 200, "a hundred in each drawing");
}

#[test]
fn the_page_has_the_colours_of_the_gateways_page() {
    let variables = |css: &str| -> BTreeMap<String, String> {
        let pairs = css.lines().filter_map(|line| line.trim().strip_prefix("--")?.split_once(':'));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let theirs = variables(include_str!("../../../gateway/src/source/http/page/page.css"));
    let ours = variables(include_str!("html/page.css"));
    assert!(theirs.len() > 5);
    for (name, value) in theirs {
        assert_eq!(ours.get(&name), Some(&value), "{name}");
    }
}

#[test]
fn those_who_look_on_see_rates_faults_and_failures() {
    let recorder = sample::play(None);
    let at = |seconds: u64| proto::Instant::from_micros(seconds * 1_000_000);
    let progress = |seconds| {
        recorder.with(|recorder| recorder.progress(at(seconds), crate::live::Stage::Sending))
    };
    let seen = progress(15);
    assert_eq!(seen.faults, [("lossy radio".to_owned(), Duration::from_secs(9))]);
    assert_eq!((seen.left(), seen.fleets.len()), (Duration::from_secs(45), 2));
    let [bench, meters] = &progress(60).fleets[..] else { panic!("two fleets") };
    assert_eq!((bench.sent, bench.on_the_way, bench.lost), (480, 0, 0));
    assert_eq!((meters.sent, meters.on_the_way, meters.lost), (480, 0, 1));
    assert!(bench.sent_per_second > 0 && bench.latencies.last().unwrap().is_some());
    let log: Vec<_> = progress(100).log.into_iter().map(|line| line.text).collect();
    for expected in [
        "lossy radio begins",
        "broker down is over",
        "wrong value: meters-03 temp, epoch 1 sequence 71",
        "lost: meters-02 temp, epoch 1 sequence 33",
    ] {
        assert!(log.iter().any(|line| line == expected), "{expected}: {log:?}");
    }
}
