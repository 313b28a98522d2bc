//! The same CoAP request again and again, from one peer or from many.
//!
//! A peer is a source address and port, so each one is a socket. They take turns, and answers are
//! taken in the order of the requests, by blocking calls: a server with 10,000 peers gets its load
//! from one thread that knows where to look without asking the kernel which socket is readable.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use device_sim::clock::Clock;
use proto::Instant;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::Outcome;

/// Requests without an answer, over all peers.
const WINDOW: u32 = 64;
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two requests while a server starts.
const PAUSE: Duration = Duration::from_millis(20);
/// How long that may take.
const ATTEMPTS: u32 = 500;
/// Peers that share an address of 127.0.0.0/8; the next one has the next address.
const PORTS: u32 = 100;
/// Files that the program has open besides its peers.
const SPARE_FILES: u64 = 256;
/// A request from nobody in particular, while a server starts.
const PROBE: u32 = u32::MAX;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    code: u8,
    /// Segments of the path, without leading slash.
    path: &'static str,
    /// Whether the payload is the number of the request; else there is none.
    counts: bool,
}

impl Ask {
    /// GET (RFC 7252 §5.8.1).
    pub(crate) const fn get(path: &'static str) -> Self {
        Self { code: 0x01, path, counts: false }
    }

    /// PUT of the request's number as text (RFC 7252 §5.8.3).
    pub(crate) const fn put(path: &'static str) -> Self {
        Self { code: 0x03, path, counts: true }
    }

    /// Whether it brings something.
    pub(crate) const fn is_put(self) -> bool {
        self.counts
    }

    /// A Confirmable request with the number as token and its low half as message id: no peer
    /// repeats one before it has sent 65,536.
    fn request(self, number: u32) -> Vec<u8> {
        let [_, _, high, low] = number.to_be_bytes();
        let mut message = vec![0x44, self.code, high, low];
        message.extend_from_slice(&number.to_be_bytes());
        // Uri-Path is option 11: the first one has the delta, the others have 0 (RFC 7252 §3.1).
        let mut delta = 0xb0;
        for segment in self.path.split('/') {
            message.push(delta | u8::try_from(segment.len()).unwrap_or_default());
            message.extend_from_slice(segment.as_bytes());
            delta = 0;
        }
        if self.counts {
            message.push(0xff);
            message.extend_from_slice(number.to_string().as_bytes());
        }
        message
    }
}

/// Waits until a server answers.
pub(crate) fn wait_for_answer(to: SocketAddr, ask: Ask) -> Outcome<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PAUSE))?;
    let mut buffer = [0; 1500];
    for _ in 0..ATTEMPTS {
        // Nobody may listen yet, which is an error of the next call.
        let sent = socket.send(&ask.request(PROBE));
        if sent.is_ok() && socket.recv(&mut buffer).is_ok() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    Err(format!("no answer from {to}").into())
}

/// Peers of one server.
pub(crate) struct Peers(Vec<UdpSocket>);

impl Peers {
    /// So many, each with an address or a port of its own.
    pub(crate) fn open(count: u32, to: SocketAddr) -> Outcome<Self> {
        let mut files = getrlimit(Resource::Nofile);
        let wanted = u64::from(count) + SPARE_FILES;
        if files.current.is_some_and(|current| current < wanted) {
            files.current = Some(wanted);
            setrlimit(Resource::Nofile, files)
                .map_err(|error| format!("cannot open {wanted} files (`ulimit -n`): {error}"))?;
        }
        let open = |number: u32| -> Outcome<UdpSocket> {
            let first = u32::from(Ipv4Addr::LOCALHOST);
            let socket = UdpSocket::bind((Ipv4Addr::from_bits(first + number / PORTS), 0))?;
            socket.connect(to)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        (0..count).map(open).collect::<Outcome<_>>().map(Self)
    }

    /// Asks so many times, the peers in turns, and takes all answers; how long it took.
    ///
    /// An answer that is no success, or to no request, is an error; so is one that does not come:
    /// nothing is sent twice.
    pub(crate) fn ask(&self, ask: Ask, count: u32) -> Outcome<Duration> {
        let clock = Clock::start();
        for number in 0..count + WINDOW {
            if let Some(earlier) = number.checked_sub(WINDOW) {
                self.receive(earlier, count.min(number))?;
            }
            if number < count {
                self.peer(number)?.send(&ask.request(number))?;
            }
        }
        Ok(clock.now() - Instant::ZERO)
    }

    /// Takes an answer of the peer whose turn it was, when so many had been sent.
    fn receive(&self, number: u32, sent: u32) -> Outcome<()> {
        let mut buffer = [0; 1500];
        let received = self.peer(number)?.recv(&mut buffer);
        let len = received.map_err(|error| format!("no answer to request {number}: {error}"))?;
        let answer = buffer.get(..len).unwrap_or_default();
        // The number of a request is its token.
        match answer.first_chunk() {
            Some(&[_, _, _, _, a, b, c, d])
                if is_success(answer) && u32::from_be_bytes([a, b, c, d]) < sent =>
            {
                Ok(())
            }
            _ => Err(format!("not an answer to request {number}: {answer:02x?}").into()),
        }
    }

    fn peer(&self, number: u32) -> Outcome<&UdpSocket> {
        let at = usize::try_from(number)? % self.0.len().max(1);
        self.0.get(at).ok_or_else(|| "nobody to ask".into())
    }
}

/// A piggybacked response of class 2 with a token of four bytes (RFC 7252 §3, §5.2.1), or the echo
/// of the request.
fn is_success(answer: &[u8]) -> bool {
    matches!(answer, [0x64, 0x40..0x60, ..] | [0x44, 0x01..=0x03, ..])
}
