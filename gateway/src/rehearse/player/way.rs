//! The way of a device to its source and back: datagrams, a connection, or a serial line, with the
//! faults on it.

use std::collections::VecDeque;

use bytes::Bytes;
use device_sim::Via;
use device_sim::fault::{Impaired, ImpairedStream, Impairment};
use device_sim::transport::{Pause, Written};
use proto::{Instant, Reading, Rng};

use crate::source::Signal;

/// What is wrong with a way.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::rehearse) struct WayFaults {
    pub(in crate::rehearse) impairment: Impairment,
    /// New connections are refused.
    pub(in crate::rehearse) refuses: bool,
    /// The port is away.
    pub(in crate::rehearse) is_unplugged: bool,
}

/// A way.
pub(super) enum Way {
    Datagrams(Datagrams),
    Connection(Box<Connection>),
    Line(Line),
}

/// Datagrams, in both directions.
pub(super) struct Datagrams {
    outgoing: VecDeque<Vec<u8>>,
    incoming: VecDeque<Vec<u8>>,
    /// Where there are faults on it.
    impaired: Option<Box<[Impaired<()>; 2]>>,
}

/// One connection after the other. What is on its way when one ends is lost with it.
pub(super) struct Connection {
    is_open: bool,
    /// When it is tried to make one, while there is none.
    attempt_at: Instant,
    /// Whether the attempts fail until word comes that they would not.
    is_waiting: bool,
    pause: Pause,
    seeds: Rng,
    impairment: Impairment,
    refuses: bool,
    up: ImpairedStream,
    down: ImpairedStream,
    /// Word of connections for the source.
    outgoing: VecDeque<Signal>,
    /// The source has ended it.
    is_ending: bool,
}

/// A serial port.
pub(super) struct Line {
    is_plugged: bool,
    outgoing: VecDeque<Signal>,
    incoming: VecDeque<Vec<u8>>,
    /// What may be unread, where faults can pull it out.
    written: Option<Written>,
}

impl Way {
    /// That of a device that speaks `via`; what goes wrong on it is drawn from `accidents`, where
    /// anything does.
    pub(super) fn new(via: Via, seed: u64, accidents: Option<u64>) -> Self {
        match via {
            Via::Coap | Via::Udp | Via::LinkUdp => Self::Datagrams(Datagrams {
                outgoing: VecDeque::new(),
                incoming: VecDeque::new(),
                impaired: accidents.map(|seed| {
                    Box::new([Impaired::new(seed), Impaired::new(seed.rotate_left(32))])
                }),
            }),
            Via::Serial | Via::LinkSerial => Self::Line(Line {
                is_plugged: true,
                outgoing: VecDeque::new(),
                incoming: VecDeque::new(),
                written: accidents.map(|_| Written::default()),
            }),
            Via::CoapTcp | Via::Tcp | Via::LinkTcp | Via::Http | Via::Mqtt | Via::Modbus => {
                Self::Connection(Connection::new(accidents.unwrap_or(seed)).into())
            }
        }
    }

    /// Whether something can be sent.
    pub(super) const fn is_open(&self) -> bool {
        match self {
            Self::Datagrams(_) | Self::Line(_) => true,
            Self::Connection(connection) => connection.is_open,
        }
    }

    /// Whether it is there at all, as far as that is not a matter of connections.
    pub(super) const fn is_plugged(&self) -> bool {
        match self {
            Self::Datagrams(_) | Self::Connection(_) => true,
            Self::Line(line) => line.is_plugged,
        }
    }

    pub(super) fn set_faults(&mut self, now: Instant, faults: WayFaults) {
        match self {
            Self::Datagrams(datagrams) => {
                for way in datagrams.impaired.iter_mut().flat_map(|both| both.iter_mut()) {
                    way.set_impairment(faults.impairment);
                }
            }
            Self::Connection(connection) => connection.set_faults(now, faults),
            Self::Line(line) => {
                if line.is_plugged && faults.is_unplugged {
                    line.outgoing.clear();
                    line.incoming.clear();
                } else if !line.is_plugged && !faults.is_unplugged {
                    line.outgoing.push_back(Signal::Connected);
                }
                line.is_plugged = !faults.is_unplugged;
            }
        }
    }

