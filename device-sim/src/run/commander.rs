//! Asks for the commands of a scenario at the broker, and tells their ledger what the gateway says of them.
//!
//! A gateway that has never been at this broker would not get what is published there. So before the run
//! begins a message that is no request is published until somebody refuses it.

use std::collections::BTreeSet;
use std::time::Duration;

use rumqttc::{AsyncClient, QoS};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::far_end::FarEndError;
use super::subscription::Subscription;
use crate::broker::Broker;
use crate::clock::Clock;
use crate::command::{CommandPlan, Request, Requests, SharedCommandLedger};
use crate::report::Commands;
use crate::scenario::Scenario;
use crate::scenario::values::{Address, BrokerAddress};

/// How long it may take until a gateway takes commands.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often that is tried.
const TRY: Duration = Duration::from_millis(500);
/// How long commands that are carried out twice are waited for when each has a last state.
const LINGER: Duration = Duration::from_millis(500);

/// A client of the broker at which a gateway takes commands.
pub(super) struct Commander {
    plan: CommandPlan,
    subscription: Subscription,
}

/// The same while a run asks.
pub(super) struct Commanding {
    requests: Requests,
    /// The devices that this process plays.
    ours: BTreeSet<String>,
    client: AsyncClient,
    ledger: SharedCommandLedger,
    clock: Clock,
    /// Who listens to the gateway.
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Commander {
    /// Connects, and waits until the gateway takes commands; `None` where the scenario has none.
    pub(super) async fn connect(
        scenario: &Scenario,
        built_in: Option<&Broker>,
    ) -> Result<Option<Self>, FarEndError> {
        let Some(plan) = scenario.commands.clone() else { return Ok(None) };
        let broker: Address = match (&scenario.target.mqtt, built_in) {
            (Some(BrokerAddress::At(address)), _) => address.clone(),
            (_, Some(broker)) => broker.address().into(),
            (Some(BrokerAddress::BuiltIn(_)) | None, None) => return Ok(None),
        };
        let filters = vec![format!("{}/response/+/+", plan.root), refusals(&plan)];
        let subscription = Subscription::new(&broker, scenario.target.login(), filters).await?;
        let mut commander = Self { plan, subscription };
        match timeout(PATIENCE, commander.until_taken()).await {
            Ok(()) => Ok(Some(commander)),
            Err(_) => {
                let (root, broker) = (commander.plan.root, broker.to_string());
                Err(FarEndError::NoCommands { root, broker })
            }
        }
    }

    async fn until_taken(&mut self) {
        let Some((topic, payload)) = self.plan.probe() else { return };
        let (client, refusals) = (self.subscription.client(), refusals(&self.plan));
        loop {
            // Where too many wait already, one more would not help.
            let _ = client.try_publish(&topic, QoS::AtLeastOnce, false, payload);
            let refused = async { while self.subscription.next().await.topic != refusals {} };
            if timeout(TRY, refused).await.is_ok() {
                return;
            }
        }
    }

    /// Listens from now on, for a run that begins now and plays these devices.
    pub(super) fn begin(
        self,
        seed: u64,
        ours: BTreeSet<String>,
        ledger: SharedCommandLedger,
        clock: Clock,
    ) -> Commanding {
        let requests = Requests::new(&self.plan, seed, clock.civil_origin());
        let (client, stop) = (self.subscription.client(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(self.subscription, self.plan, ledger.clone(), stop.clone()));
        Commanding { requests, ours, client, ledger, clock, tasks, stop }
    }
}

impl Commanding {
    /// Asks for what is due, until it is dropped.
    pub(super) async fn ask(&mut self) {
        loop {
            self.clock.sleep_until(self.requests.poll_timeout()).await;
            while let Some(request) = self.requests.poll_request(self.clock.now()) {
                if self.ours.contains(&request.device) {
                    self.publish(request).await;
                }
            }
        }
    }

    async fn publish(&self, Request { id, device, topic, payload }: Request) {
        self.ledger.handle_sent(&device, &id);
        if let Err(error) = self.client.publish(topic, QoS::AtLeastOnce, false, payload).await {
            // It has no outcome then, and that is counted.
            tracing::warn!(%error, id, "cannot ask for a command");
        }
    }

    /// Waits until every command has a last state, and a moment for what is done again.
    pub(super) async fn settled(&self) {
        self.ledger.settled().await;
        sleep(LINGER).await;
    }

    /// Ends it; what became of the commands.
    pub(super) async fn finish(mut self) -> Commands {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.ledger.verdict()
    }
}

async fn listen(
    mut subscription: Subscription,
    plan: CommandPlan,
    ledger: SharedCommandLedger,
    stop: CancellationToken,
) {
    let refusals = refusals(&plan);
    while let Some(publish) = stop.run_until_cancelled(subscription.next()).await {
        if publish.topic == refusals {
            let why = String::from_utf8_lossy(&publish.payload);
            tracing::debug!(%why, "the gateway refuses a message");
        } else if let Err(error) = ledger.handle_response(&publish.payload) {
            tracing::warn!(topic = publish.topic, %error, "no response to a command");
        }
    }
    subscription.leave().await;
}

/// Where a gateway says why a message is no request.
fn refusals(plan: &CommandPlan) -> String {
    format!("{}/refused", plan.root)
}
