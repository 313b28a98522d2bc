//! An order as bytes to a device, and its answer: a frame of the source that fits a pattern.
//!
//! [`begin`] makes the message and asks whether it may go; the source sends it; [`conclude`] waits for the
//! answer, which the source's [`Ear`] hears. An answer is no reading, unless the operation says so:
//! what confirms a command looks like a value to many decoders.

use std::time::Duration;

use tokio::time::timeout;

use super::ear::Ear;
use crate::commands::Order;
use crate::config::{Filling, SendVia, Unsendable, Via};
use crate::pipeline::Pattern;

/// Most characters of an answer that is the result of a command.
const MAX_RESULT: usize = 1000;

/// What an order says.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    answer: Answer,
    patience: Duration,
}

/// Which frames answer a message.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    expect: Option<Pattern>,
    refuse: Option<Pattern>,
    is_hex: bool,
    is_decoded: bool,
}

/// What a device says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Done(String),
    Refused(String),
}

/// Why an order is no message.
#[derive(Debug, thiserror::Error)]
enum NoMessage {
    #[error(transparent)]
    Unsendable(#[from] Unsendable),
    #[error("the operation does not say what is sent; see `via.text` and `via.hex`")]
    Nothing,
}

impl Message {
    fn of(order: &Order) -> Result<Self, NoMessage> {
        let Via::Send(via) = &order.operation.via else { return Err(NoMessage::Nothing) };
        let (device, id) = (order.device(), order.id());
        let filling = Filling { value: order.value.as_ref(), device, id, scale: via.scale };
        let bytes = match (&via.text, &via.hex) {
            (Some(text), _) => text.fill(filling)?,
            (None, Some(hex)) => hex.fill(filling)?,
            (None, None) => return Err(NoMessage::Nothing),
        };
        Ok(Self { bytes, answer: Answer::of(via), patience: via.timeout.duration() })
    }
}

impl Answer {
    /// As an operation has it.
    pub(super) fn of(via: &SendVia) -> Self {
        let is_hex = via.text.is_none();
        let pattern = |pattern: &Pattern| if is_hex { plain_hex(pattern) } else { pattern.clone() };
        Self {
            expect: via.expect.as_ref().map(pattern),
            refuse: via.refuse.as_ref().map(pattern),
            is_hex,
            is_decoded: via.decode,
        }
    }

    /// Whether there is any.
    const fn is_any(&self) -> bool {
        self.expect.is_some() || self.refuse.is_some()
    }

    /// What a frame says, if it is the answer.
    pub(super) fn judge(&self, frame: &[u8]) -> Option<Verdict> {
        let text = if self.is_hex {
            frame.iter().map(|byte| format!("{byte:02x}")).collect()
        } else {
            String::from_utf8_lossy(frame.trim_ascii()).into_owned()
        };
        let fits = |pattern: &Option<Pattern>| {
            pattern.as_ref().is_some_and(|pattern| pattern.matches(&text))
        };
        match (fits(&self.refuse), fits(&self.expect)) {
            (true, _) => Some(Verdict::Refused(shown(text))),
            (false, true) => Some(Verdict::Done(shown(text))),
            (false, false) => None,
        }
    }

    /// Whether readings are in it, too.
    pub(super) const fn is_decoded(&self) -> bool {
        self.is_decoded
    }
}

/// Takes what the order in `place` says, if it may go: when it returns a message, that it was begun is on
/// disk. Otherwise nothing is in `place` any more.
pub(super) async fn begin(place: &mut Option<Order>) -> Option<Message> {
    let message = match Message::of(place.as_ref()?) {
        Ok(message) => message,
        Err(why) => {
            place.take()?.failed("value", why).await;
            return None;
        }
    };
    if place.as_ref()?.begin().await {
        return Some(message);
    }
    *place = None;
    None
}

/// Waits for the answer to a message that was sent just now, and tells what became of the order in
/// `place`, which is empty then.
pub(super) async fn conclude(place: &mut Option<Order>, message: Message, ear: &Ear) {
    let Message { answer, patience, .. } = message;
    if !answer.is_any() {
        if let Some(order) = place.take() {
            order.done(None).await;
        }
        return;
    }
    let is_silence_right = answer.expect.is_none();
    let heard = ear.listen(answer);
    let Some(order) = place.as_ref() else { return };
    let heard = tokio::select! {
        heard = timeout(patience, heard) => heard.ok(),
        () = order.withdrawn() => None,
    };
    ear.stop();
    let Some(order) = place.take() else { return };
    match heard.and_then(Result::ok) {
        Some(Verdict::Done(answer)) => order.done(Some(answer.into())).await,
        Some(Verdict::Refused(answer)) => {
            order.failed("refused", format!("the device answers `{answer}`")).await;
        }
        None if is_silence_right => order.done(None).await,
        None => order.unreachable("no_answer", format!("nothing within {patience:?}")).await,
    }
}

/// Small digits without spaces.
fn plain_hex(pattern: &Pattern) -> Pattern {
    let text = pattern.to_string();
    let digits = text.chars().filter(|character| !character.is_whitespace());
    let digits: String = digits.map(|character| character.to_ascii_lowercase()).collect();
    digits.parse().unwrap_or_default()
}

fn shown(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_RESULT) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(via: &str) -> Answer {
        Answer::of(&toml::from_str(via).unwrap())
    }

    #[test]
    fn a_whole_frame_fits_a_pattern_as_text() {
        let answer = answer("text = \"x\"\nexpect = \"OK*\"\nrefuse = \"ERR*\"");
        let done = |text: &str| Some(Verdict::Done(text.to_owned()));
        assert_eq!(answer.judge(b"OK"), done("OK"));
        assert_eq!(answer.judge(b" OK 21.5\r"), done("OK 21.5"));
        assert_eq!(answer.judge(b"t=21 OK"), None);
        assert_eq!(answer.judge(b"ERR 5"), Some(Verdict::Refused("ERR 5".to_owned())));
        assert_eq!(answer.judge(b"t=21"), None);
    }

    #[test]
    fn a_whole_frame_fits_a_pattern_as_hexadecimal_digits() {
        let answer = answer("hex = \"01\"\nexpect = \"06 0? *\"\nrefuse = \"15*\"");
        assert_eq!(answer.judge(&[6, 0x0a, 0xff]), Some(Verdict::Done("060aff".to_owned())));
        assert_eq!(answer.judge(&[6, 0x1a, 0xff]), None);
        assert_eq!(answer.judge(&[0x15]), Some(Verdict::Refused("15".to_owned())));
    }

    #[test]
    fn a_refusal_goes_before_what_is_expected_and_an_answer_has_a_limit() {
        let answer = answer("text = \"x\"\nexpect = \"*\"\nrefuse = \"ERR*\"");
        assert_eq!(answer.judge(b"ERR"), Some(Verdict::Refused("ERR".to_owned())));
        let Some(Verdict::Done(long)) = answer.judge(&[b'x'; 5000]) else { panic!("it fits") };
        assert_eq!(long.chars().count(), MAX_RESULT + 1);
    }
}