    /// When something arrives.
    pub(super) fn poll_timeout(&self) -> Instant {
        match self {
            Self::Datagrams(Datagrams { impaired: Some(both), .. }) => {
                let [up, down] = &**both;
                up.poll_timeout().min(down.poll_timeout())
            }
            Self::Connection(connection) if connection.is_open => {
                connection.up.poll_timeout().min(connection.down.poll_timeout())
            }
            Self::Datagrams(_) | Self::Connection(_) | Self::Line(_) => Instant::FAR_FUTURE,
        }
    }

    /// When it is tried to connect.
    pub(super) const fn attempt_at(&self) -> Instant {
        match self {
            Self::Connection(connection) if !connection.is_open && !connection.is_waiting => {
                connection.attempt_at
            }
            Self::Datagrams(_) | Self::Connection(_) | Self::Line(_) => Instant::FAR_FUTURE,
        }
    }

    /// Tries to connect where that is due; whether there is a new connection.
    pub(super) fn attempt(&mut self, now: Instant, is_there: bool) -> bool {
        if self.attempt_at() > now {
            return false;
        }
        let Self::Connection(connection) = self else { return false };
        match is_there && !connection.refuses {
            true => connection.open(),
            false => {
                connection.attempt_at = connection.pause.next_after(now);
                connection.is_waiting = true;
            }
        }
        connection.is_open
    }

    /// The source has taken the connection.
    pub(super) const fn handle_accepted(&mut self) {
        if let Self::Connection(connection) = self {
            connection.pause.reset();
        }
    }

    /// Attempts that failed until now would not any more.
    pub(super) fn handle_reachable(&mut self, now: Instant) {
        if let Self::Connection(connection) = self
            && connection.is_waiting
        {
            connection.is_waiting = false;
            connection.attempt_at = connection.pause.skip_to(connection.attempt_at, now);
        }
    }

    /// The connection has ended; whether there was one. The source is told.
    pub(super) fn handle_end(&mut self, now: Instant) -> bool {
        let Self::Connection(connection) = self else { return false };
        let was_open = connection.is_open;
        if was_open {
            connection.end(now);
            connection.outgoing.push_back(Signal::Closed);
        }
        was_open
    }

    /// There is no source any more; whether there was a connection to it.
    pub(super) fn handle_gone(&mut self, now: Instant) -> bool {
        match self {
            Self::Datagrams(datagrams) => datagrams.outgoing.clear(),
            Self::Line(line) => line.outgoing.clear(),
            Self::Connection(connection) => {
                connection.outgoing.clear();
                if connection.is_open {
                    connection.end(now);
                    return true;
                }
            }
        }
        false
    }

    /// Sends what was said; whether it will arrive whole, as far as that is known.
    pub(super) fn send_all(
        &mut self,
        now: Instant,
        said: &mut VecDeque<Vec<u8>>,
        is_there: bool,
    ) -> bool {
        let mut is_whole = is_there;
        for bytes in said.drain(..) {
            match self {
                Self::Datagrams(Datagrams { impaired: Some(both), .. }) => {
                    let [up, _] = &mut **both;
                    is_whole &= up.handle_datagram(now, (), (), &bytes);
                }
                Self::Datagrams(datagrams) => datagrams.outgoing.push_back(bytes),
                Self::Connection(connection) if connection.is_open => {
                    connection.up.handle_bytes(now, Bytes::from(bytes));
                }
                Self::Line(line) if line.is_plugged => {
                    line.outgoing.push_back(Signal::Bytes(bytes));
                }
                Self::Connection(_) | Self::Line(_) => is_whole = false,
            }
        }
        is_whole
    }

    /// The source tells something.
    pub(super) fn handle_signal(&mut self, now: Instant, signal: Signal) {
        match (self, signal) {
            (Self::Datagrams(Datagrams { impaired: Some(both), .. }), Signal::Bytes(bytes)) => {
                let [_, down] = &mut **both;
                down.handle_datagram(now, (), (), &bytes);
            }
            (Self::Datagrams(datagrams), Signal::Bytes(bytes)) => {
                datagrams.incoming.push_back(bytes);
            }
            (Self::Line(line), Signal::Bytes(bytes)) if line.is_plugged => {
                line.incoming.push_back(bytes);
            }
            (Self::Connection(connection), Signal::Bytes(bytes)) if connection.is_open => {
                connection.down.handle_bytes(now, Bytes::from(bytes));
            }
            (Self::Connection(connection), Signal::Closed) => connection.is_ending = true,
            (Self::Datagrams(_) | Self::Connection(_) | Self::Line(_), _) => {}
        }
    }

