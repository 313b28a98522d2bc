//! Block-wise transfers (RFC 7959).

use super::*;
use alloc::vec;

use crate::coap::DownloadFault;

fn get() -> Request {
    Request::new(Method::Get).path("status")
}

fn put(number: u32, more: bool, len: usize, payload: &[u8]) -> Request {
    let put = Request::new(Method::Put).path("options").payload(payload);
    with(put, OptionNumber::BLOCK1, block(number, more, len))
}

fn small(bytes: usize) -> TransferConfig {
    TransferConfig { block_size: BlockSize::fitting(bytes).unwrap(), ..Default::default() }
}

#[test]
fn a_server_cuts_a_large_response_into_blocks() {
    // RFC 7959 §3.1, figure 2: 2:0/1/128, 2:1/1/128, 2:2/0/128.
    let mut bench = Bench::with_transfer(small(128));
    let (ask, _) = bench.asked(b"a", &get());
    let first = bench.respond(ask, content(body(300)));
    assert_eq!(
        (first.code, first.block(OptionNumber::BLOCK2)),
        (Code::CONTENT, Some((0, true, 128)))
    );
    assert_eq!(first.options.first_uint(OptionNumber::SIZE2), Some(300));
    let mut received = first.payload.clone();
    for (number, more) in [(1, true), (2, false)] {
        let next = with(get(), OptionNumber::BLOCK2, block(number, false, 128));
        let part = bench.answered(b"b", &next);
        assert_eq!(part.block(OptionNumber::BLOCK2), Some((number, more, 128)));
        assert_eq!(part.options.etag(), first.options.etag());
        received.extend(part.payload);
    }
    assert_eq!(received, body(300));
}

#[test]
fn a_client_can_ask_for_smaller_blocks_early_and_late() {
    // RFC 7959 §3.1, figure 3: early, 2:0/0/64. Figure 4: late, after 2:0/1/128 comes 2:2/0/64.
    let mut bench = Bench::with_transfer(small(128));
    let early = with(get(), OptionNumber::BLOCK2, block(0, false, 64));
    let (ask, _) = bench.asked(b"a", &early);
    let first = bench.respond(ask, content(body(300)));
    assert_eq!(first.block(OptionNumber::BLOCK2), Some((0, true, 64)));
    let (ask, _) = bench.asked(b"b", &get());
    bench.respond(ask, content(body(300)));
    let late = bench.answered(b"c", &with(get(), OptionNumber::BLOCK2, block(2, false, 64)));
    assert_eq!(late.block(OptionNumber::BLOCK2), Some((2, true, 64)));
    assert_eq!(late.payload, &body(300)[128..192]);
    // A larger one than the server sends becomes smaller: 0/1024 to 0/128.
    let larger = with(get(), OptionNumber::BLOCK2, block(0, false, 1024));
    let (ask, _) = bench.asked(b"d", &larger);
    assert_eq!(
        bench.respond(ask, content(body(300))).block(OptionNumber::BLOCK2),
        Some((0, true, 128))
    );
}

#[test]
fn a_block_of_a_response_that_is_not_kept_is_cut_from_a_new_one() {
    // RFC 7959 §2.4: random access, without state in the server.
    let mut bench = Bench::with_transfer(small(64));
    let random = with(get(), OptionNumber::BLOCK2, block(3, false, 64));
    let (ask, request) = bench.asked(b"a", &random);
    assert_eq!(request.options.first(OptionNumber::BLOCK2), None);
    let part = bench.respond(ask, content(body(300)));
    assert_eq!(part.block(OptionNumber::BLOCK2), Some((3, true, 64)));
    assert_eq!(part.payload, &body(300)[192..256]);
    let beyond = with(get(), OptionNumber::BLOCK2, block(0xf_ffff, false, 64));
    let (ask, _) = bench.asked(b"b", &beyond);
    assert_eq!(bench.respond(ask, content(body(300))).code, Code::BAD_REQUEST);
}

#[test]
fn what_a_post_answered_is_served_from_what_is_kept_or_not_at_all() {
    // RFC 7959 §2.7: the rest of a response is asked for without the body of the request.
    let mut bench = Bench::with_transfer(TransferConfig { max_transfers: 1, ..small(64) });
    let post = Request::new(Method::Post).path("soap");
    let rest = with(post.clone(), OptionNumber::BLOCK2, block(1, false, 64));
    let (ask, _) = bench.asked(b"a", &post.clone().payload("question"));
    bench.respond(ask, content(body(100)));
    let part = bench.answered(b"b", &rest);
    assert_eq!(part.payload, &body(100)[64..]);
    let (ask, _) = bench.asked(b"c", &Request::new(Method::Post).path("other"));
    bench.respond(ask, content(body(100)));
    assert_eq!(bench.answered(b"d", &rest).code, Code::REQUEST_ENTITY_INCOMPLETE);
}

