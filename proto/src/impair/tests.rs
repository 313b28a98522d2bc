use super::*;

const BAD: Profile = Profile {
    loss: 0.2,
    duplicate: 0.1,
    corrupt: 0.1,
    truncate: 0.1,
    delay_min: Duration::from_millis(10),
    delay_max: Duration::from_millis(50),
};

/// Sends `count` numbered datagrams of 4 bytes, 1 ms apart, and collects what arrives and when.
fn run(profile: Profile, seed: u64, count: u32) -> (Vec<(Instant, Vec<u8>)>, NetworkStats) {
    let mut network = Network::new(profile, seed);
    let mut now = Instant::ZERO;
    for number in 0..count {
        network.handle_send(now, 'a', 'b', &number.to_be_bytes());
        now = now + Duration::from_millis(1);
    }
    let mut arrived = Vec::new();
    while let Some(at) = network.next_at() {
        while let Some(datagram) = network.poll_delivery(at) {
            assert_eq!((datagram.from, datagram.to), ('a', 'b'));
            arrived.push((at, datagram.bytes));
        }
    }
    (arrived, *network.stats())
}

#[test]
fn the_same_seed_gives_the_same_accidents() {
    assert_eq!(run(BAD, 1, 500), run(BAD, 1, 500));
    assert_ne!(run(BAD, 1, 500).0, run(BAD, 2, 500).0);
}

#[test]
fn a_perfect_network_delivers_everything_at_once_and_in_order() {
    let (arrived, stats) = run(Profile::PERFECT, 1, 100);
    let expected: Vec<_> = (0..100_u32)
        .map(|n| (Instant::from_micros(u64::from(n) * 1000), n.to_be_bytes().to_vec()))
        .collect();
    assert_eq!(arrived, expected);
    assert_eq!((stats.sent, stats.delivered), (100, 100));
}

#[test]
fn accidents_happen_as_often_as_the_profile_says_and_are_counted() {
    let (arrived, stats) = run(BAD, 3, 10_000);
    assert!((1800..2200).contains(&stats.lost), "{stats:?}");
    assert!((700..900).contains(&stats.duplicated), "{stats:?}");
    assert!((750..1000).contains(&stats.corrupted), "{stats:?}");
    assert!((750..1000).contains(&stats.truncated), "{stats:?}");
    assert_eq!(arrived.len() as u64, stats.delivered);
    assert_eq!(stats.delivered, stats.sent - stats.lost + stats.duplicated);
    let short = arrived.iter().filter(|(_, bytes)| bytes.len() < 4).count();
    assert_eq!(short as u64, stats.truncated);
}

#[test]
fn a_corrupted_datagram_differs_in_one_bit() {
    let profile = Profile { corrupt: 1.0, ..Profile::PERFECT };
    let (arrived, _) = run(profile, 4, 100);
    for (number, (_, bytes)) in (0_u32..).zip(arrived) {
        let bytes: [u8; 4] = bytes.try_into().unwrap();
        assert_eq!((u32::from_be_bytes(bytes) ^ number).count_ones(), 1);
    }
}

#[test]
fn delays_stay_in_their_range_and_reorder() {
    let profile =
        Profile { delay_min: BAD.delay_min, delay_max: BAD.delay_max, ..Profile::PERFECT };
    let (arrived, _) = run(profile, 5, 1000);
    let mut overtaken = 0;
    for pair in arrived.windows(2) {
        overtaken += usize::from(pair[0].1 > pair[1].1);
    }
    assert!(overtaken > 100, "{overtaken}");
    for (at, bytes) in arrived {
        let number = u32::from_be_bytes(bytes.try_into().unwrap());
        let delay = at - Instant::from_micros(u64::from(number) * 1000);
        assert!((profile.delay_min..=profile.delay_max).contains(&delay), "{delay:?}");
    }
}

#[test]
fn datagrams_under_way_are_bounded() {
    let profile = Profile { delay_min: Duration::from_secs(1), ..Profile::PERFECT };
    let mut network = Network::new(profile, 6);
    for _ in 0..MAX_IN_FLIGHT + 10 {
        network.handle_send(Instant::ZERO, 1, 2, b"");
    }
    assert_eq!(network.stats().overflowed, 10);
    assert_eq!(network.poll_delivery(Instant::ZERO), None);
}
