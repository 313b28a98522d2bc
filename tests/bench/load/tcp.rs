//! One client that sends lines and counts the replies, which come in the order of the lines.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Outcome;
use crate::ledger::Ledger;

/// Lines without a reply.
const WINDOW: u32 = 256;
/// Longest wait for a reply.
const PATIENCE: Duration = Duration::from_secs(5);
const REPLY: &[u8] = b"ok\n";
/// Most lines between a sender that gets no replies and the broker.
const OUTSTANDING: u64 = 4000;
/// Lines written at a time by it.
const TURN: usize = 64;

/// Sends every reading as one line.
pub(crate) fn send_lines(ledger: &Ledger, to: SocketAddr) -> Outcome<()> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut indexes = ledger.indexes();
    let (mut sent, mut answered) = (0, 0);
    let (mut output, mut input) = (Vec::new(), Vec::new());
    let mut buffer = [0; 4096];
    while answered < ledger.indexes().end {
        output.clear();
        while sent - answered < WINDOW
            && let Some(index) = indexes.next()
        {
            output.extend_from_slice(super::json(index).as_bytes());
            output.push(b'\n');
            ledger.handle_sent(index);
            sent += 1;
        }
        stream.write_all(&output)?;
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err("the gateway closed the connection".into());
        }
        input.extend_from_slice(buffer.get(..read).unwrap_or_default());
        let whole = input.len() - input.len() % REPLY.len();
        for reply in input.drain(..whole).as_slice().chunks(REPLY.len()) {
            if reply != REPLY {
                let text = String::from_utf8_lossy(reply).into_owned();
                return Err(format!("line {answered} was answered {text:?}").into());
            }
            ledger.handle_answered(answered);
            answered += 1;
        }
    }
    Ok(())
}

/// Sends every reading as one line and expects no reply.
pub(crate) fn stream_lines(ledger: &Ledger, to: SocketAddr) -> Outcome<()> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    let mut indexes = ledger.indexes().peekable();
    let mut output = Vec::new();
    while indexes.peek().is_some() {
        ledger.wait_for_room(OUTSTANDING)?;
        output.clear();
        for index in indexes.by_ref().take(TURN) {
            output.extend_from_slice(super::json(index).as_bytes());
            output.push(b'\n');
            ledger.handle_sent(index);
        }
        stream.write_all(&output)?;
    }
    ledger.settle();
    Ok(())
}
