//! What was answered with 202 is on disk.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::config;
use crate::harness::clock::{pace, wait_until};
use crate::harness::gateway::Gateway;
use crate::harness::http::{HttpClient, ask};
use crate::harness::sim::Recorder;

#[test]
fn what_was_accepted_survives_kill_9() {
    const CLIENTS: u64 = 8;
    const KILLS: usize = 6;
    let broker = Recorder::start();
    broker.down();
    let mut gateway = Gateway::start(&config("", "", &broker.url()));
    let address = Mutex::new(gateway.address("web"));
    let accepted = Mutex::new(BTreeSet::new());
    let (next, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let to = *address.lock().unwrap();
                    let Ok(mut client) = HttpClient::connect(to) else {
                        pace();
                        continue;
                    };
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let answer = client.ask("PUT /r/d/t", number.to_string().as_bytes());
                        if !answer.is_ok_and(|answer| answer.status == 202) {
                            break;
                        }
                        accepted.lock().unwrap().insert(number);
                        if is_over.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                }
            });
        }
        for kill in 0..KILLS {
            let before = accepted.lock().unwrap().len();
            wait_until("readings to be accepted", || accepted.lock().unwrap().len() > before + 40);
            if kill == KILLS / 2 {
                // From now on some of them are with the broker already.
                broker.up();
            }
            gateway.kill();
            gateway.launch();
            gateway.wait_until_up();
            *address.lock().unwrap() = gateway.address("web");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    wait_until("everything to be delivered", || gateway.count("/store/pending/sim") == 0);
    let arrived: BTreeSet<_> =
        broker.readings().into_iter().filter_map(|reading| reading.value.as_u64()).collect();
    let accepted = accepted.into_inner().unwrap();
    let lost: Vec<_> = accepted.difference(&arrived).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), accepted.len());
}

#[test]
fn a_full_store_says_when_to_try_again_and_takes_readings_again() {
    let broker = Recorder::start();
    broker.down();
    let gateway = Gateway::start(&config("", "[store]\nquota = \"1MiB\"", &broker.url()));
    let web = gateway.address("web");
    let text = vec![b'x'; 50_000];
    let post = || ask(web, "PUT /r/d/t", &text);
    let mut refused = post();
    for _ in 0..100 {
        if refused.status != 202 {
            break;
        }
        refused = post();
    }
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("30")), "{refused:?}");
    assert!(refused.json()["error"].as_str().unwrap().contains("full"), "{refused:?}");
    assert_eq!(gateway.count("/sources/web/refused/not_stored/count"), 1);
    broker.up();
    wait_until("readings to be taken again", || post().status == 202);
}
