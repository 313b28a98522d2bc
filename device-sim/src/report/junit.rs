//! A report as JUnit XML, which programs that run tests read.
//!
//! The scenario is a suite, each threshold a case. There is no standard; this is the part of it that
//! every reader knows: <https://github.com/testmoapp/junitxml>.

use std::time::Duration;

use super::Report;
use super::markup::escape;
use super::plain::Colour;

impl Report {
    /// As JUnit XML.
    pub fn to_junit(&self) -> String {
        let name = escape(&self.scenario);
        let time = Duration::from_micros(self.duration_us).as_secs_f64();
        let (tests, missed) =
            (self.outcomes.len(), self.outcomes.iter().filter(|outcome| !outcome.passed).count());
        let counts = format!(
            r#"name="{name}" tests="{tests}" failures="{missed}" errors="0" skipped="0" time="{time:.3}""#
        );
        let timestamp =
            self.wall.as_ref().map(|wall| format!(r#" timestamp="{}""#, escape(&wall.started)));
        let cases: String = self.outcomes.iter().map(|outcome| {
            let head = format!(r#"    <testcase name="{} {}" classname="{name}""#, escape(&outcome.name), escape(&outcome.limit));
            let reason = escape(&outcome.reason);
            match outcome.passed {
                true => format!("{head}/>\n"),
                false => format!("{head}>\n      <failure type=\"threshold\" message=\"{reason}\">{reason}</failure>\n    </testcase>\n"),
            }
        }).collect();
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n  <testsuite {counts}{}>\n    \
             <properties>\n      <property name=\"seed\" value=\"{}\"/>\n    </properties>\n{cases}    \
             <system-out>{}</system-out>\n  </testsuite>\n</testsuites>\n",
            timestamp.unwrap_or_default(),
            self.seed,
            escape(&self.to_text(Colour::Never)),
        )
    }
}