    /// What the source hears by now.
    pub(super) fn poll_signal(&mut self, now: Instant) -> Option<Signal> {
        match self {
            Self::Datagrams(Datagrams { outgoing, impaired, .. }) => {
                let next = match impaired {
                    Some(both) => {
                        let [up, _] = &mut **both;
                        up.poll_delivery(now).map(|datagram| datagram.bytes)
                    }
                    None => outgoing.pop_front(),
                };
                next.map(Signal::Bytes)
            }
            Self::Line(line) => line.outgoing.pop_front(),
            Self::Connection(connection) => {
                let word = connection.outgoing.pop_front();
                word.or_else(|| Some(Signal::Bytes(connection.up.poll_delivery(now)?.into())))
            }
        }
    }

    /// What the device hears by now.
    pub(super) fn poll_received(&mut self, now: Instant) -> Option<Vec<u8>> {
        match self {
            Self::Datagrams(Datagrams { incoming, impaired, .. }) => match impaired {
                Some(both) => {
                    let [_, down] = &mut **both;
                    down.poll_delivery(now).map(|datagram| datagram.bytes)
                }
                None => incoming.pop_front(),
            },
            Self::Line(line) => line.incoming.pop_front(),
            Self::Connection(connection) => connection.down.poll_delivery(now).map(Into::into),
        }
    }

    /// Whether the source has ended the connection, and nothing of it is on its way any more.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self, Self::Connection(connection)
            if connection.is_open && connection.is_ending && connection.down.is_empty())
    }

    /// A line of so many bytes was written that nobody answers.
    pub(super) fn handle_written(&mut self, length: usize, readings: Vec<Reading>) {
        if let Self::Line(Line { written: Some(written), .. }) = self {
            written.push(length, readings);
        }
    }

    /// Everything that was written was read.
    pub(super) fn handle_read(&mut self) {
        if let Self::Line(Line { written: Some(written), .. }) = self {
            written.clear();
        }
    }

    /// What was in the last so many bytes.
    pub(super) fn take_written(&mut self, unread: usize) -> Vec<Vec<Reading>> {
        match self {
            Self::Line(Line { written: Some(written), .. }) => written.last(unread).collect(),
            Self::Datagrams(_) | Self::Connection(_) | Self::Line(_) => Vec::new(),
        }
    }
}

impl Connection {
    fn new(seed: u64) -> Self {
        Self {
            is_open: false,
            attempt_at: Instant::ZERO,
            is_waiting: false,
            pause: Pause::default(),
            seeds: Rng::new(seed),
            impairment: Impairment::default(),
            refuses: false,
            up: ImpairedStream::new(seed),
            down: ImpairedStream::new(seed),
            outgoing: VecDeque::new(),
            is_ending: false,
        }
    }

    fn open(&mut self) {
        let mut way = || {
            let mut way = ImpairedStream::new(self.seeds.next_u64());
            way.set_impairment(self.impairment);
            way
        };
        (self.up, self.down) = (way(), way());
        (self.is_open, self.is_ending) = (true, false);
        self.outgoing.push_back(Signal::Connected);
    }

    fn end(&mut self, now: Instant) {
        self.is_open = false;
        self.attempt_at = self.pause.next_after(now);
        (self.up, self.down) = (ImpairedStream::new(0), ImpairedStream::new(0));
    }

    fn set_faults(&mut self, now: Instant, faults: WayFaults) {
        self.impairment = faults.impairment;
        self.up.set_impairment(faults.impairment);
        self.down.set_impairment(faults.impairment);
        self.refuses = faults.refuses;
        if !self.refuses && self.is_waiting {
            self.is_waiting = false;
            self.attempt_at = self.pause.skip_to(self.attempt_at, now);
        }
    }
}