#[test]
fn a_reserved_size_is_a_bad_request() {
    // RFC 7959 §2.2: SZX 7.
    let mut bench = Bench::with_transfer(small(64));
    for option in [OptionNumber::BLOCK1, OptionNumber::BLOCK2] {
        assert_eq!(bench.answered(b"a", &with(get(), option, 7)).code, Code::BAD_REQUEST);
    }
    // RFC 7959 §2.1: 0 to 3 bytes. Longer is not as defined, so not recognised (RFC 7252 §5.4.3).
    let long = get().option(OptionNumber::BLOCK2, &[0, 0, 0, 6]);
    assert_eq!(bench.answered(b"a", &long).code, Code::BAD_OPTION);
}

#[test]
fn a_server_collects_the_body_of_a_request() {
    // RFC 7959 §3.2, figure 7: 2.31 with 1:0/1/128 and 1:1/1/128, 2.04 with 1:2/0/128.
    let mut bench = Bench::with_transfer(small(128));
    let all = body(300);
    for number in 0..2 {
        let from = number as usize * 128;
        let part = put(number, true, 128, &all[from..from + 128]);
        let answer = bench.answered(b"a", &part);
        assert_eq!((answer.code, answer.kind), (Code::CONTINUE, ACK));
        assert_eq!(answer.block(OptionNumber::BLOCK1), Some((number, true, 128)));
    }
    let (ask, request) = bench.asked(b"a", &put(2, false, 128, &all[256..]));
    assert_eq!(request, Request::new(Method::Put).path("options").payload(all));
    let answer = bench.respond(ask, Response::new(Code::CHANGED));
    assert_eq!(answer.code, Code::CHANGED);
    assert_eq!(answer.block(OptionNumber::BLOCK1), Some((2, false, 128)));
    assert_eq!(bench.node.server_stats().transfers_completed, 1);
}

#[test]
fn a_large_request_can_have_a_large_response() {
    // RFC 7959 §3.3, figure 11: the response to the last block is the first of the response.
    let mut bench = Bench::with_transfer(small(64));
    bench.answered(b"a", &put(0, true, 64, &body(64)));
    let (ask, _) = bench.asked(b"a", &put(1, false, 64, b"end"));
    let answer = bench.respond(ask, Response::new(Code::CHANGED).payload(body(100)));
    assert_eq!(answer.block(OptionNumber::BLOCK1), Some((1, false, 64)));
    assert_eq!(answer.block(OptionNumber::BLOCK2), Some((0, true, 64)));
    let rest = Request::new(Method::Put).path("options");
    let rest = with(rest, OptionNumber::BLOCK2, block(1, false, 64));
    let answer = bench.answered(b"a", &rest);
    assert_eq!(answer.payload, &body(100)[64..]);
    assert_eq!(answer.block(OptionNumber::BLOCK1), None);
}

#[test]
fn requests_with_different_tags_do_not_mix() {
    // RFC 9175 §3.3
    let mut bench = Bench::with_transfer(small(64));
    let tagged = |tag: &[u8], request: Request| request.option(OptionNumber::REQUEST_TAG, tag);
    bench.answered(b"a", &tagged(b"1", put(0, true, 64, &[1; 64])));
    bench.answered(b"a", &tagged(b"2", put(0, true, 64, &[2; 64])));
    let (_ask, request) = bench.asked(b"a", &tagged(b"1", put(1, false, 64, b"!")));
    assert_eq!(request.payload, [&[1; 64][..], b"!"].concat());
    let stray = tagged(b"3", put(1, false, 64, b"!"));
    assert_eq!(bench.answered(b"a", &stray).code, Code::REQUEST_ENTITY_INCOMPLETE);
}

#[test]
fn a_retransmitted_last_block_is_answered_again_and_not_executed() {
    // RFC 7252 §4.5
    let mut bench = Bench::with_transfer(small(64));
    bench.answered(b"a", &put(0, true, 64, &body(64)));
    let (ask, _) = bench.asked(b"a", &put(1, false, 64, b"end"));
    let answer = bench.respond(ask, Response::new(Code::CHANGED));
    bench.next_id -= 1;
    assert_eq!(bench.answered(b"a", &put(1, false, 64, b"end")), answer);
    // With another message id it is the end of a body of which the server has nothing.
    let stray = bench.answered(b"a", &put(1, false, 64, b"end"));
    assert_eq!(stray.code, Code::REQUEST_ENTITY_INCOMPLETE);
}

