//! Bodies of requests: as large as they may be, in the time that they have, and in a room that all of
//! them share.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_ENCODING, HeaderMap};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::refusal::Refusal;

/// Bytes of all bodies that are being received, or whose readings wait for the store; at least those of
/// the largest that one may have. A further one is told to try again.
const ROOM: usize = 16 * 1024 * 1024;
/// A body is received in steps of at least so much room.
const STEP: usize = 16 * 1024;

/// How bodies are received.
pub(super) struct Bodies {
    max: usize,
    timeout: Duration,
    room: Arc<Semaphore>,
}

/// A body that is there.
pub(super) struct Body {
    /// Unpacked.
    pub(super) bytes: Vec<u8>,
    _room: Room,
}

/// The room that a body takes.
struct Room {
    all: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
}

/// How a body is packed (RFC 9110 §8.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Packing {
    None,
    Gzip,
}

impl Bodies {
    /// Bodies of up to `max` bytes, each of which arrives within a time.
    pub(super) fn new(max: u64, timeout: Duration) -> Self {
        let max = usize::try_from(max).unwrap_or(ROOM);
        // A packed body and what it becomes are there at a time.
        let room = ROOM.max(2 * max + 2 * STEP);
        Self { max, timeout, room: Arc::new(Semaphore::new(room)) }
    }

    /// Receives a body. What can be refused before is refused before, and a client that has asked with
    /// `Expect: 100-continue` does not send it then (RFC 9110 §10.1.1).
    pub(super) async fn receive(
        &self,
        headers: &HeaderMap,
        body: Incoming,
    ) -> Result<Body, Refusal> {
        let packing = packing(headers)?;
        if body.size_hint().lower() > self.max as u64 {
            return Err(Refusal::too_large(self.max));
        }
        let mut room = Room { all: Arc::clone(&self.room), taken: None };
        let received = timeout(self.timeout, self.collect(body, &mut room)).await;
        let bytes = received.map_err(|_| Refusal::slow())??;
        let bytes = match packing {
            Packing::None => bytes,
            Packing::Gzip => {
                let unpacked = unpack(&bytes, self.max)?;
                room.reserve(bytes.len() + unpacked.len())?;
                unpacked
            }
        };
        Ok(Body { bytes, _room: room })
    }

    async fn collect(&self, mut body: Incoming, room: &mut Room) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Refusal::malformed(format!("the body: {error}")))?;
            // Trailers say nothing that is needed.
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > self.max {
                return Err(Refusal::too_large(self.max));
            }
            room.reserve(bytes.len() + data.len())?;
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    }
}

impl Room {
    /// Takes room for so many bytes altogether.
    fn reserve(&mut self, bytes: usize) -> Result<(), Refusal> {
        let taken = self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if bytes <= taken {
            return Ok(());
        }
        let more = u32::try_from(bytes.next_multiple_of(STEP) - taken).unwrap_or(u32::MAX);
        let busy = |_| Refusal::busy("too many requests are being received, try again");
        let permit = Arc::clone(&self.all).try_acquire_many_owned(more).map_err(busy)?;
        match &mut self.taken {
            Some(taken) => taken.merge(permit),
            None => self.taken = Some(permit),
        }
        Ok(())
    }
}

fn packing(headers: &HeaderMap) -> Result<Packing, Refusal> {
    let mut lines = headers.get_all(CONTENT_ENCODING).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return match headers.contains_key(CONTENT_ENCODING) {
            true => Err(Refusal::encoding()),
            false => Ok(Packing::None),
        };
    };
    match line.as_bytes().trim_ascii() {
        b"identity" | b"" => Ok(Packing::None),
        gzip if [&b"gzip"[..], b"x-gzip"].iter().any(|name| gzip.eq_ignore_ascii_case(name)) => {
            Ok(Packing::Gzip)
        }
        _ => Err(Refusal::encoding()),
    }
}

/// Unpacks what becomes up to `max` bytes.
fn unpack(packed: &[u8], max: usize) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let read = MultiGzDecoder::new(packed).take(limit).read_to_end(&mut bytes);
    read.map_err(|error| Refusal::malformed(format!("the body is not gzip: {error}")))?;
    if bytes.len() > max { Err(Refusal::too_large(max)) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_unpacks_to_more_than_the_limit_is_refused_early() {
        assert_eq!(unpack(&packed(b"hello"), 5).unwrap(), b"hello");
        let bomb = packed(&vec![0; 10_000_000]);
        assert!(bomb.len() < 20_000, "{}", bomb.len());
        assert_eq!(unpack(&bomb, 1000).unwrap_err().reason, Some("too_large"));
        assert_eq!(unpack(b"hello", 1000).unwrap_err().reason, Some("malformed"));
        let cut = packed(b"hello");
        assert_eq!(unpack(&cut[..12], 1000).unwrap_err().reason, Some("malformed"));
    }

    #[test]
    fn bodies_share_a_room_and_give_it_back() {
        let all = Arc::new(Semaphore::new(3 * STEP));
        let room = || Room { all: Arc::clone(&all), taken: None };
        let (mut one, mut other) = (room(), room());
        one.reserve(1).unwrap();
        one.reserve(STEP + 1).unwrap();
        other.reserve(STEP).unwrap();
        assert_eq!(other.reserve(STEP + 1).unwrap_err().reason, Some("busy"));
        drop(one);
        other.reserve(STEP + 1).unwrap();
    }
}
