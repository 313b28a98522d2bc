//! What a link hears, while somebody waits for an answer on it.
//!
//! A source tells its ear of each frame; a frame that answers a command goes to who waits for it. The ear
//! also knows whether the answer to a request of `poll` may still come, or the rest of a frame that began
//! earlier, so that a command is not sent into it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::Instant;
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep_until;

use super::exchange::{Answer, Verdict};
use crate::clock;

/// The ear of a link that has one partner at the other end.
#[derive(Debug, Default)]
pub(super) struct Ear {
    heard: Mutex<Listening>,
    quiet: Notify,
}

#[derive(Debug, Default)]
struct Listening {
    answer: Option<(Answer, oneshot::Sender<Verdict>)>,
    /// Until when something else may come that is not to be disturbed.
    busy_until: Option<Instant>,
}

/// Whether a frame goes on as a reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Offered {
    GoesOn,
    IsTaken,
}

impl Ear {
    /// Waits for an answer from now on.
    pub(super) fn listen(&self, answer: Answer) -> oneshot::Receiver<Verdict> {
        let (sender, heard) = oneshot::channel();
        self.lock().answer = Some((answer, sender));
        heard
    }

    /// Nobody waits any more.
    pub(super) fn stop(&self) {
        self.lock().answer = None;
    }

    /// A frame was heard.
    pub(super) fn offer(&self, frame: &[u8]) -> Offered {
        let mut heard = self.lock();
        let verdict = heard.answer.as_ref().and_then(|(answer, _)| answer.judge(frame));
        if let Some(verdict) = verdict
            && let Some((answer, sender)) = heard.answer.take()
        {
            // Who has waited may be gone: then the answer is one to nothing.
            let is_taken = sender.send(verdict).is_ok() && !answer.is_decoded();
            return if is_taken { Offered::IsTaken } else { Offered::GoesOn };
        }
        drop(heard);
        self.settle();
        Offered::GoesOn
    }

    /// The answer to a request of `poll`, or the rest of something, may come until then.
    pub(super) fn expect(&self, until: Instant) {
        self.lock().busy_until = Some(until);
    }

    /// It is there.
    pub(super) fn settle(&self) {
        if self.lock().busy_until.take().is_some() {
            self.quiet.notify_one();
        }
    }

    /// Waits until nothing of that kind is to come.
    pub(super) async fn silence(&self) {
        loop {
            let until = self.lock().busy_until.filter(|until| *until > clock::now());
            let Some(until) = until else { return };
            tokio::select! {
                () = self.quiet.notified() => {}
                () = sleep_until(clock::deadline(until)) => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Listening> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(more: &str) -> Answer {
        Answer::of(&toml::from_str(&format!("text = \"x\"\nexpect = \"OK*\"\n{more}")).unwrap())
    }

    #[test]
    fn an_answer_goes_to_who_waits_and_once() {
        let ear = Ear::default();
        assert_eq!(ear.offer(b"OK"), Offered::GoesOn, "nobody waits");
        let mut heard = ear.listen(answer(""));
        assert_eq!(ear.offer(b"t=1"), Offered::GoesOn);
        assert!(heard.try_recv().is_err());
        assert_eq!(ear.offer(b"OK 1"), Offered::IsTaken);
        assert_eq!(heard.try_recv(), Ok(Verdict::Done("OK 1".to_owned())));
        assert_eq!(ear.offer(b"OK 2"), Offered::GoesOn, "it was answered");
    }

    #[test]
    fn an_answer_with_readings_goes_on_and_one_to_nobody_as_well() {
        let ear = Ear::default();
        let mut heard = ear.listen(answer("decode = true"));
        assert_eq!(ear.offer(b"OK t=1"), Offered::GoesOn);
        assert!(heard.try_recv().is_ok());
        drop(ear.listen(answer("")));
        assert_eq!(ear.offer(b"OK"), Offered::GoesOn, "who waited is gone");
        let _heard = ear.listen(answer(""));
        ear.stop();
        assert_eq!(ear.offer(b"OK"), Offered::GoesOn, "it was given up");
    }

    #[tokio::test]
    async fn silence_comes_with_the_frame() {
        let ear = Ear::default();
        ear.silence().await;
        ear.expect(clock::now() + std::time::Duration::from_secs(3600));
        tokio::join!(ear.silence(), async {
            assert_eq!(ear.offer(b"t=1"), Offered::GoesOn);
        });
    }
}
