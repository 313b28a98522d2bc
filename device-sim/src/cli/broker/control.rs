//! Control of a running broker: lines on standard input, one line of JSON as an answer to each.
//!
//! A thread of its own reads and answers, so that whoever does not read the answers does not keep
//! the broker from working; the program's loop carries out what a line says.

use std::io::{self, BufRead, Write};
use std::thread;

use device_sim::broker::{Counts, Switch, SwitchError};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

/// The longest line; a longer one is answered with an error.
const MAX_LINE: usize = 64 << 10;

/// What can be said besides the switches.
pub(crate) const WORDS: &str = "\
  down
          closes the port and every connection, as if the broker was stopped
  up
          listens again, with the sessions from before
  counts
          tells what was counted until now
";

/// What a line asks for.
#[derive(Clone, Debug)]
pub(super) enum Order {
    Switch(Switch),
    Down,
    Up,
    Counts,
}

/// An order and where its outcome is awaited.
pub(super) type Asked = (Order, oneshot::Sender<Outcome>);

/// What came of an order.
pub(super) type Outcome = Result<Option<Counts>, String>;

#[derive(Serialize)]
struct Answer<'a> {
    control: &'a str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<Counts>,
}

/// Starts to read standard input.
pub(super) fn start() -> io::Result<mpsc::Receiver<Asked>> {
    let (orders, inbox) = mpsc::channel(1);
    thread::Builder::new().name("control".to_owned()).spawn(move || {
        if let Err(error) = serve(io::stdin().lock(), io::stdout(), &orders) {
            tracing::warn!(%error, "control ends");
        }
    })?;
    Ok(inbox)
}

fn serve(
    mut input: impl BufRead,
    mut output: impl Write,
    orders: &mpsc::Sender<Asked>,
) -> io::Result<()> {
    while let Some(line) = next_line(&mut input)? {
        let text = String::from_utf8_lossy(&line);
        let control = text.trim();
        if control.is_empty() {
            continue;
        }
        let outcome = if line.len() > MAX_LINE {
            Err(format!("the line is longer than {MAX_LINE} bytes"))
        } else {
            parse(control).map_err(|error| error.to_string()).and_then(|order| ask(order, orders))
        };
        let ok = outcome.is_ok();
        let (counts, error) = match outcome {
            Ok(counts) => (counts, None),
            Err(error) => (None, Some(error)),
        };
        let control = if line.len() > MAX_LINE { "" } else { control };
        let mut answer = serde_json::to_string(&Answer { control, ok, error, counts })?;
        answer.push('\n');
        output.write_all(answer.as_bytes())?;
        output.flush()?;
    }
    Ok(())
}

/// The next line, of which no more than one byte over the limit is kept; `None` at the end.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let chunk = input.fill_buf()?;
        if chunk.is_empty() {
            return Ok(Some(line).filter(|line| !line.is_empty()));
        }
        let end = chunk.iter().position(|&byte| byte == b'\n');
        let taken = end.unwrap_or(chunk.len());
        let room = (MAX_LINE + 1).saturating_sub(line.len());
        line.extend(chunk.iter().take(taken.min(room)));
        input.consume(taken + usize::from(end.is_some()));
        if end.is_some() {
            // An empty line is not the end.
            line.push(b'\n');
            return Ok(Some(line));
        }
    }
}

fn parse(line: &str) -> Result<Order, SwitchError> {
    match line {
        "down" => Ok(Order::Down),
        "up" => Ok(Order::Up),
        "counts" => Ok(Order::Counts),
        _ => line.parse().map(Order::Switch),
    }
}

fn ask(order: Order, orders: &mpsc::Sender<Asked>) -> Outcome {
    let ended = || "the broker has ended".to_owned();
    let (sender, outcome) = oneshot::channel();
    orders.blocking_send((order, sender)).map_err(|_| ended())?;
    outcome.blocking_recv().unwrap_or_else(|_| Err(ended()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers to `input` of a program that does everything.
    fn answers(input: &[u8]) -> String {
        let (orders, mut inbox) = mpsc::channel::<Asked>(1);
        let program = thread::spawn(move || {
            while let Some((order, outcome)) = inbox.blocking_recv() {
                let counts = matches!(order, Order::Counts).then(Counts::default);
                outcome.send(Ok(counts)).unwrap();
            }
        });
        let mut output = Vec::new();
        serve(input, &mut output, &orders).unwrap();
        drop(orders);
        program.join().unwrap();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn every_line_gets_one_answer() {
        let answers = answers(b"refuse banned\n\n  up  \r\nrefuse\ncounts");
        let answers: Vec<_> = answers.lines().collect();
        assert_eq!(answers[0], r#"{"control":"refuse banned","ok":true}"#);
        assert_eq!(answers[1], r#"{"control":"up","ok":true}"#);
        assert!(answers[2].starts_with(r#"{"control":"refuse","ok":false,"error":"something is"#));
        assert!(
            answers[3].starts_with(r#"{"control":"counts","ok":true,"counts":{"connected":0,"#)
        );
        assert_eq!(answers.len(), 4);
    }

    #[test]
    fn endless_line_is_an_error_and_the_next_one_is_heard() {
        let endless = [&vec![b'x'; 10 * MAX_LINE][..], b"\nup\n"].concat();
        let answers = answers(&endless);
        let answers: Vec<_> = answers.lines().collect();
        assert!(answers[0].contains("longer than"), "{}", answers[0]);
        assert_eq!(answers[1], r#"{"control":"up","ok":true}"#);
    }

    #[test]
    fn line_that_is_no_text_is_an_error() {
        assert!(answers(b"\xff\xfe\n").contains("\"ok\":false"));
    }
}
