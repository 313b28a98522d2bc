//! Received messages as lines on standard output.
//!
//! A thread of its own writes them, so that a reader who stops reading slows the publishers down
//! but does not keep the program from ending.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::thread;

use device_sim::broker::Recorded;
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
        let _ = end.send(print(messages, format, io::stdout().lock()));
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
