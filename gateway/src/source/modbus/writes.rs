//! Orders on a bus: each is a write, and mostly a read of what was written.
//!
//! They go before everything that is polled, several to different units at a time, as the bus takes them.
//! For a unit that does not answer what is polled they wait until it does.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use proto::modbus::{Exception, Failure, Fault, Master, Point, Request};
use serde_json::Value as Json;

use crate::commands::{Order, Orders, value_json};
use crate::config::{ModbusVia, RegisterOrder, Via};
use crate::source::inbox::Inbox;

/// Orders that were begun, at a time; the next ones wait.
const MAX_OPEN: usize = 32;

/// Orders, and those that are under way.
pub(super) struct Writes {
    inbox: Inbox,
    /// In the order of the master.
    units: Vec<WrittenUnit>,
    steps: FuturesUnordered<Pin<Box<dyn Future<Output = Step> + Send>>>,
    open: HashMap<u64, Job>,
    tickets: u64,
}

/// A unit, as far as it matters for writing.
pub(super) struct WrittenUnit {
    pub(super) address: u8,
    pub(super) device: String,
    pub(super) order: RegisterOrder,
}

/// What is to be done next.
pub(super) enum Next {
    Order(Order),
    Step(Step),
}

/// What has come to its end.
pub(super) enum Step {
    /// It was asked whether an order stands, which it does.
    Begun(Box<Job>),
    /// It was told that an order waits for its unit.
    Waits(Order),
    /// An order.
    Ended,
}

/// An order that is carried out.
#[derive(Debug)]
pub(super) struct Job {
    order: Order,
    via: ModbusVia,
    unit: usize,
    point: Point,
    request: Request,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Writing,
    /// It was written and confirmed.
    Reading,
}

impl Writes {
    pub(super) fn new(orders: Option<Orders>, units: Vec<WrittenUnit>) -> Self {
        let (steps, open) = (FuturesUnordered::new(), HashMap::new());
        Self { inbox: Inbox::new(orders), units, steps, open, tickets: 0 }
    }

    /// Waits until something is to be done. Nothing is lost when it is not waited for any more.
    pub(super) async fn next(&mut self) -> Next {
        let has_room = self.open.len() + self.steps.len() < MAX_OPEN && !self.inbox.is_full();
        tokio::select! {
            Some(step) = self.steps.next(), if !self.steps.is_empty() => Next::Step(step),
            order = self.inbox.arrival(), if has_room => Next::Order(order),
            // All that is kept waits for silent units, and no more can be.
            else => std::future::pending().await,
        }
    }

    /// Does what is to be done.
    pub(super) fn go_on(&mut self, next: Next, master: &mut Master) {
        match next {
            Next::Order(order) => self.take(order, master),
            Next::Step(Step::Begun(job)) => self.ask(*job, master),
            Next::Step(Step::Waits(order)) => self.inbox.keep(order),
            Next::Step(Step::Ended) => {}
        }
    }

    /// Begins those that wait for a unit that answers again.
    pub(super) fn release(&mut self, master: &Master) {
        for order in self.inbox.take_held() {
            let unit = self.unit(&order);
            let has_room = self.open.len() + self.steps.len() < MAX_OPEN;
            if has_room && unit.is_none_or(|unit| !master.is_silent(unit)) {
                self.take(order, master);
            } else {
                self.inbox.keep(order);
            }
        }
    }

    /// A request has come to its end; the unit that it was for.
    pub(super) fn handle_served(
        &mut self,
        ticket: u64,
        outcome: Result<Vec<u8>, Failure>,
        master: &mut Master,
    ) -> Option<usize> {
        let job = self.open.remove(&ticket)?;
        let unit = job.unit;
        match (job.phase, outcome) {
            (Phase::Writing, Ok(_)) if job.via.read_back => {
                let request = Request::Read(job.point.read());
                self.ask(Job { phase: Phase::Reading, request, ..job }, master);
            }
            (Phase::Writing, Ok(_)) => self.done(job.order, None),
            (Phase::Reading, Ok(data)) => self.compare(job, &data),
            (phase, Err(why)) => self.fail(job.order, phase, why),
        }
        Some(unit)
    }

    /// Keeps orders as long as there is no link. It never ends.
    pub(super) async fn hold(&mut self, why: &str) -> Infallible {
        loop {
            let step = tokio::select! {
                never = self.inbox.hold("not_connected", why) => match never {},
                Some(step) = self.steps.next(), if !self.steps.is_empty() => step,
            };
            match step {
                Step::Begun(job) => {
                    self.unreachable(job.order, "not_connected", "there is no link");
                }
                Step::Waits(order) => self.inbox.keep(order),
                Step::Ended => {}
            }
        }
    }

