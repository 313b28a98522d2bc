//! Limits, lanes and dead letters, on a real disk.

use std::time::Duration;

use tokio::sync::oneshot;

use super::*;
use crate::store::cursor::Dropped;
use crate::store::{BrokerCursor, Lane, Limits, NotStored, Policy, Spool, WhenFull};

const SMALL: u64 = 1024 * 1024;

/// A store with its thread.
struct Store {
    spool: Spool,
    thread: std::thread::JoinHandle<Result<(), StoreError>>,
}

impl Store {
    fn open(folder: &Folder, policy: Policy, lanes: &[Lane]) -> Self {
        let (spool, thread) = Spool::open(folder.0.clone(), policy, lanes).unwrap();
        Self { spool, thread }
    }

    fn with(folder: &Folder, when_full: WhenFull, brokers: &[&str]) -> Self {
        let lanes: Vec<_> =
            brokers.iter().map(|name| Lane::only(name, Limits::default())).collect();
        Self::open(
            folder,
            Policy { quota: SMALL, min_free: 0, when_full, keep: Duration::ZERO },
            &lanes,
        )
    }

    fn cursor(&self, key: &str) -> BrokerCursor {
        self.spool.cursor(key).unwrap()
    }

    fn hand_in(&self, batch: Batch) -> impl Future<Output = Result<(), NotStored>> {
        let (receipt, outcome) = oneshot::channel();
        let spool = self.spool.clone();
        async move {
            spool.append(batch, receipt, now()).await;
            outcome.await.unwrap_or(Err(NotStored::Failed))
        }
    }

    async fn append(&self, values: impl IntoIterator<Item = u64>) -> Result<(), NotStored> {
        self.hand_in(batch(values)).await
    }

    /// Ends the thread in good order.
    fn close(self) {
        drop(self.spool);
        self.thread.join().unwrap().unwrap();
    }

    /// Waits until the storage thread has done all that it was asked for.
    async fn settle(&self) {
        self.spool.dead(0, 1).await.unwrap();
    }
}

/// A batch of which a few fill a small store.
fn big() -> Batch {
    let big = record_of("d", Value::Text("x".repeat(50_000)));
    let mut batch = Batch::default();
    batch.push(big);
    batch
}

fn lane(key: &str, routes: u64) -> Lane {
    Lane { key: key.to_owned(), routes, ..Lane::only("a", Limits::default()) }
}

const POLICY: Policy =
    Policy { quota: QUOTA, min_free: 0, when_full: WhenFull::DropNewest, keep: Duration::ZERO };

#[test]
fn what_was_saved_last_counts_though_it_is_less() {
    let folder = Folder::new();
    let (mut log, _) = folder.open();
    append(&mut log, [1, 2, 3]);
    log.append(&batch([4]), now(), &cursors(4), 1).unwrap();
    // As when the lanes of a broker change.
    log.save(&cursors(2), 1, now()).unwrap();
    drop(log);
    let (mut log, known) = folder.open();
    assert_eq!(known, cursors(2));
    log.append(&batch([5]), now(), &cursors(3), 1).unwrap();
    drop(log);
    assert_eq!(folder.open().1, cursors(3));
}

#[test]
fn cursors_that_cannot_be_read_repeat_and_lose_nothing() {
    let folder = Folder::new();
    let (mut log, _) = folder.open();
    log.append(&batch([1, 2, 3, 4]), now(), &cursors(3), 1).unwrap();
    log.save(&cursors(4), 1, now()).unwrap();
    drop(log);
    let spoil = |sql: &str| folder.sqlite().execute_batch(sql).unwrap();
    spoil("UPDATE cursor SET state = x'05'");
    assert_eq!(folder.open().1, cursors(3), "what lies beside the chunk");
    let store = Store::with(&folder, WhenFull::DropNewest, &["a"]);
    assert_eq!(store.cursor("a").next(), 3);
    store.close();
    spoil("UPDATE cursor SET state = x'05'; UPDATE chunk SET cursors = x'ff'");
    let store = Store::with(&folder, WhenFull::DropNewest, &["a"]);
    assert_eq!(store.cursor("a").next(), 1, "nobody knows anything");
}

