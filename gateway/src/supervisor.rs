//! The only place that starts tasks: each has a name, and its end is noticed.

use std::collections::HashMap;
use std::future::Future;

use tokio::task::{Id, JoinError, JoinSet};

/// A group of named tasks, which end with it.
#[derive(Default)]
pub(crate) struct Supervisor<T> {
    tasks: JoinSet<T>,
    names: HashMap<Id, String>,
}

/// How a task ended.
#[derive(Debug)]
pub(crate) struct Ended<T> {
    /// The name it was started with.
    pub(crate) name: String,
    /// What it returned, or that it panicked.
    pub(crate) outcome: Result<T, JoinError>,
}

impl<T: 'static> Supervisor<T> {
    /// No tasks.
    pub(crate) fn new() -> Self {
        Self { tasks: JoinSet::new(), names: HashMap::new() }
    }

    /// Starts a task.
    pub(crate) fn start(&mut self, name: String, task: impl Future<Output = T> + Send + 'static)
    where
        T: Send,
    {
        let handle = self.tasks.spawn(task);
        self.names.insert(handle.id(), name);
    }

    /// Waits for the next task to end; `None` when there is none.
    pub(crate) async fn next_end(&mut self) -> Option<Ended<T>> {
        let joined = self.tasks.join_next_with_id().await?;
        let (id, outcome) = match joined {
            Ok((id, value)) => (id, Ok(value)),
            Err(error) => (error.id(), Err(error)),
        };
        Some(Ended { name: self.names.remove(&id).unwrap_or_default(), outcome })
    }

    /// How many tasks have not ended, or not been seen to.
    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether every task has ended.
    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}