    fn take(&mut self, order: Order, master: &Master) {
        if order.is_withdrawn() {
            return;
        }
        let Some(unit) = self.unit(&order) else {
            let why = "no unit of the bus is this device; see `via.unit`";
            return self.failed(order, "unit", why);
        };
        if master.is_silent(unit) {
            self.steps.push(Box::pin(async move {
                order.waiting("resting", "the unit does not answer").await;
                Step::Waits(order)
            }));
            return;
        }
        match self.plan(&order, unit) {
            Ok((via, point, request)) => {
                let phase = Phase::Writing;
                let job = Box::new(Job { order, via, unit, point, request, phase });
                self.steps.push(Box::pin(async move {
                    match job.order.begin().await {
                        true => Step::Begun(job),
                        false => Step::Ended,
                    }
                }));
            }
            Err(why) => self.failed(order, "value", why),
        }
    }

    /// The position of the unit that an order is for.
    fn unit(&self, order: &Order) -> Option<usize> {
        let Via::Modbus(via) = &order.operation.via else { return None };
        self.units.iter().position(|unit| match via.unit {
            Some(address) => unit.address == address,
            None => unit.device == order.device(),
        })
    }

    fn plan(&self, order: &Order, unit: usize) -> Result<(ModbusVia, Point, Request), String> {
        let Via::Modbus(via) = &order.operation.via else {
            return Err("it is no operation of Modbus".to_owned());
        };
        let own = self.units.get(unit).map_or(RegisterOrder::Abcd, |unit| unit.order);
        let point = via.point(own).ok_or("there is no such register or coil")?;
        let value = order.value.as_ref().ok_or("there is no value")?;
        let request = via.request(&point, value).map_err(|why| why.to_string())?;
        Ok((via.clone(), point, request))
    }

    fn ask(&mut self, job: Job, master: &mut Master) {
        self.tickets += 1;
        if master.handle_request(self.tickets, job.unit, job.request.clone()) {
            self.open.insert(self.tickets, job);
        } else {
            self.unreachable(job.order, "disconnected", "the link was lost");
        }
    }

    /// What was read back is what was written, or not.
    fn compare(&mut self, job: Job, data: &[u8]) {
        let found = job.via.value(&job.point, data);
        let written = job.order.value.as_ref().map(value_json).unwrap_or_default();
        // Both as they are in the registers: what a value is rounded to is as right as the value.
        let same = job.order.value.as_ref().is_some_and(|value| {
            let holds =
                found.as_ref().ok().and_then(|found| job.via.request(&job.point, found).ok());
            holds.is_some() && holds == job.via.request(&job.point, value).ok()
        });
        match found {
            Ok(found) if same => self.done(job.order, Some(value_json(&found))),
            Ok(found) => {
                let found = value_json(&found);
                let why = format!("{written} was written, and {found} is there");
                self.failed(job.order, "read_back", why);
            }
            Err(why) => {
                let why = format!("{written} was written, and what is there is no value: {why}");
                self.failed(job.order, "read_back", why);
            }
        }
    }

    fn fail(&mut self, order: Order, phase: Phase, why: Failure) {
        let (code, is_final) = code(why);
        match (phase, is_final) {
            (Phase::Writing, true) => self.failed(order, code, why.to_string()),
            (Phase::Reading, true) => {
                let why = format!("it was written, and cannot be read back: {why}");
                self.failed(order, "read_back", why);
            }
            (_, false) => self.unreachable(order, code, why.to_string()),
        }
    }

    fn done(&mut self, order: Order, result: Option<Json>) {
        self.report(order.done(result));
    }

    fn failed(&mut self, order: Order, code: impl Into<String>, why: impl Into<String>) {
        let (code, why) = (code.into(), why.into());
        self.report(async move { order.failed(&code, why).await });
    }

    fn unreachable(&mut self, order: Order, code: impl Into<String>, why: impl Into<String>) {
        let (code, why) = (code.into(), why.into());
        self.report(async move { order.unreachable(&code, why).await });
    }

    /// A report does not hold up the bus.
    fn report(&mut self, report: impl Future<Output = ()> + Send + 'static) {
        self.steps.push(Box::pin(async move {
            report.await;
            Step::Ended
        }));
    }
}

/// What a failure is called, and whether it is useless to try again.
fn code(why: Failure) -> (String, bool) {
    match why {
        Failure::Answer(Fault::Exception(exception)) => {
            let may_pass = exception == Exception::SERVER_DEVICE_BUSY || exception.is_absence();
            (format!("exception_{}", exception.0), !may_pass)
        }
        Failure::Answer(Fault::Echo) => (why.reason().to_owned(), true),
        Failure::Timeout => ("no_answer".to_owned(), false),
        Failure::Checksum
        | Failure::Truncated
        | Failure::Unit(_)
        | Failure::Late
        | Failure::NotModbus
        | Failure::Disconnected
        | Failure::Answer(Fault::Function { .. } | Fault::Length { .. }) => {
            (why.reason().to_owned(), false)
        }
    }
}
