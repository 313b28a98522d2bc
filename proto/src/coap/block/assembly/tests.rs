use alloc::vec;

use super::super::BlockSize;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn block(number: u32, more: bool, szx: u8) -> Block {
    Block { number, more, size: BlockSize::from_exponent(szx).unwrap() }
}

struct Bench {
    assemblies: Assemblies<u16>,
    now: Instant,
}

impl Bench {
    fn new(config: TransferConfig) -> Self {
        Self { assemblies: Assemblies::new(config, Share::default()), now: Instant::ZERO }
    }

    fn receive(&mut self, identity: (u16, u64), block: Block, payload: &[u8]) -> Received {
        self.assemblies.handle_block(self.now, identity, block, None, payload)
    }

    /// A block of 16 bytes with more to come.
    fn part(&mut self, identity: (u16, u64), number: u32) -> Received {
        self.receive(identity, block(number, true, 0), &[7; 16])
    }
}

fn bench() -> Bench {
    Bench::new(TransferConfig::default())
}

/// The block that a 2.31 names.
#[track_caller]
fn partly(received: &Received) -> Block {
    let Received::Partly(response) = received else { panic!("{received:?}") };
    assert_eq!(response.code, Code::CONTINUE);
    Block::of(&response.options, OptionNumber::BLOCK1, BlockSize::MAX).unwrap().unwrap()
}

#[track_caller]
fn refused(received: &Received) -> Code {
    let Received::Refused(response) = received else { panic!("{received:?}") };
    response.code
}

#[test]
fn a_body_is_put_together_in_order() {
    // RFC 7959 §3.2, figure 7: 2.31 with the option of the block.
    let mut bench = bench();
    for number in 0..2 {
        let answer = bench.receive((1, 1), block(number, true, 0), &[7; 16]);
        assert_eq!(partly(&answer), block(number, true, 0));
    }
    let last = bench.receive((1, 1), block(2, false, 0), b"end");
    assert_eq!(last, Received::Wholly([&[7; 32][..], b"end"].concat()));
    assert_eq!(bench.assemblies.usage(), (0, 0));
}

#[test]
fn a_body_of_one_block_is_complete_at_once() {
    let received = bench().receive((1, 1), block(0, false, 6), b"all");
    assert_eq!(received, Received::Wholly(b"all".to_vec()));
}

#[test]
fn the_client_can_change_the_size_when_it_was_asked_to() {
    // RFC 7959 §3.2, figure 8: after 1:0/1/128 and the answer 1:0/1/32 comes 1:4/1/32.
    let config =
        TransferConfig { block_size: BlockSize::from_exponent(1).unwrap(), ..Default::default() };
    let mut bench = Bench::new(config);
    let answer = bench.receive((1, 1), block(0, true, 3), &[1; 128]);
    assert_eq!(partly(&answer), block(0, true, 1));
    let answer = bench.receive((1, 1), block(4, true, 1), &[2; 32]);
    assert_eq!(partly(&answer), block(4, true, 1));
    let Received::Wholly(body) = bench.receive((1, 1), block(5, false, 1), &[3; 8]) else {
        panic!("not complete");
    };
    assert_eq!(body.len(), 168);
}

#[test]
fn a_gap_and_a_missing_beginning_are_incomplete() {
    // RFC 7959 §2.9.2
    let mut bench = bench();
    assert_eq!(refused(&bench.part((1, 1), 1)), Code::REQUEST_ENTITY_INCOMPLETE);
    bench.part((1, 1), 0);
    assert_eq!(refused(&bench.part((1, 1), 2)), Code::REQUEST_ENTITY_INCOMPLETE);
    let last = bench.receive((1, 1), block(3, false, 0), b"!");
    assert_eq!(refused(&last), Code::REQUEST_ENTITY_INCOMPLETE);
    assert_eq!(bench.assemblies.usage(), (1, 16), "a stray block ends nothing");
    partly(&bench.part((1, 1), 1));
    assert_eq!(refused(&bench.part((1, 1), 0xf_ffff)), Code::REQUEST_ENTITY_TOO_LARGE);
}

