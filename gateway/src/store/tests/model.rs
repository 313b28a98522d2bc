//! The store against a queue in memory, over restarts, crashes and failures.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::log::Log as _;
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Release(u8),
    /// Stops and starts.
    Reopen,
    /// What a kill leaves.
    Crash,
    /// The disk reports a failure.
    Fail,
    /// The file turns out to be damaged, although all of it can be read.
    Repair,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (1..20u8).prop_map(Step::Append),
        6 => (0..30u8).prop_map(Step::Release),
        2 => Just(Step::Reopen),
        2 => Just(Step::Crash),
        1 => Just(Step::Fail),
        1 => Just(Step::Repair),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_store_behaves_like_a_queue(steps in steps()) {
        let mut folder = Folder::new();
        let (mut log, _) = folder.open();
        let mut model: VecDeque<(u64, u64)> = VecDeque::new();
        let (mut released, mut value) = (1, 100);
        let mut saved = Cursors::new();
        for step in steps {
            let next = log.next();
            match step {
                Step::Append(count) => {
                    let values = value..value + u64::from(count);
                    value = values.end;
                    let base = log.append(&batch(values.clone()), later(), &cursors(released), released).unwrap();
                    model.extend((base..).zip(values));
                    saved = cursors(released);
                }
                Step::Release(count) => {
                    released = (released + u64::from(count)).min(log.next());
                    model.retain(|&(n, _)| n >= released);
                    log.save(&cursors(released), released, later()).unwrap();
                    saved = cursors(released);
                }
                Step::Reopen => {
                    drop(log);
                    log = folder.open().0;
                    prop_assert_eq!(log.next(), next);
                }
                Step::Crash => {
                    let copy = folder.copy();
                    drop(log);
                    folder = copy;
                    let (crashed, known) = folder.open();
                    log = crashed;
                    prop_assert_eq!(log.next(), next);
                    prop_assert_eq!(&known, &saved);
                }
                Step::Fail => {
                    let source = rusqlite::Error::InvalidQuery;
                    log.reopen(&StoreError::Sqlite { path: folder.path().to_owned(), source }).unwrap();
                    prop_assert_eq!(log.next(), next);
                }
                Step::Repair => {
                    let path = folder.path().to_owned();
                    log.reopen(&StoreError::Damaged { path, what: "a test", source: None }).unwrap();
                    prop_assert!(log.next() >= next);
                }
            }
            let stored: Vec<_> = records(&log, released);
            prop_assert_eq!(stored, Vec::from(model.clone()));
        }
    }
}
