//! What a device speaks, whatever carries it.

mod coap;
mod coap_tcp;
mod http;
mod lines;
mod link;

use std::collections::VecDeque;

use device_sim::Via;
use device_sim::device::Report;
use device_sim::ledger::Ledger;
use device_sim::payload::Payload;
use proto::{Instant, Reading};

use self::coap::Coap;
use self::coap_tcp::CoapTcp;
use self::http::Http;
use self::lines::Lines;
use self::link::Link;
use super::Part;

/// What a voice is given.
pub(super) struct Turn<'a> {
    pub(super) now: Instant,
    pub(super) ledger: &'a mut Ledger,
    /// What it says: datagrams, or the next bytes.
    pub(super) said: &'a mut VecDeque<Vec<u8>>,
}

/// A voice.
pub(super) enum Voice {
    /// Nobody answers.
    Plain {
        via: Via,
        payload: Payload,
    },
    Coap(Box<Coap>),
    CoapTcp(Box<CoapTcp>),
    Lines(Lines),
    Link(Box<Link>),
    Http(Box<Http>),
}

impl Voice {
    pub(super) fn new(part: &Part) -> Self {
        let Part { via, payload, path, seed, .. } = part;
        match via {
            Via::Coap => Self::Coap(Coap::new(payload, path, part.peer, *seed).into()),
            Via::CoapTcp => Self::CoapTcp(CoapTcp::new(payload, path).into()),
            Via::Tcp => Self::Lines(Lines::new(payload)),
            Via::Http => Self::Http(Http::new(payload, path, &part.host).into()),
            // What is not played was refused before.
            Via::Udp | Via::Serial | Via::Mqtt | Via::Modbus => {
                Self::Plain { via: *via, payload: payload.clone() }
            }
            Via::LinkSerial | Via::LinkTcp | Via::LinkUdp => {
                let identity = part.identity.clone();
                Self::Link(Link::new(*via, identity, &part.device).into())
            }
        }
    }

    /// What it says before anything else, whenever its line is there.
    pub(super) fn greeting(&self) -> Option<Vec<u8>> {
        // Who opens a port may come in the middle of a line, and waits for the next one to begin.
        matches!(self, Self::Plain { via: Via::Serial, .. }).then(|| b"\n".to_vec())
    }

    /// Whether it leaves its connection when its device is away.
    pub(super) const fn leaves(&self) -> bool {
        matches!(self, Self::CoapTcp(_) | Self::Lines(_) | Self::Http(_))
    }

    /// Whether it takes another report.
    pub(super) fn has_room(&self) -> bool {
        match self {
            Self::Plain { .. } | Self::Coap(_) => true,
            Self::CoapTcp(coap) => coap.has_room(),
            Self::Lines(lines) => lines.has_room(),
            Self::Link(link) => link.has_room(),
            Self::Http(http) => http.has_room(),
        }
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Instant {
        match self {
            Self::Plain { .. } | Self::Lines(_) => Instant::FAR_FUTURE,
            Self::Coap(coap) => coap.poll_timeout(),
            Self::CoapTcp(coap) => coap.poll_timeout(),
            Self::Link(link) => link.poll_timeout(),
            Self::Http(http) => http.poll_timeout(),
        }
    }

    /// Says a report, and tells the ledger; gives it back where nobody answers.
    pub(super) fn handle_report(
        &mut self,
        turn: &mut Turn<'_>,
        report: Report,
    ) -> Option<Vec<Reading>> {
        if let Self::Link(link) = self {
            link.handle_report(turn, report);
            return None;
        }
        let Report { due, readings } = report;
        turn.ledger.handle_sent(turn.now, due, self.via(), &readings);
        match self {
            Self::Plain { via, payload } => {
                turn.said.push_back(match *via == Via::Udp {
                    true => payload.encode(&readings),
                    false => payload.encode_line(&readings),
                });
                return Some(readings);
            }
            Self::Coap(coap) => coap.handle_report(turn, readings),
            Self::CoapTcp(coap) => coap.handle_report(turn, readings),
            Self::Lines(lines) => lines.handle_report(turn, readings),
            Self::Http(http) => http.handle_report(turn, readings),
            // It numbers reports, before the ledger is told of them.
            Self::Link(_) => {}
        }
        None
    }

    /// A datagram, or the next bytes.
    pub(super) fn handle_bytes(&mut self, turn: &mut Turn<'_>, bytes: &[u8]) {
        match self {
            Self::Plain { .. } => {}
            Self::Coap(coap) => coap.handle_datagram(turn, bytes),
            Self::CoapTcp(coap) => coap.handle_bytes(turn, bytes),
            Self::Lines(lines) => lines.handle_bytes(turn, bytes),
            Self::Link(link) => link.handle_bytes(turn, bytes),
            Self::Http(http) => http.handle_bytes(turn, bytes),
        }
    }

    pub(super) fn handle_timeout(&mut self, turn: &mut Turn<'_>) {
        if self.poll_timeout() > turn.now {
            return;
        }
        match self {
            Self::Plain { .. } | Self::Lines(_) => {}
            Self::Coap(coap) => coap.handle_timeout(turn),
            Self::CoapTcp(coap) => coap.handle_timeout(turn),
            Self::Link(link) => link.handle_timeout(turn),
            Self::Http(http) => http.handle_timeout(turn),
        }
    }

    /// There is a port again.
    pub(super) fn handle_plugged(&mut self) {
        if let Self::Link(link) = self {
            link.handle_plugged();
        }
    }

    /// There is a connection.
    pub(super) fn handle_connected(&mut self, turn: &mut Turn<'_>) {
        match self {
            Self::Plain { .. } | Self::Coap(_) | Self::Lines(_) | Self::Http(_) => {}
            Self::CoapTcp(coap) => coap.handle_connected(turn),
            Self::Link(link) => link.handle_connected(turn),
        }
    }

    /// There is none any more.
    pub(super) fn handle_lost(&mut self, turn: &mut Turn<'_>) {
        match self {
            Self::Plain { .. } | Self::Coap(_) => {}
            Self::Link(link) => link.handle_lost(),
            Self::Http(http) => http.handle_lost(turn),
            Self::CoapTcp(coap) => coap.handle_lost(turn),
            Self::Lines(lines) => lines.handle_lost(turn),
        }
    }

    /// Whether it has no use for its connection any more.
    pub(super) const fn wants_end(&self) -> bool {
        match self {
            Self::Plain { .. } | Self::Coap(_) | Self::Lines(_) => false,
            Self::CoapTcp(coap) => coap.wants_end(),
            Self::Link(link) => link.wants_end(),
            Self::Http(http) => http.wants_end(),
        }
    }

    /// It waits for no answer any more.
    pub(super) fn give_up(&mut self, turn: &mut Turn<'_>) {
        match self {
            Self::Plain { .. } => {}
            Self::Coap(coap) => coap.give_up(turn),
            Self::CoapTcp(coap) => coap.handle_lost(turn),
            Self::Lines(lines) => lines.handle_lost(turn),
            Self::Link(link) => link.give_up(turn),
            Self::Http(http) => http.forget(turn),
        }
    }

    const fn via(&self) -> Via {
        match self {
            Self::Plain { via, .. } => *via,
            Self::Coap(_) => Via::Coap,
            Self::CoapTcp(_) => Via::CoapTcp,
            Self::Lines(_) => Via::Tcp,
            Self::Link(link) => link.via(),
            Self::Http(_) => Via::Http,
        }
    }
}