#[test]
fn a_copy_of_an_earlier_block_is_answered_again_and_another_body_ends_the_transfer() {
    let mut bench = bench();
    for number in 0..4 {
        bench.part((1, 1), number);
    }
    for number in [3, 1, 2] {
        assert_eq!(partly(&bench.part((1, 1), number)), block(number, true, 0));
        assert_eq!(bench.assemblies.usage(), (1, 64));
    }
    // The same bytes, as one block of twice the size.
    let larger = bench.receive((1, 1), block(1, true, 1), &[7; 32]);
    assert_eq!(partly(&larger), block(1, true, 1));
    for (number, more, payload) in [(2, true, &[8; 16][..]), (2, false, &[7; 16])] {
        let mut bench = bench_with_four_blocks();
        let other = bench.receive((1, 1), block(number, more, 0), payload);
        assert_eq!(refused(&other), Code::REQUEST_ENTITY_INCOMPLETE, "{more}");
        assert_eq!(bench.assemblies.usage(), (0, 0));
    }
}

fn bench_with_four_blocks() -> Bench {
    let mut bench = bench();
    (0..4).for_each(|number| drop(bench.part((1, 1), number)));
    bench
}

#[test]
fn numbers_and_sizes_at_their_ends_are_refused_and_take_nothing() {
    // RFC 7959 §2.2: 20 bits of number, up to 1024 bytes: 1 GiB.
    let mut bench = bench();
    for size in 0..=6 {
        for number in [0xf_ffff, 0xf_fffe, 0x8_0000] {
            for more in [true, false] {
                let full = vec![0; 16 << size];
                let code = refused(&bench.receive((1, 1), block(number, more, size), &full));
                let limit = number as usize * (16 << size) + full.len() > 1 << 20;
                let expected = match limit {
                    true => Code::REQUEST_ENTITY_TOO_LARGE,
                    false => Code::REQUEST_ENTITY_INCOMPLETE,
                };
                assert_eq!(code, expected, "{number} {size}");
                assert_eq!(bench.assemblies.usage(), (0, 0));
            }
        }
    }
}

#[test]
fn the_first_block_starts_over() {
    let mut bench = bench();
    bench.part((1, 1), 0);
    bench.part((1, 1), 1);
    bench.part((1, 1), 0);
    assert_eq!(bench.assemblies.usage(), (1, 16));
    let done = bench.receive((1, 1), block(1, false, 0), b"!");
    assert_eq!(done, Received::Wholly([&[7; 16][..], b"!"].concat()));
}

#[test]
fn transfers_of_different_requests_do_not_mix() {
    // RFC 7959 §2.5, RFC 9175 §3.3: the request tag is in the second number.
    let mut bench = bench();
    for identity in [(1, 1), (1, 2), (2, 1)] {
        bench.part(identity, 0);
    }
    assert_eq!(bench.assemblies.usage(), (3, 48));
    let done = bench.receive((1, 2), block(1, false, 0), b"!");
    assert!(matches!(done, Received::Wholly(body) if body.len() == 17));
    assert_eq!(bench.assemblies.usage(), (2, 32));
}

#[test]
fn a_block_has_the_size_that_it_says() {
    // RFC 7959 §2.3
    let mut bench = bench();
    for (more, len) in [(true, 15), (true, 17), (true, 0), (false, 17)] {
        let received = bench.receive((1, 1), block(0, more, 0), &vec![0; len]);
        assert_eq!(refused(&received), Code::BAD_REQUEST, "{more} {len}");
    }
}

