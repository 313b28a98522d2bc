//! Units of a Modbus TCP server that can be told to be wrong.
//!
//! Registers and coils 0 to 99 hold what is written; 90 takes writes and keeps what it has, 91 is busy
//! once, 92 confirms nothing the first time and does it, what lies behind is refused.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use proto::modbus::{Exception, Request, Response, tcp};

/// A server for all addresses of units.
#[derive(Debug)]
pub(crate) struct Slave {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    is_silent: AtomicBool,
    registers: Mutex<BTreeMap<(u8, u16), u16>>,
    writes: Mutex<Vec<(u8, Request)>>,
}

impl Slave {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<State>::default());
        let served = Arc::clone(&state);
        // It ends with the test's process: there is nothing of it outside.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&served);
                thread::spawn(move || serve(stream, &state));
            }
        });
        Self { address, state }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it answers nothing, and does nothing.
    pub(crate) fn be_silent(&self, is_silent: bool) {
        self.state.is_silent.store(is_silent, Ordering::SeqCst);
    }

    /// What a unit was told to write, also what it refused.
    pub(crate) fn writes(&self, unit: u8) -> Vec<Request> {
        let writes = self.state.writes.lock().unwrap();
        writes.iter().filter(|(of, _)| *of == unit).map(|(_, request)| request.clone()).collect()
    }
}

fn serve(mut stream: TcpStream, state: &State) {
    let (mut buffer, mut bytes) = (Vec::new(), [0; 512]);
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        buffer.extend_from_slice(&bytes[..count]);
        while let Ok(Some((frame, len))) = tcp::decode(&buffer) {
            let (transaction, unit) = (frame.transaction, frame.unit);
            let request = Request::decode(frame.pdu).unwrap();
            buffer.drain(..len);
            if state.is_silent.load(Ordering::SeqCst) {
                continue;
            }
            if let Some(response) = state.handle(unit, &request)
                && stream
                    .write_all(&tcp::encode(transaction, unit, &response.encode(&request)))
                    .is_err()
            {
                return;
            }
        }
    }
}

impl State {
    fn handle(&self, unit: u8, request: &Request) -> Option<Response> {
        let mut registers = self.registers.lock().unwrap();
        let (address, values) = match request {
            Request::Read(read) => {
                let range = read.address()..read.address() + read.count();
                let held = range.map(|at| registers.get(&(unit, at)).copied().unwrap_or(0));
                return Some(match read.table().is_bits() {
                    true => Response::Bits(held.map(|value| value != 0).collect()),
                    false => Response::Registers(held.collect()),
                });
            }
            Request::WriteCoil { address, on } => (*address, vec![u16::from(*on)]),
            Request::WriteRegister { address, value } => (*address, vec![*value]),
            Request::WriteRegisters { address, values } => (*address, values.clone()),
            Request::WriteCoils { .. } => return None,
        };
        let before = self.count(unit, address);
        self.writes.lock().unwrap().push((unit, request.clone()));
        match address {
            90 => return Some(Response::Written),
            91 if before == 0 => return Some(Response::Exception(Exception::SERVER_DEVICE_BUSY)),
            100.. => return Some(Response::Exception(Exception::ILLEGAL_DATA_ADDRESS)),
            _ => {}
        }
        for (at, value) in (address..).zip(values) {
            registers.insert((unit, at), value);
        }
        (address != 92 || before > 0).then_some(Response::Written)
    }

    /// Writes to an address so far.
    fn count(&self, unit: u8, wanted: u16) -> usize {
        let is_it = |(of, request): &&(u8, Request)| {
            let address = match request {
                Request::WriteRegister { address, .. }
                | Request::WriteRegisters { address, .. }
                | Request::WriteCoil { address, .. }
                | Request::WriteCoils { address, .. } => *address,
                Request::Read(read) => read.address(),
            };
            *of == unit && address == wanted
        };
        self.writes.lock().unwrap().iter().filter(is_it).count()
    }
}