#[test]
fn a_body_over_the_limit_is_refused_whether_in_blocks_or_not() {
    // RFC 7959 §2.9.3
    let mut bench = Bench::with_transfer(TransferConfig { max_body: 100, ..small(64) });
    let plain = Request::new(Method::Put).path("options").payload(body(101));
    let announced = with(put(0, true, 64, &body(64)), OptionNumber::SIZE1, 101);
    for request in [plain, announced] {
        let answer = bench.answered(b"a", &request);
        assert_eq!(answer.code, Code::REQUEST_ENTITY_TOO_LARGE);
        assert_eq!(answer.options.first_uint(OptionNumber::SIZE1), Some(100));
    }
}

#[test]
fn blocks_fit_the_message_whatever_the_options_take() {
    let mut bench = Bench::with_transfer(TransferConfig::default());
    let (ask, _) = bench.asked(b"a", &get());
    let wide = content(body(3000)).location_path(&"x".repeat(250));
    let first = bench.respond(ask, wide);
    assert_eq!(first.block(OptionNumber::BLOCK2), Some((0, true, 512)));
    bench.node.request(bench.now, PEER, get().query(&"x".repeat(250)).payload(body(1024))).unwrap();
    let sent = only(bench.drain().0);
    assert_eq!(sent.block(OptionNumber::BLOCK1), Some((0, true, 512)));
}

#[test]
fn a_client_sends_a_large_body_in_blocks_and_fetches_a_large_response() {
    // RFC 7959 §3.3, figure 11
    let mut bench = Bench::with_transfer(small(64));
    let post = Request::new(Method::Post).path("soap").payload(body(100));
    let call = bench.node.request(bench.now, PEER, post).unwrap();
    let first = only(bench.drain().0);
    assert_eq!(first.block(OptionNumber::BLOCK1), Some((0, true, 64)));
    assert_eq!(first.options.first_uint(OptionNumber::SIZE1), Some(100));
    assert!(first.options.first(OptionNumber::REQUEST_TAG).is_some());
    let mut answer = Response::new(Code::CONTINUE);
    answer.options.push_uint(OptionNumber::BLOCK1, block(0, true, 64));
    let second = only(bench.reply(&first, &answer).0);
    assert_eq!(second.block(OptionNumber::BLOCK1), Some((1, false, 64)));
    assert_eq!(second.payload, &body(100)[64..]);
    assert_eq!(
        second.options.first(OptionNumber::REQUEST_TAG),
        first.options.first(OptionNumber::REQUEST_TAG)
    );
    let mut answer = Response::new(Code::CHANGED).payload([1; 64]);
    answer.options.push_uint(OptionNumber::BLOCK1, block(1, false, 64));
    answer.options.push_uint(OptionNumber::BLOCK2, block(0, true, 64));
    let third = only(bench.reply(&second, &answer).0);
    assert_eq!(third.block(OptionNumber::BLOCK2), Some((1, false, 64)));
    assert_eq!((third.block(OptionNumber::BLOCK1), &*third.payload), (None, &b""[..]));
    let mut answer = Response::new(Code::CHANGED).payload([2; 6]);
    answer.options.push_uint(OptionNumber::BLOCK2, block(1, false, 64));
    let (sent, events) = bench.reply(&third, &answer);
    assert_eq!(sent, []);
    let NodeEvent::Call(CallEvent::Response { call: ended, response, .. }) = only(events) else {
        panic!("no response");
    };
    assert_eq!((ended, response.payload), (call, [&[1; 64][..], &[2; 6]].concat()));
    assert_eq!(bench.node.client.usage(), (0, 0, 0));
}

#[test]
fn a_413_with_a_size_makes_an_upload_of_a_body_in_one_message() {
    // RFC 7959 §2.9.3
    let mut bench = Bench::with_transfer(TransferConfig::default());
    bench.node.request(bench.now, PEER, get().payload(body(100))).unwrap();
    let whole = only(bench.drain().0);
    let mut hint = Response::new(Code::REQUEST_ENTITY_TOO_LARGE);
    hint.options.push_uint(OptionNumber::BLOCK1, block(0, true, 32));
    let first = only(bench.reply(&whole, &hint).0);
    assert_eq!((first.block(OptionNumber::BLOCK1), first.payload.len()), (Some((0, true, 32)), 32));
}

#[test]
fn an_upload_has_arrived_when_its_last_block_is_acknowledged() {
    // RFC 7252 §5.2.2, RFC 7959 §2.5
    let mut bench = Bench::with_transfer(small(64));
    let put = Request::new(Method::Put).path("options").payload(body(100));
    let call = bench.node.request(bench.now, PEER, put).unwrap();
    let first = only(bench.drain().0);
    let empty = |sent: &Sent| encode::empty(ACK, sent.message_id);
    assert_eq!(bench.receive(&empty(&first)), (vec![], vec![]), "there is more to send");
    let mut answer = Response::new(Code::CONTINUE);
    answer.options.push_uint(OptionNumber::BLOCK1, block(0, true, 64));
    let (code, token) = (answer.code, first.token);
    let separate = encode::message(NON, code, 9, token, &answer.options, b"", 100).unwrap();
    let last = only(bench.receive(&separate).0);
    let arrived = NodeEvent::Call(CallEvent::Acknowledged { call });
    assert_eq!(bench.receive(&empty(&last)), (vec![], vec![arrived]));
}

