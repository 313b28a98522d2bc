//! An HTTP server (RFC 9110, RFC 9112): programs post readings and are answered when they are on
//! disk, and a browser sees the last values of all devices.
//!
//! [`resources`] says what a request means: [`target`] is its path, [`access`] whether it may,
//! [`body`] what it carries, [`media`] in which format, [`posted`] the readings in it; [`commands`] are
//! those that devices fetch. [`shown`] and
//! [`events`] are the last values, once and as they change, [`page`] is what a browser draws them
//! with, and [`refusal`] everything that is not done. Reading and writing requests is hyper's work;
//! [`connection`] adds what it leaves open: a client that does not take its answers. [`stepped`] is what
//! a rehearsal plays.
//!
//! The answer to a request with readings waits for the disk, so a connection has one of them under
//! way at a time; what is sent behind it waits in the kernel.

mod access;
mod body;
mod commands;
mod connection;
mod events;
mod media;
mod page;
mod posted;
mod refusal;
mod resources;
mod shown;
mod stepped;
mod target;

use std::sync::Arc;

use hyper_util::rt::TokioTimer;
use proto::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::access::Access;
use self::body::Bodies;
use self::commands::Commands;
use self::events::Watchers;
pub(crate) use self::posted::body_readings;
use self::resources::Resources;
pub(super) use self::stepped::SteppedHttp;
use super::clients::{Clients, listen};
use super::latest::{self, Latest};
use super::{Context, SourceError, Statuses, Surroundings};
use crate::commands::Orders;
use crate::config::HttpLink;
use crate::store::Spool;
use crate::supervisor::Supervisor;

/// An HTTP server on one address.
pub(crate) struct HttpSource {
    resources: Arc<Resources>,
    clients: Clients,
    spool: Spool,
    orders: Option<Orders>,
}

impl HttpSource {
    pub(super) fn open(
        context: Context,
        link: &HttpLink,
        surroundings: &Surroundings,
        orders: Option<Orders>,
    ) -> Result<Self, SourceError> {
        let listener = listen(link.bind);
        let listener =
            listener.map_err(|source| context.bind_error("link.bind", link.bind, source))?;
        let address = listener.local_addr().unwrap_or(link.bind);
        info!(source = %context.name, %address, "listening for HTTP");
        context.status.set_listening(vec![address]);
        let statuses = Arc::clone(&surroundings.statuses);
        let resources = serves(context, link, statuses, orders.is_some());
        let clients = Clients::new(vec![listener], link.max_clients);
        let spool = surroundings.spool.clone();
        Ok(Self { resources: resources.into(), clients, spool, orders })
    }

    pub(super) fn context(&self) -> &Context {
        &self.resources.context
    }

    pub(super) async fn run(self, stop: CancellationToken) {
        let Self { resources, clients, spool, orders } = self;
        let name = resources.context.name.clone();
        let mut followers: Supervisor<()> = Supervisor::new();
        let (followed, until) = (Arc::clone(&resources), stop.clone());
        followers.start(format!("http {name} readings"), async move {
            let name = &followed.context.name;
            let first = spool.first_since(Timestamp::from_nanos(0), latest::MAX_READINGS as u64);
            let next = first.await.unwrap_or_else(|error| {
                warn!(source = %name, %error, "cannot show what was stored before the start");
                *spool.head().borrow()
            });
            followed.latest.follow(name, &spool, next, until).await;
        });
        if let Some(orders) = orders {
            let (kept, until) = (Arc::clone(&resources), stop.clone());
            followers.start(format!("http {name} commands"), async move {
                if let Some(commands) = &kept.commands {
                    let _ = until.run_until_cancelled(commands.collect(orders)).await;
                }
            });
        }
        let ending = resources.stop.clone();
        let serve = |stream, peer| {
            connection::serve(Arc::clone(&resources), stream, peer, TokioTimer::new())
        };
        tokio::join!(clients.run(&resources.context, &stop, serve), async {
            stop.cancelled().await;
            ending.cancel();
        });
        while followers.next_end().await.is_some() {}
    }
}

/// What a source of this link serves, and whether it has commands for who asks.
fn serves(
    context: Context,
    link: &HttpLink,
    statuses: Arc<Statuses>,
    has_commands: bool,
) -> Resources {
    let timeout = link.timeout.duration();
    let stop = CancellationToken::new();
    Resources {
        context,
        latest: Latest::new().into(),
        access: Access::new(link.token.clone()),
        bodies: Bodies::new(link.max_body.bytes(), timeout),
        watchers: Watchers::new(statuses),
        commands: has_commands.then(|| Commands::new(stop.clone())),
        timeout,
        stop,
    }
}