#[test]
fn a_broker_with_a_damaged_row_does_not_begin_where_others_are() {
    let folder = Folder::new();
    let (mut log, _) = folder.open();
    append(&mut log, [1, 2, 3, 4]);
    let both = Cursors::from(
        [3, 4].map(|next| (format!("broker-{next}"), Cursor::new(Progress::new(next)))),
    );
    log.save(&both, 1, now()).unwrap();
    drop(log);
    folder.sqlite().execute("UPDATE cursor SET state = x'05' WHERE next = 3", []).unwrap();
    let store = Store::with(&folder, WhenFull::DropNewest, &["broker-3", "broker-4"]);
    assert_eq!((store.cursor("broker-3").next(), store.cursor("broker-4").next()), (1, 4));
}

#[tokio::test]
async fn numbers_that_are_skipped_put_no_broker_behind_its_lag() {
    let folder = Folder::new();
    let limits = Limits { max_lag: Some(100), max_age: None };
    let open = || Store::open(&folder, POLICY, &[Lane::only("a", limits)]);
    let store = open();
    store.append(0..50).await.unwrap();
    store.close();
    // The file is damaged, but all of it can be read.
    folder.sqlite().execute_batch("PRAGMA user_version = 9").unwrap();
    for start in 0..2 {
        let store = open();
        store.append(0..10).await.unwrap();
        store.settle().await;
        let status = store.spool.status();
        assert!(status.next > 65_536, "{status:?}");
        assert_eq!((status.pending["a"], status.dropped["a"].total()), (60 + start * 10, 0));
        store.close();
    }
    let store = open();
    store.append(0..100).await.unwrap();
    store.settle().await;
    let status = store.spool.status();
    assert_eq!((status.pending["a"], status.dropped["a"].lag), (100, 70));
    store.close();
}

#[test]
fn a_damaged_row_of_a_chunk_makes_no_limit_drop_more_than_it_should() {
    let folder = Folder::new();
    let (mut log, _) = folder.open();
    for value in 0..10 {
        append(&mut log, [value, value]);
    }
    drop(log);
    let spoil = "UPDATE chunk SET n = 1000000, bytes = -5 WHERE base IN (1, 9, 19)";
    folder.sqlite().execute(spoil, []).unwrap();
    let (mut log, _) = folder.open();
    assert_eq!((log.first(), log.next()), (1, 21));
    assert_eq!(log.end_of_older(1, later()).unwrap(), 21);
    assert_eq!(log.end_of_older(1, now()).unwrap(), 1);
    assert_eq!(log.oldest_end(u64::MAX).unwrap(), 19);
    assert_eq!(log.oldest_end(1).unwrap(), 5, "the first one says that it is nothing");
    assert!(!log.can_trim(2) && log.can_trim(3));
    log.save(&cursors(9), 9, later()).unwrap();
    assert_eq!(log.first(), 9);
    assert_eq!(log.end_of_older(1, now()).unwrap(), 1, "what is missing is not old");
}

#[test]
fn a_file_system_without_room_leaves_what_is_free_in_the_file() {
    let folder = Folder::new();
    let (mut log, _) = folder.open_with(SMALL);
    for _ in 0..5 {
        log.append(&big(), now(), &cursors(1), 1).unwrap();
    }
    drop(log);
    let (mut log, _) = SqliteLog::open(&folder.0, SMALL, u64::MAX).unwrap();
    let full = log.append(&big(), now(), &cursors(1), 1).unwrap_err();
    assert!(matches!(full, StoreError::NoRoom { .. }), "{full:?}");
    // Three chunks are released; their pages take three more.
    for _ in 0..3 {
        log.append(&big(), now(), &cursors(4), 4).unwrap();
    }
    assert!(log.append(&big(), now(), &cursors(4), 4).unwrap_err().is_full());
}

