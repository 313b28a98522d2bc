//! Orders that nodes ask for: `/cmd`, `/cmd/{device}` and `/cmd/{device}/{id}` (docs/commands/coap.md).

use proto::coap::content_format::{CBOR, JSON};
use proto::coap::{Code, Delivery, Method, OptionNumber, Request, Response, Target};
use serde_json::Value as Json;

use super::resources::{Action, Resources, Sender, Work, busy, check_get, not_allowed, not_found};
use crate::cbor;
use crate::commands::{Answered, Mailbox, Pending, Taken};

/// The first segment of the path.
pub(super) const ORDERS: &str = "cmd";

/// What a node asks for: the order of a device, and how it wants it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct OrderView {
    pub(super) device: String,
    /// Its Content-Format.
    pub(super) format: u16,
}

impl OrderView {
    /// The answer: the order, or `null` where there is none.
    pub(super) fn show(&self, pending: Option<&Pending>) -> Response {
        let json = pending.map_or(Json::Null, Pending::json);
        let payload = match self.format {
            CBOR => cbor::encode(&json),
            _ => json.to_string().into_bytes(),
        };
        Response::new(Code::CONTENT).content_format(self.format).payload(payload)
    }
}

impl Resources {
    /// The orders that nodes ask for, where there are any.
    pub(super) fn mailbox(&self) -> Option<&Mailbox> {
        self.node_orders.as_ref()?.mailbox.as_ref()
    }

    /// A node asks for the order of a device: its own one where it names none.
    pub(super) fn order(
        &self,
        sender: Sender,
        device: Option<&str>,
        request: &Request,
    ) -> Result<Action, Response> {
        let mailbox = self.mailbox_for(sender)?;
        let device = device.map_or_else(|| self.name_of(sender), str::to_owned);
        self.check_owner(sender, &device)?;
        check_get(request)?;
        request.check_conditions(Target::Present(None))?;
        let format = request.negotiate(&[JSON, CBOR])?;
        Ok(Action::Await(Work::Order(mailbox.clone(), OrderView { device, format })))
    }

    /// A node says what became of an order.
    pub(super) fn outcome(
        &self,
        sender: Sender,
        device: &str,
        id: &str,
        request: &Request,
    ) -> Result<Action, Response> {
        let mailbox = self.mailbox_for(sender)?;
        self.check_owner(sender, device)?;
        if request.method != Method::Post {
            return Err(not_allowed("POST the outcome"));
        }
        request.check_conditions(Target::Present(None))?;
        let answered = answered(request).inspect_err(|response| {
            let why = String::from_utf8_lossy(&response.payload);
            self.context.refuse("bad_request", sender.peer, why, &request.payload);
        })?;
        let work = Work::Outcome(mailbox.clone(), device.to_owned(), id.to_owned(), answered);
        Ok(Action::Await(work))
    }

    fn mailbox_for(&self, sender: Sender) -> Result<&Mailbox, Response> {
        let mailbox = self.mailbox().filter(|_| sender.way.delivery() == Delivery::Unicast);
        mailbox.ok_or_else(not_found)
    }

    /// A name that is registered here is that of who has registered it.
    fn check_owner(&self, sender: Sender, device: &str) -> Result<(), Response> {
        let owner = self.registered.as_ref().and_then(|nodes| nodes.address_of(device));
        let from = sender.peer.ip().to_canonical();
        if owner.is_none_or(|owner| owner.ip().to_canonical() == from) {
            return Ok(());
        }
        let why = format!("{device} is registered from elsewhere");
        self.context.refuse("not_allowed", sender.peer, &why, b"");
        Err(Response::new(Code::FORBIDDEN).diagnostic(&why))
    }

    /// The answer to readings of these devices that are on disk: with the way to an order, if one waits
    /// for any of them.
    pub(super) fn with_hint(&self, response: Response, devices: &[String]) -> Response {
        let waits = |device: &&String| self.mailbox().is_some_and(|mailbox| mailbox.has(device));
        match devices.iter().find(waits) {
            Some(device) => response
                .option(OptionNumber::LOCATION_PATH, ORDERS.as_bytes())
                .option(OptionNumber::LOCATION_PATH, device.as_bytes()),
            None => response,
        }
    }
}

/// The answer to an outcome.
pub(super) fn taken(taken: Taken) -> Response {
    match taken {
        Taken::Stored => Response::new(Code::CHANGED),
        Taken::Gone => Response::new(Code::NOT_FOUND).diagnostic("no such order, or none any more"),
        Taken::Busy => busy(),
    }
}

/// What a node says of its order, or the answer that refuses it.
fn answered(request: &Request) -> Result<Answered, Response> {
    let bad = |why: String| Response::new(Code::BAD_REQUEST).diagnostic(&why);
    let body = match request.options.content_format() {
        None | Some(JSON) => request.payload.clone(),
        Some(_) if request.payload.is_empty() => Vec::new(),
        Some(CBOR) => {
            let json = cbor::decode(&request.payload).map_err(|error| bad(error.to_string()))?;
            json.to_string().into_bytes()
        }
        Some(_) => return Err(Response::new(Code::UNSUPPORTED_CONTENT_FORMAT)),
    };
    Answered::parse(&body).map_err(|error| bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pending() -> Pending {
        Pending {
            id: "42".to_owned(),
            operation: "position".to_owned(),
            value: Some(json!(40)),
            seconds: 60,
        }
    }

    #[test]
    fn an_order_is_shown_in_either_format_and_none_is_null() {
        let show = |format, pending: Option<&Pending>| {
            OrderView { device: "v".to_owned(), format }.show(pending).payload
        };
        let json = json!({"id": "42", "operation": "position", "value": 40, "seconds": 60});
        let shown = show(JSON, Some(&pending()));
        assert_eq!(serde_json::from_slice::<Json>(&shown).unwrap(), json);
        assert_eq!(cbor::decode(&show(CBOR, Some(&pending()))), Ok(json));
        assert_eq!((show(JSON, None), show(CBOR, None)), (b"null".to_vec(), vec![0xf6]));
    }

    #[test]
    fn an_outcome_is_read_in_either_format() {
        let post = |format: Option<u16>, payload: &[u8]| {
            let request = Request::new(Method::Post).payload(payload);
            answered(&format.into_iter().fold(request, Request::content_format))
        };
        let done = Answered::Done(Some(json!(40)));
        let body = json!({"state": "done", "result": 40});
        assert_eq!(post(None, body.to_string().as_bytes()), Ok(done.clone()));
        assert_eq!(post(Some(JSON), body.to_string().as_bytes()), Ok(done.clone()));
        assert_eq!(post(Some(CBOR), &cbor::encode(&body)), Ok(done));
        assert_eq!(post(None, b""), Ok(Answered::Done(None)));
        assert_eq!(post(Some(JSON), b"{").unwrap_err().code, Code::BAD_REQUEST);
        assert_eq!(post(Some(42), b"1").unwrap_err().code, Code::UNSUPPORTED_CONTENT_FORMAT);
    }
}
