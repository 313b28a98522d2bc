//! Readings that clients post over connections that are kept (RFC 9112 §9.3), each after the answer
//! to the one before.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::DEVICES;
use crate::Outcome;
use crate::ledger::Ledger;

/// Clients, each with a connection.
const CONNECTIONS: usize = 16;
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How every answer has to begin.
const ACCEPTED: &str = "HTTP/1.1 202 ";
/// The length of an answer's body, as hyper writes the name.
const LENGTH: &str = "content-length: ";
/// The end of a head.
const EMPTY_LINE: &str = "\r\n";

/// Posts every reading.
pub(crate) fn post(ledger: &Arc<Ledger>, to: SocketAddr) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut clients = JoinSet::new();
        for first in 0..CONNECTIONS {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            let client = Client { ledger: Arc::clone(ledger), stream: BufReader::new(stream) };
            clients.spawn(client.post(ledger.indexes().skip(first).step_by(CONNECTIONS)));
        }
        while let Some(ended) = clients.join_next().await {
            ended??;
        }
        Ok(())
    })
}

struct Client {
    ledger: Arc<Ledger>,
    stream: BufReader<TcpStream>,
}

impl Client {
    async fn post(mut self, indexes: impl Iterator<Item = u32>) -> Outcome<()> {
        for index in indexes {
            self.ledger.handle_sent(index);
            self.stream.write_all(request(index).as_bytes()).await?;
            let answered = timeout(PATIENCE, self.take_answer()).await;
            answered.map_err(|_| format!("no answer: {}", self.ledger.state()))??;
            self.ledger.handle_answered(index);
        }
        Ok(())
    }

    async fn take_answer(&mut self) -> Outcome<()> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        if !line.starts_with(ACCEPTED) {
            return Err(format!("not a 202: {line:?}").into());
        }
        let mut length = 0;
        while line != EMPTY_LINE {
            line.clear();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err("the connection was closed within an answer".into());
            }
            if let Some(digits) = line.strip_prefix(LENGTH) {
                length = digits.trim_end().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok(())
    }
}

fn request(index: u32) -> String {
    let body = format!(r#"{{"device":"th-{:04}","value":{index}}}"#, index % DEVICES);
    format!(
        "POST /r HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}
