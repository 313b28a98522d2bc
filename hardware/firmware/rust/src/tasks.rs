//! What the node does when it is told: it sets its level, to 0 without a value, and takes an image into its
//! memory. The codes are those of the node in C.

use proto::link::{Argument, Call, FileReceiver, Reply, ReplyStatus};
use proto::{Number, Value};

const LEVEL: u16 = 1;
const IMAGE: u16 = 2;
/// The largest image, and the largest part of it that is taken at a time.
const MAX_IMAGE: u32 = 8192;
const MAX_BLOCK: u32 = 256;

/// What was set, and what was taken.
pub struct Tasks {
    level: Number,
    image: FileReceiver,
}

impl Tasks {
    pub fn new() -> Self {
        Self { level: Number::from(0), image: FileReceiver::new(MAX_IMAGE, MAX_BLOCK) }
    }

    /// Carries out what is in a CMD.
    pub fn run(&mut self, payload: &[u8]) -> Reply {
        let Ok(Call { code, argument, .. }) = Call::decode(payload) else {
            return Reply::of(ReplyStatus::BadValue);
        };
        match (code, argument) {
            (LEVEL, Argument::None) => {
                self.level = Number::from(0);
                Reply::default()
            }
            (LEVEL, Argument::Value(Value::Number(level))) => {
                self.level = level;
                Reply::default().with(&Value::Number(self.level))
            }
            (LEVEL, _) => Reply::of(ReplyStatus::BadValue),
            (IMAGE, argument) => self.image.handle_call(argument),
            _ => Reply::of(ReplyStatus::UnknownCode),
        }
    }
}