#[test]
fn a_body_over_the_limit_gets_413_with_the_limit() {
    // RFC 7959 §2.9.3, §4
    let mut bench = Bench::new(TransferConfig { max_body: 40, ..Default::default() });
    bench.part((1, 1), 0);
    bench.part((1, 1), 1);
    let received = bench.part((1, 1), 2);
    let Received::Refused(response) = received else { panic!("{received:?}") };
    assert_eq!(response, Response::new(Code::REQUEST_ENTITY_TOO_LARGE).size1(40));
    assert_eq!(bench.assemblies.usage(), (0, 0));
    let block = block(0, true, 0);
    let announced = bench.assemblies.handle_block(bench.now, (1, 1), block, Some(41), &[7; 16]);
    assert_eq!(refused(&announced), Code::REQUEST_ENTITY_TOO_LARGE, "announced by Size1");
}

#[test]
fn a_stalled_transfer_gives_way_and_one_under_way_does_not() {
    let mut bench = Bench::new(TransferConfig { max_transfers: 2, ..Default::default() });
    bench.part((1, 1), 0);
    bench.part((2, 1), 0);
    let received = bench.part((3, 1), 0);
    let Received::Refused(response) = received else { panic!("{received:?}") };
    assert_eq!(response, Response::new(Code::SERVICE_UNAVAILABLE).max_age(10));
    bench.now = bench.now + 44 * SECOND;
    bench.part((1, 1), 1);
    bench.now = bench.now + SECOND;
    partly(&bench.part((3, 1), 0));
    partly(&bench.part((1, 1), 2));
    assert_eq!(refused(&bench.part((2, 1), 1)), Code::REQUEST_ENTITY_INCOMPLETE);
}

#[test]
fn a_peer_gives_way_to_itself() {
    let mut bench = Bench::new(TransferConfig { max_transfers_per_peer: 2, ..Default::default() });
    bench.part((1, 1), 0);
    bench.now = bench.now + SECOND;
    bench.part((1, 2), 0);
    bench.now = bench.now + SECOND;
    bench.part((1, 1), 1);
    bench.part((1, 3), 0);
    partly(&bench.part((1, 1), 2));
    assert_eq!(refused(&bench.part((1, 2), 1)), Code::REQUEST_ENTITY_INCOMPLETE);
}

#[test]
fn all_bodies_together_have_a_limit() {
    let mut bench = Bench::new(TransferConfig { max_bytes: 40, ..Default::default() });
    bench.part((1, 1), 0);
    bench.part((2, 1), 0);
    assert_eq!(refused(&bench.part((3, 1), 0)), Code::SERVICE_UNAVAILABLE);
    assert_eq!(refused(&bench.part((1, 1), 1)), Code::SERVICE_UNAVAILABLE);
    assert_eq!(bench.assemblies.usage(), (1, 16));
}

#[test]
fn a_transfer_is_forgotten_a_lifetime_after_its_last_block() {
    // RFC 7959 §2.5
    let mut bench = bench();
    bench.part((1, 1), 0);
    bench.now = bench.now + 100 * SECOND;
    bench.part((1, 1), 1);
    assert_eq!(bench.assemblies.next_at(), Some(Instant::ZERO + 347 * SECOND));
    assert_eq!(bench.assemblies.handle_timeout(Instant::ZERO + 346 * SECOND), 0);
    assert_eq!(bench.assemblies.handle_timeout(Instant::ZERO + 347 * SECOND), 1);
    assert_eq!((bench.assemblies.usage(), bench.assemblies.next_at()), ((0, 0), None));
}

#[test]
fn a_flood_of_first_blocks_stays_within_the_limits() {
    let config = TransferConfig { max_transfers: 20, max_bytes: 300, ..Default::default() };
    let mut bench = Bench::new(config);
    for peer in 0..1000 {
        bench.now = bench.now + SECOND;
        bench.part((peer % 50, peer.into()), 0);
        let (transfers, bytes) = bench.assemblies.usage();
        assert!(transfers <= 20 && bytes <= 300);
    }
}