#[test]
fn everything_together_stays_within_the_quota() {
    let folder = Folder::new();
    let (mut log, _) = folder.open_with(SMALL);
    while log.append(&big(), now(), &cursors(1), 1).is_ok() {}
    let size = |name: &str| std::fs::metadata(folder.0.join(name)).map_or(0, |file| file.len());
    let sizes = ["spool.db", "spool.db-wal", "reserve"].map(size);
    assert!(sizes.iter().all(|&size| size > 0), "{sizes:?}");
    assert!(sizes.iter().sum::<u64>() <= SMALL, "{sizes:?}");
}

#[tokio::test]
async fn drop_oldest_keeps_accepting_and_counts_every_reading() {
    const BATCHES: u64 = 100;
    let folder = Folder::new();
    let store = Store::with(&folder, WhenFull::DropOldest, &["a", "b"]);
    for done in 0..BATCHES {
        assert_eq!(store.hand_in(big()).await, Ok(()), "{done}");
        store.cursor("b").release_open(store.spool.status().next);
    }
    let status = store.spool.status();
    assert_eq!(status.next, 1 + BATCHES);
    assert_eq!(status.dropped["b"], Dropped::default(), "it keeps up");
    let Dropped { lag, age, full } = status.dropped["a"];
    assert_eq!((lag, age, full + status.pending["a"]), (0, 0, BATCHES));
    assert_eq!(store.cursor("a").floor(), 1 + full);
    let chunks = store.spool.read(store.cursor("a").next()).await.unwrap();
    assert_eq!(chunks.first().unwrap().base, 1 + full, "what is pending is there");
    store.close();
    let store = Store::with(&folder, WhenFull::DropOldest, &["a", "b"]);
    assert_eq!(store.spool.status().dropped["a"].full, full);
    assert_eq!(store.spool.status().pending["a"], BATCHES - full);
}

#[tokio::test]
async fn a_blocked_batch_is_stored_when_a_broker_releases_and_reads_go_on_meanwhile() {
    let folder = Folder::new();
    let store = Store::with(&folder, WhenFull::Block, &["a"]);
    let mut stored = 0;
    let blocked = loop {
        let mut append = Box::pin(store.hand_in(big()));
        let outcome = tokio::select! {
            outcome = &mut append => Some(outcome),
            () = wait_until_blocked(&store) => None,
        };
        match outcome {
            Some(outcome) => outcome.unwrap(),
            None => break append,
        }
        stored += 1;
    };
    assert!(stored > 5, "{stored}");
    assert!(!store.spool.read(1).await.unwrap().is_empty());
    store.cursor("a").release_open(3);
    assert_eq!(blocked.await, Ok(()));
    assert!(!store.spool.status().blocked);
    assert_eq!(store.spool.status().next, stored + 2);
}

