//! Rules of what routes do to readings.

use super::super::model::{Convert, Route};
use super::super::suggest::nearest;
use super::super::tree::KeyPath;
use super::Checks;
use crate::pipeline::{Conversion, known_units};

pub(super) fn check(checks: &mut Checks<'_>) {
    for (id, route) in &checks.config.routes {
        let path = KeyPath::of(["routes", id.as_str()]);
        if let Some(convert) = &route.convert {
            check_convert(checks, &path.key("convert"), convert);
        }
        check_thin(checks, &path, route);
        check_aggregate(checks, &path, route);
    }
}

fn check_convert(checks: &mut Checks<'_>, path: &KeyPath, convert: &Convert) {
    let (unit, from) = (path.key("unit"), path.key("from"));
    if !checks.sound([&unit, &from, &path.key("scale"), &path.key("offset")]) {
        return;
    }
    let is_linear = convert.scale.is_some() || convert.offset.is_some();
    match (&convert.unit, &convert.from) {
        (_, Some(_)) if is_linear => {
            let problem = checks
                .at(&from, "`from` beside `scale` or `offset`")
                .expected("expected either a unit to convert from, or a scale and an offset")
                .help("leave `from` out: a scale holds for every unit");
            checks.findings.add(problem);
        }
        (None, _) if !is_linear => {
            let problem = checks
                .at_key(path, "a conversion to nothing")
                .expected("expected `unit`, or `scale` or `offset`")
                .help("name the unit that is wanted, such as { unit = \"degF\" }");
            checks.findings.add(problem);
        }
        (Some(to), None) if !is_linear => {
            check_unit(checks, &unit, to);
        }
        (Some(to), Some(of)) => {
            let are_known = check_unit(checks, &unit, to) & check_unit(checks, &from, of);
            if are_known && Conversion::new(of, to).is_none() {
                let others = known_units().filter(|unit| Conversion::new(of, unit).is_some());
                let others: Vec<&str> = others.filter(|unit| unit != of).collect();
                let problem = checks
                    .at(&unit, format!("`{of}` cannot become `{to}`"))
                    .expected("expected two units of the same kind")
                    .help(format!("`{of}` can become {}", others.join(", ")));
                checks.findings.add(problem);
            }
        }
        (Some(_) | None, None) | (None, Some(_)) => {}
    }
}

/// Whether there are conversions of a unit.
fn check_unit(checks: &mut Checks<'_>, at: &KeyPath, unit: &str) -> bool {
    if known_units().any(|known| known == unit) {
        return true;
    }
    let problem = checks
        .at(at, format!("no conversion is known for `{unit}`"))
        .expected("expected a unit of SenML, such as \"Cel\", or one that docs/routes.md names");
    let same = known_units().find(|known| known.eq_ignore_ascii_case(unit));
    checks.findings.add(match same.or_else(|| nearest(unit, known_units())) {
        Some(similar) => problem.help(format!("did you mean `{similar}`?")),
        None => problem.help("with `scale` and `offset`, any unit can be made any other"),
    });
    false
}

fn check_aggregate(checks: &mut Checks<'_>, path: &KeyPath, route: &Route) {
    let Some(aggregate) = &route.aggregate else { return };
    let at = path.key("aggregate");
    let of = at.key("of");
    let twice = aggregate
        .of
        .iter()
        .enumerate()
        .find(|(i, s)| aggregate.of.iter().take(*i).any(|b| b == *s));
    if aggregate.of.is_empty() && checks.sound([&of]) {
        let problem = checks
            .at(&of, "an aggregate of nothing")
            .expected("expected at least one of min, mean, max, last, count and sum");
        checks.findings.add(problem);
    } else if let Some((index, statistic)) = twice {
        let problem = checks
            .at(&of.index(index), format!("`{}` is there twice", statistic.name()))
            .expected("expected each statistic once");
        checks.findings.add(problem);
    }
    let others = [
        ("live_first", route.live_first),
        ("deadband", route.deadband.is_some()),
        ("deadband_percent", route.deadband_percent.is_some()),
        ("min_interval", route.min_interval.is_some()),
    ];
    for (key, _) in others.into_iter().filter(|(_, is_there)| *is_there) {
        let problem = checks
            .at_key(&path.key(key), format!("`{key}` beside `aggregate`"))
            .expected("expected one of the two")
            .help("a window already publishes once for all of its readings, when it is over");
        checks.findings.add(problem);
    }
}

fn check_thin(checks: &mut Checks<'_>, path: &KeyPath, route: &Route) {
    for (key, deadband) in
        [("deadband", route.deadband), ("deadband_percent", route.deadband_percent)]
    {
        let at = path.key(key);
        if deadband.is_some_and(|deadband| deadband.is_negative()) && checks.sound([&at]) {
            let problem =
                checks.at(&at, "a deadband below zero").expected("expected a number of 0 or more");
            checks.findings.add(problem);
        }
    }
    let keys = ["deadband", "deadband_percent", "max_silence", "min_interval"];
    let keys = keys.map(|key| path.key(key));
    let Some(silence) = route.max_silence.filter(|_| checks.sound(&keys)) else { return };
    let at = path.key("max_silence");
    if route.deadband.is_none() && route.deadband_percent.is_none() {
        let problem = checks
            .at_key(&at, "`max_silence` without a deadband")
            .expected("expected `deadband` or `deadband_percent` beside it")
            .help("without a deadband every reading is sent, changed or not");
        checks.findings.add(problem);
    } else if route.min_interval.is_some_and(|interval| interval > silence) {
        let problem = checks
            .at(&at, "`max_silence` is shorter than `min_interval`")
            .expected("expected at least as long a time as `min_interval`");
        checks.findings.add(problem);
    }
}
