//! What one datagram in and one out cost, with nothing between.

use std::net::UdpSocket;
use std::time::Duration;

use device_sim::clock::Clock;

use super::Outcome;
use super::figure::Run;
use super::process::own_thread_cpu;

/// Datagrams under way.
const WINDOW: u32 = 64;
/// As large as the requests of the other cases.
const DATAGRAM: [u8; 40] = [b'x'; 40];
/// Longest wait for a datagram.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends so many datagrams through an echo.
pub(crate) fn echo(datagrams: u32) -> Outcome<Run> {
    let server = UdpSocket::bind("127.0.0.1:0")?;
    server.set_read_timeout(Some(PATIENCE))?;
    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.connect(server.local_addr()?)?;
    let thread = std::thread::spawn(move || serve(&server, datagrams));
    let clock = Clock::start();
    let mut buffer = [0; 64];
    for _ in 0..WINDOW {
        client.send(&DATAGRAM)?;
    }
    for number in 0..datagrams {
        client.recv(&mut buffer)?;
        if number + WINDOW < datagrams {
            client.send(&DATAGRAM)?;
        }
    }
    let elapsed = clock.now() - proto::Instant::ZERO;
    let cpu = thread.join().map_err(|_| "the echo panicked")??;
    Ok(Run::default().with_rate(datagrams.into(), elapsed).with_cpu(datagrams.into(), cpu))
}

fn serve(socket: &UdpSocket, datagrams: u32) -> Outcome<Duration> {
    let mut buffer = [0; 64];
    let before = own_thread_cpu()?;
    for _ in 0..datagrams {
        let (len, from) = socket.recv_from(&mut buffer)?;
        socket.send_to(buffer.get(..len).unwrap_or_default(), from)?;
    }
    Ok(own_thread_cpu()? - before)
}
