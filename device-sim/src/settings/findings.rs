//! What is known to be wrong while a configuration is checked, so that one mistake is told once.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{Problem, Report};
use super::tree::KeyPath;

/// The most problems that a run tells; a file of another kind would have thousands.
const MAX_PROBLEMS: usize = 100;

/// The problems so far, and what they make unknown.
#[derive(Debug)]
pub struct Findings {
    report: Report,
    /// Paths of values that are wrong or missing: what follows from them is not told.
    failed: BTreeSet<KeyPath>,
    /// Whether a part of a file could not be read: nothing can be said to be missing then.
    incomplete: bool,
    /// Lines that could not be read, by layer.
    broken: BTreeSet<(usize, usize)>,
    /// Lines from which on a layer could not be read.
    broken_from: BTreeMap<usize, usize>,
}

impl Findings {
    /// Nothing yet, in the `subject` that the report names at its end.
    pub const fn new(subject: &'static str) -> Self {
        Self {
            report: Report::new(subject),
            failed: BTreeSet::new(),
            incomplete: false,
            broken: BTreeSet::new(),
            broken_from: BTreeMap::new(),
        }
    }

    /// Adds a problem about the value at `path`.
    pub fn fail(&mut self, path: KeyPath, problem: Problem) {
        self.failed.insert(path);
        self.add(problem);
    }

    /// Adds a problem that no other one follows from.
    pub fn add(&mut self, problem: Problem) {
        let is_broken = problem.place().line().is_some_and(|(layer, line)| {
            self.broken.contains(&(layer, line))
                || self.broken_from.get(&layer).is_some_and(|first| *first <= line)
        });
        if !self.is_full() && !is_broken {
            self.report.push(problem);
        }
    }

    /// Adds a problem that hides a part of a file. What else its line seems to say does not count.
    pub fn unreadable(&mut self, problem: Problem) {
        self.incomplete = true;
        let line = problem.place().line();
        self.add(problem);
        self.broken.extend(line);
    }

    /// Adds a problem that hides the rest of a file.
    pub fn unreadable_from(&mut self, problem: Problem) {
        let line = problem.place().line();
        self.unreadable(problem);
        self.broken_from.extend(line);
    }

    /// How many problems there are.
    pub fn count(&self) -> usize {
        self.report.len()
    }

    /// Whether there are enough problems to stop at.
    pub fn is_full(&self) -> bool {
        self.report.len() >= MAX_PROBLEMS
    }

    /// Whether something can be said to be missing: every file was read.
    pub const fn is_complete(&self) -> bool {
        !self.incomplete
    }

    /// Whether the value at `path`, something in it, or what it is in, is wrong.
    pub fn failed(&self, path: &KeyPath) -> bool {
        self.failed.iter().any(|failed| failed.is_within(path) || path.is_within(failed))
    }

    /// Marks `path` without another problem.
    pub fn mark(&mut self, path: KeyPath) {
        self.failed.insert(path);
    }

    /// All problems in order, if there are any.
    pub fn into_report(mut self) -> Option<Report> {
        self.report.sort();
        (!self.report.is_empty()).then_some(self.report)
    }
}
