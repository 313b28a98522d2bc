use proptest::prelude::*;

use super::*;

#[test]
fn values_are_those_of_the_rfc() {
    // RFC 7959 §2.2, §3: NUM/M/size, of which 4/1/32 is 4·16 + 8 + 1.
    let block = |number, more, szx| Block { number, more, size: BlockSize(szx) };
    for (value, expected) in [
        (0, block(0, false, 0)),
        (0x06, block(0, false, 6)),
        (0x0e, block(0, true, 6)),
        (0x49, block(4, true, 1)),
        (0xff_fffe, block(0xf_ffff, true, 6)),
    ] {
        assert_eq!(Block::decode(value, BlockSize::MAX), Ok(expected));
        assert_eq!(expected.encode(), value);
    }
    assert_eq!(BlockSize::MAX.bytes(), 1024);
    assert_eq!(BlockSize::MIN.bytes(), 16);
}

#[test]
fn sizes_fit_what_they_are_for() {
    assert_eq!(BlockSize::fitting(15), None);
    assert_eq!(BlockSize::fitting(16), Some(BlockSize::MIN));
    assert_eq!(BlockSize::fitting(1023).map(BlockSize::bytes), Some(512));
    assert_eq!(BlockSize::fitting(usize::MAX), Some(BlockSize::MAX));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_value_is_a_block_or_a_fault(bytes in prop::collection::vec(any::<u8>(), 0..6)) {
        // RFC 7959 §2.2: up to three bytes, SZX 7 is reserved.
        let mut options = Options::new();
        options.push(OptionNumber::BLOCK1, &bytes);
        let value = bytes.iter().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
        match Block::of(&options, OptionNumber::BLOCK1, BlockSize::MAX) {
            Ok(block) => {
                let block = block.unwrap();
                prop_assert_eq!(u64::from(block.encode()), value);
                prop_assert!(block.number <= MAX_NUMBER);
                prop_assert_eq!(Block::at(block.offset(), block.more, block.size), Some(block));
            }
            Err(BlockFault::ReservedSize) => prop_assert_eq!(value & 7, 7),
            Err(BlockFault::Number) => prop_assert!(value >= 1 << 24),
        }
    }

    #[test]
    fn slices_put_together_are_the_body(
        len in 0..3000_usize,
        szx in 0..=6_u8,
    ) {
        let body: alloc::vec::Vec<_> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let response = Response::new(Code::CONTENT).payload(body.clone());
        let size = BlockSize(szx);
        let mut together = alloc::vec::Vec::<u8>::new();
        let mut etag = None;
        for number in 0.. {
            let part = slice(&response, Block { number, more: false, size }, Portion::of(BlockSize::MAX));
            let block = Block::of(&part.options, OptionNumber::BLOCK2, size).unwrap().unwrap();
            together.extend_from_slice(&part.payload);
            prop_assert_eq!((block.number, block.size), (number, size));
            prop_assert_eq!(block.more, together.len() < len);
            prop_assert!(number == 0 || part.options.etag() == etag);
            etag = part.options.etag();
            if !block.more {
                break;
            }
            prop_assert!(etag.is_some() && part.payload.len() == size.bytes());
        }
        prop_assert_eq!(together, body);
    }
}

#[test]
fn a_slice_has_the_options_of_the_whole_and_the_first_one_its_size() {
    // RFC 7959 §2.4, §4; RFC 7641 §2: Observe is for notifications.
    let mut response = Response::new(Code::CONTENT).content_format(50).payload([7; 40]);
    response.options.push_uint(OptionNumber::OBSERVE, 9);
    let small = |number| Block { number, more: false, size: BlockSize::MIN };
    let part = |number| slice(&response, small(number), Portion::of(BlockSize::MAX));
    let (first, last) = (part(0), part(2));
    assert_eq!(first.options.first_uint(OptionNumber::SIZE2), Some(40));
    assert_eq!(first.options.first_uint(OptionNumber::OBSERVE), Some(9));
    assert_eq!((last.payload.len(), last.options.content_format()), (8, Some(50)));
    assert_eq!(last.options.first(OptionNumber::OBSERVE), None);
    assert_eq!(part(3).code, Code::BAD_REQUEST, "beyond the end");
    assert_eq!(part(0xf_ffff).code, Code::BAD_REQUEST);
}

#[test]
fn an_entity_tag_of_the_server_stays() {
    let etag = ETag::new(b"v1").unwrap();
    let response = Response::new(Code::CONTENT).etag(etag).payload([7; 40]);
    let part = slice(&response, Block::first(BlockSize::MIN), Portion::of(BlockSize::MAX));
    assert_eq!(part.options.all(OptionNumber::ETAG).collect::<alloc::vec::Vec<_>>(), [&*etag]);
}