async fn wait_until_blocked(store: &Store) {
    while !store.spool.status().blocked {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_lane_comes_back_with_its_gaps_and_knows_what_of_them_is_saved() {
    let folder = Folder::new();
    let lanes = [lane("a", 1), lane("a/live", 2)];
    let store = Store::open(&folder, POLICY, &lanes);
    store.append(0..10).await.unwrap();
    let live = store.cursor("a/live");
    assert!(live.skip_to(8));
    live.release_open(9);
    live.release_gap(3);
    assert_eq!((live.released_count(), live.saved_count()), (3, 0));
    live.request_save();
    store.settle().await;
    assert_eq!(live.saved_count(), 3);
    let progress = live.progress();
    assert_eq!((progress.gaps().first(), progress.next()), (Some(&(3..8)), 9));
    drop(live);
    store.close();

    let store = Store::open(&folder, POLICY, &lanes);
    assert_eq!(store.cursor("a/live").progress(), progress);
    assert_eq!(store.cursor("a").progress(), Progress::new(1));
    store.close();

    let store = Store::open(&folder, POLICY, &[lane("a", 1)]);
    assert_eq!(store.cursor("a").progress(), Progress::new(1), "the lowest of both lanes");
    store.close();
    let (_, known) = folder.open();
    assert_eq!(known.keys().collect::<Vec<_>>(), ["a"], "the other lane is gone");
}

#[tokio::test]
async fn a_cursor_without_a_broker_is_kept_holds_nothing_back_and_can_be_forgotten() {
    let folder = Folder::new();
    let store = Store::with(&folder, WhenFull::DropNewest, &["gone", "a"]);
    store.append(0..3).await.unwrap();
    store.cursor("a").release_open(4);
    store.close();

    let store = Store::with(&folder, WhenFull::DropNewest, &["a"]);
    // Commits whose cursors replace those that told of the other broker.
    for _ in 0..40 {
        store.hand_in(big()).await.unwrap();
        store.cursor("a").release_open(store.spool.status().next);
    }
    let orphans = std::collections::BTreeMap::from([("gone".to_owned(), 1)]);
    assert_eq!(store.spool.status().orphans, orphans);
    assert!(!store.spool.forget("a").await.unwrap(), "a is configured");
    store.close();

    let store = Store::with(&folder, WhenFull::DropNewest, &["a"]);
    assert_eq!(store.spool.status().orphans, orphans);
    assert!(store.spool.forget("gone").await.unwrap());
    assert!(!store.spool.forget("gone").await.unwrap());
    // Not even a kill brings it back: these are the files as one would leave them.
    let killed = Folder::new();
    for name in ["spool.db", "spool.db-wal"] {
        std::fs::copy(folder.0.join(name), killed.0.join(name)).unwrap();
    }
    assert_eq!(killed.open().1.keys().collect::<Vec<_>>(), ["a"]);
    store.close();
}

#[tokio::test]
async fn dead_letters_are_durable_counted_and_deleted() {
    let folder = Folder::new();
    let store = Store::with(&folder, WhenFull::DropNewest, &["a"]);
    store.spool.bury(vec![letter(1, "x"), letter(2, "y")]).await.unwrap();
    store.close();
    let store = Store::with(&folder, WhenFull::DropNewest, &["a"]);
    store.settle().await;
    assert_eq!(store.spool.status().dead["a"], 2);
    let letters = store.spool.dead(0, 10).await.unwrap().letters;
    assert_eq!(letters[1], DeadLetter { id: 2, ..letter(2, "y") });
    store.spool.unbury(vec![1, 2]).await.unwrap();
    assert!(store.spool.status().dead.is_empty());
}

#[tokio::test]
async fn a_full_store_takes_dead_letters_in_the_room_of_the_reserve() {
    let folder = Folder::new();
    let store = Store::with(&folder, WhenFull::DropNewest, &["a"]);
    while store.hand_in(big()).await.is_ok() {}
    while store.append(0..20).await.is_ok() {}
    assert!(folder.0.join("reserve").exists());
    let mut buried = 0;
    let full = loop {
        match store.spool.bury(vec![letter(buried + 1, &"x".repeat(1000))]).await {
            Ok(()) => buried += 1,
            Err(error) => break error,
        }
        assert!(buried < 1000, "the quota has no effect");
    };
    assert!(buried > 10 && full.is_full(), "{buried}: {full:?}");
    assert!(!folder.0.join("reserve").exists());
    let kept = store.spool.dead(0, 1000).await.unwrap().letters;
    assert_eq!(kept.len() as u64, buried, "what was reported as buried is there");
}

#[tokio::test]
async fn what_is_released_stays_as_long_as_it_is_told_to() {
    let folder = Folder::new();
    let lanes = [Lane::only("a", Limits::default())];
    for (keep, stays) in [(Duration::ZERO, false), (Duration::from_secs(2_000_000), true)] {
        let store = Store::open(&folder, Policy { keep, ..POLICY }, &lanes);
        let first = store.spool.status().next;
        store.append(0..5).await.unwrap();
        store.cursor("a").release_open(first + 5);
        // LATER is more than the 247 seconds that everything stays.
        let (receipt, outcome) = oneshot::channel();
        store.spool.append(batch(5..6), receipt, later()).await;
        outcome.await.unwrap().unwrap();
        let (receipt, outcome) = oneshot::channel();
        store.spool.append(batch(6..7), receipt, later()).await;
        outcome.await.unwrap().unwrap();
        store.close();
        let (log, _) = folder.open();
        let is_there = records(&log, 1).iter().any(|(n, _)| *n == first);
        assert_eq!(is_there, stays, "{keep:?}");
    }
}
