//! Replays what the fuzz targets in `fuzz/` have found worth keeping.

#[path = "../../fuzz/checks.rs"]
mod checks;

fn replay(corpus: &str, check: impl Fn(&[u8])) {
    let mut inputs = 0;
    for line in corpus.lines() {
        let byte = |at: usize| u8::from_str_radix(&line[at..at + 2], 16).expect("hexadecimal");
        let input: Vec<u8> = (0..line.len()).step_by(2).map(byte).collect();
        check(&input);
        inputs += 1;
    }
    assert!(inputs > 100, "{inputs} inputs");
}

#[test]
fn coap_messages() {
    replay(include_str!("../../fuzz/corpora/coap_message.hex"), checks::coap_message);
}

#[test]
fn coap_endpoints() {
    replay(include_str!("../../fuzz/corpora/coap_endpoint.hex"), checks::coap_endpoint);
}

#[test]
fn senml_packs() {
    replay(include_str!("../../fuzz/corpora/senml.hex"), checks::senml);
}

#[test]
fn coap_nodes() {
    replay(include_str!("../../fuzz/corpora/coap_node.hex"), checks::coap_node);
}

#[test]
fn sessions_of_the_link_protocol() {
    replay(include_str!("../../fuzz/corpora/link_session.hex"), checks::link_session);
}

#[test]
fn frames_of_the_link_protocol() {
    replay(include_str!("../../fuzz/corpora/link_frame.hex"), checks::link_frame);
}

#[test]
fn links() {
    replay(include_str!("../../fuzz/corpora/link_format.hex"), checks::link_format);
}

#[test]
fn frames() {
    replay(include_str!("../../fuzz/corpora/frames.hex"), checks::frames);
}

#[test]
fn fields() {
    replay(include_str!("../../fuzz/corpora/fields.hex"), checks::fields);
}

#[test]
fn modbus_frames() {
    replay(include_str!("../../fuzz/corpora/modbus.hex"), checks::modbus);
}
