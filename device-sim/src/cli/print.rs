//! Received messages as lines on standard output.
//!
//! Lines are written whole, so that those of others may stand between them. A thread of its own
//! writes them, so that a reader who stops reading slows the publishers down
//! but does not keep the program from ending.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::thread;

use device_sim::broker::{Properties, Recorded};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

/// Messages that wait for being written.
const MAX_WAITING: usize = 1024;
/// Messages that are written at once.
const BATCH: usize = 256;

/// How a message becomes a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Topic, space, payload; a payload that is no plain text as `0x` and hexadecimal digits.
    Text,
    /// One object.
    Json,
}

/// Resolves when everything was printed and the sender is gone, or earlier when standard output was
/// closed.
pub(super) type Printed = oneshot::Receiver<io::Result<()>>;

/// Starts to print.
pub(super) fn start(format: Format) -> io::Result<(mpsc::Sender<Recorded>, Printed)> {
    let (sender, messages) = mpsc::channel(MAX_WAITING);
    let (end, ended) = oneshot::channel();
    thread::Builder::new().name("print".to_owned()).spawn(move || {
        // Nobody listens any more when the program is ending.
        let _ = end.send(print(messages, format, io::stdout()));
    })?;
    Ok((sender, ended))
}

fn print(
    mut messages: mpsc::Receiver<Recorded>,
    format: Format,
    mut output: impl Write,
) -> io::Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    while messages.blocking_recv_many(&mut batch, BATCH) > 0 {
        let mut text = String::new();
        for message in batch.drain(..) {
            match format {
                Format::Text => push_text(&mut text, &message),
                Format::Json => text.push_str(&serde_json::to_string(&Line::from(&message))?),
            }
            text.push('\n');
        }
        let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(error),
            Ok(()) => {}
        }
    }
    Ok(())
}

fn push_text(line: &mut String, message: &Recorded) {
    for character in message.topic.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line.push(' ');
    match std::str::from_utf8(&message.payload) {
        Ok(text) if !text.chars().any(char::is_control) => line.push_str(text),
        Ok(_) | Err(_) => {
            line.push_str("0x");
            line.push_str(&hex(&message.payload));
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    order: u64,
    /// Microseconds since the broker started.
    at_us: u64,
    client: &'a str,
    topic: &'a str,
    qos: u8,
    retain: bool,
    dup: bool,
    will: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic_alias: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<PropertiesLine<'a>>,
}

/// What an MQTT 5 publisher said about the message.
#[derive(Serialize)]
struct PropertiesLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_format: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_expiry: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_data_hex: Option<String>,
    /// Pairs, because a name may be there twice.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    user: &'a [(String, String)],
}

impl<'a> From<&'a Properties> for PropertiesLine<'a> {
    fn from(properties: &'a Properties) -> Self {
        Self {
            payload_format: properties.payload_format,
            message_expiry: properties.message_expiry,
            content_type: properties.content_type.as_deref(),
            response_topic: properties.response_topic.as_deref(),
            correlation_data_hex: properties.correlation_data.as_deref().map(hex),
            user: &properties.user,
        }
    }
}

impl<'a> From<&'a Recorded> for Line<'a> {
    fn from(message: &'a Recorded) -> Self {
        let payload = std::str::from_utf8(&message.payload).ok();
        Self {
            order: message.order,
            at_us: message.at.as_micros(),
            client: &message.client,
            topic: &message.topic,
            qos: message.qos as u8,
            retain: message.retain,
            dup: message.dup,
            will: message.will,
            payload,
            payload_hex: payload.is_none().then(|| hex(&message.payload)),
            topic_alias: message.topic_alias,
            properties: message.properties.as_deref().map(PropertiesLine::from),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use device_sim::broker::QoS;

    fn message(topic: &str, payload: &'static [u8]) -> Recorded {
        Recorded {
            order: 3,
            at: proto::Instant::from_micros(1500),
            client: "c".into(),
            topic: topic.into(),
            payload: payload.into(),
            properties: None,
            topic_alias: None,
            qos: QoS::AtLeastOnce,
            retain: true,
            dup: false,
            will: false,
        }
    }

    fn printed(format: Format, message: Recorded) -> String {
        let (sender, messages) = mpsc::channel(1);
        sender.try_send(message).unwrap();
        drop(sender);
        let mut output = Vec::new();
        print(messages, format, &mut output).unwrap();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn text_is_one_line_whatever_the_message_is() {
        assert_eq!(printed(Format::Text, message("a/b", b"21.5 \xc2\xb0C")), "a/b 21.5 °C\n");
        assert_eq!(printed(Format::Text, message("a/b", b"")), "a/b \n");
        assert_eq!(printed(Format::Text, message("a/b", b"1\n2")), "a/b 0x310a32\n");
        assert_eq!(printed(Format::Text, message("a\nb", b"\xff")), "a\\nb 0xff\n");
    }

    #[test]
    fn json_holds_everything() {
        assert_eq!(
            printed(Format::Json, message("a", b"1\n")),
            "{\"order\":3,\"at_us\":1500,\"client\":\"c\",\"topic\":\"a\",\"qos\":1,\
             \"retain\":true,\"dup\":false,\"will\":false,\"payload\":\"1\\n\"}\n"
        );
        let binary = printed(Format::Json, message("a", b"\xff\x00"));
        assert!(binary.ends_with("\"payload_hex\":\"ff00\"}\n"), "{binary}");
    }

    #[test]
    fn json_holds_the_properties_of_mqtt_5() {
        let properties = Properties {
            payload_format: Some(1),
            message_expiry: Some(60),
            content_type: Some("text/plain".to_owned()),
            response_topic: Some("r".to_owned()),
            correlation_data: Some(vec![0xff, 0].into()),
            user: vec![("k".to_owned(), "v".to_owned())],
        };
        let message = Recorded {
            properties: Some(properties.into()),
            topic_alias: Some(3),
            ..message("a", b"1")
        };
        let line = printed(Format::Json, message);
        let expected = "\"topic_alias\":3,\"properties\":{\"payload_format\":1,\
            \"message_expiry\":60,\"content_type\":\"text/plain\",\"response_topic\":\"r\",\
            \"correlation_data_hex\":\"ff00\",\"user\":[[\"k\",\"v\"]]}}\n";
        assert!(line.ends_with(expected), "{line}");
    }

    #[test]
    fn closed_output_is_an_end_and_no_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (sender, messages) = mpsc::channel(1);
        sender.try_send(message("a", b"")).unwrap();
        print(messages, Format::Text, Closed).unwrap();
    }
}
