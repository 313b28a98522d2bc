//! A slave that answers what a test says, right or wrong.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

/// What it answers to the request of this number, which it gets as it came.
pub(crate) type Script = fn(usize, &[u8]) -> Vec<u8>;

/// A TCP server that takes one connection at a time.
pub(crate) struct RawSlave {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RawSlave {
    /// A slave whose requests all have the same length: 12 bytes on Modbus TCP, 8 in RTU.
    pub(crate) fn start(request_len: usize, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, stopping) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (counted, stopped) = (Arc::clone(&requests), Arc::clone(&stopping));
        let thread = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                serve(stream, request_len, script, &counted);
            }
        });
        Self { address, requests, stopping, thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Answers until the connection ends.
fn serve(mut stream: TcpStream, request_len: usize, script: Script, requests: &AtomicUsize) {
    let mut request = vec![0; request_len];
    while stream.read_exact(&mut request).is_ok() {
        let number = requests.fetch_add(1, Ordering::SeqCst);
        if stream.write_all(&script(number, &request)).is_err() {
            return;
        }
    }
}

/// The gateway has to be gone before, so that its connection is.
impl Drop for RawSlave {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