/// A first block of a response, then what the node sends next.
fn download(bench: &mut Bench, request: Request, etag: u8) -> Sent {
    bench.node.request(bench.now, PEER, request).unwrap();
    let first = only(bench.drain().0);
    only(bench.reply(&first, &part(0, true, etag)).0)
}

fn part(number: u32, more: bool, etag: u8) -> Response {
    let mut response = content([etag; 64]).option(OptionNumber::ETAG, &[etag]);
    response.options.push_uint(OptionNumber::BLOCK2, block(number, more, 64));
    response
}

#[test]
fn a_representation_that_changes_is_fetched_anew_and_given_up_after_a_while() {
    // RFC 7959 §2.4
    let mut bench = Bench::with_transfer(TransferConfig::default());
    let mut second = download(&mut bench, get(), 1);
    for etag in 2..5 {
        let again = only(bench.reply(&second, &part(1, false, etag)).0);
        assert_eq!(again.block(OptionNumber::BLOCK2), None, "from the beginning");
        second = only(bench.reply(&again, &part(0, true, etag)).0);
    }
    let (_, events) = bench.reply(&second, &part(1, false, 9));
    let NodeEvent::Call(CallEvent::Failed { error, .. }) = only(events) else { panic!("no end") };
    assert_eq!(error, crate::coap::CallError::Changed);
}

#[test]
fn what_a_post_answered_is_not_asked_for_again() {
    let mut bench = Bench::with_transfer(TransferConfig::default());
    let second = download(&mut bench, Request::new(Method::Post), 1);
    let (sent, events) = bench.reply(&second, &part(1, false, 2));
    assert_eq!(sent, [], "a POST is not executed twice");
    let NodeEvent::Call(CallEvent::Failed { error, .. }) = only(events) else { panic!("no end") };
    assert_eq!(error, crate::coap::CallError::Changed);
}

#[test]
fn a_body_over_the_clients_limit_ends_the_call() {
    let mut bench = Bench::with_transfer(TransferConfig { max_body: 100, ..Default::default() });
    let second = download(&mut bench, get(), 1);
    let (_, events) = bench.reply(&second, &part(1, true, 1));
    let NodeEvent::Call(CallEvent::Failed { error, .. }) = only(events) else { panic!("no end") };
    assert_eq!(error, DownloadFault::TooLarge { limit: 100 }.into());
}

#[test]
fn bodies_that_a_client_fetches_at_the_same_time_share_a_limit() {
    let client = TransferConfig { max_bytes: 130, ..Default::default() };
    let endpoint = EndpointConfig { nstart: 2, ..Default::default() };
    let mut bench = Bench::new(NodeConfig { endpoint, client, ..Default::default() });
    let second = download(&mut bench, get(), 1);
    let third = only(bench.reply(&second, &part(1, true, 1)).0);
    // There are 128 bytes, and 64 more would be too many.
    bench.node.request(bench.now, PEER, get()).unwrap();
    let other = only(bench.drain().0);
    let (_, events) = bench.reply(&other, &part(0, true, 2));
    let NodeEvent::Call(CallEvent::Failed { error, .. }) = only(events) else { panic!("no end") };
    assert_eq!(error, DownloadFault::NoRoom.into());
    let (_, events) = bench.reply(&third, &part(2, false, 1));
    assert!(matches!(only(events), NodeEvent::Call(CallEvent::Response { .. })));
    // There is room again.
    download(&mut bench, get(), 3);
}

#[test]
fn a_request_for_a_block_is_left_alone() {
    // RFC 7959 §2.4: random access by the caller.
    let mut bench = Bench::with_transfer(TransferConfig::default());
    let random = with(get(), OptionNumber::BLOCK2, block(3, false, 64));
    bench.node.request(bench.now, PEER, random).unwrap();
    let sent = only(bench.drain().0);
    assert_eq!(sent.block(OptionNumber::BLOCK2), Some((3, false, 64)));
    let (_, events) = bench.reply(&sent, &part(3, true, 1));
    let NodeEvent::Call(CallEvent::Response { response, .. }) = only(events) else {
        panic!("no response");
    };
    assert_eq!(response, part(3, true, 1));
}

#[test]
fn a_client_with_small_blocks_asks_for_them_from_the_beginning() {
    // RFC 7959 §3.1, figure 3
    let mut bench = Bench::with_transfer(small(64));
    bench.node.request(bench.now, PEER, get()).unwrap();
    assert_eq!(only(bench.drain().0).block(OptionNumber::BLOCK2), Some((0, false, 64)));
}
