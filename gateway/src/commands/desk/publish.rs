//! What is published of commands, and when.

use proto::{Instant, Timestamp};
use serde_json::json;

use super::super::command::{Command, Failure, Key, ReplyTo, Step};
use super::super::response::{refusal, response};
use super::{Active, Asker, BUSY_RETRY, Desk, Effect};
use crate::config::Id;
use crate::store::Message;

impl Desk {
    /// Tells that a request is none, or comes to nothing.
    pub(crate) fn refuse(
        &mut self,
        asker: &Asker,
        topic: Option<&str>,
        key: Option<&Key>,
        failure: &Failure,
    ) {
        let payload = refusal(self.rules.gateway.as_str(), topic, key, failure);
        let payload = payload.to_string();
        let own = (self.rules.topics.refused(), None);
        let reply = asker.reply_to.clone().map(|reply| (reply.topic, reply.correlation));
        let (topic, correlation) = reply.unwrap_or(own);
        let brokers = self.brokers(asker.broker.as_ref());
        let all = brokers
            .into_iter()
            .map(|broker| message(&broker, &topic, &payload, correlation.as_deref()));
        self.effects.push_back(Effect::Tell(all.collect()));
    }

    /// A state is stored to be published, or could not be.
    pub(crate) fn handle_published(
        &mut self,
        now: Instant,
        key: &Key,
        step: usize,
        is_stored: bool,
    ) {
        let Some(active) = self.active.get_mut(key) else { return };
        active.is_publishing = false;
        if is_stored {
            active.command.published = active.command.published.max(step + 1);
            self.change(key, false);
        } else {
            active.publish_at = Some(now + BUSY_RETRY);
            self.arm(key);
        }
        self.publish(now, key);
        let is_over = |active: &Active| {
            active.command.state().is_final()
                && active.command.published >= active.command.steps.len()
        };
        if self.active.get(key).is_some_and(is_over)
            && let Some(active) = self.active.remove(key)
        {
            self.changed.remove(key);
            self.timers.remove(&(active.timer.unwrap_or(Instant::ZERO), key.clone()));
            self.gone.push(active.command);
        }
    }

    /// Publishes the next state that is not published, one at a time.
    pub(super) fn publish(&mut self, now: Instant, key: &Key) {
        if self.active.get(key).is_some_and(|active| active.publish_at.is_none_or(|at| at <= now)) {
            self.publish_now(key);
        }
    }

    pub(super) fn publish_now(&mut self, key: &Key) {
        let Some(active) = self.active.get_mut(key) else { return };
        let step = active.command.published;
        if active.is_publishing || active.publish_at.is_some() || step >= active.command.steps.len()
        {
            return;
        }
        active.is_publishing = true;
        let Some(active) = self.active.get(key) else { return };
        let messages = self.messages(&active.command, step, None);
        self.effects.push_back(Effect::Publish { key: key.clone(), step, messages });
    }

    /// What is published of a state: to who has asked, and to who asks again.
    pub(super) fn messages(
        &self,
        command: &Command,
        step: usize,
        again: Option<&Asker>,
    ) -> Vec<Message> {
        let Some(step) = command.steps.get(step) else { return Vec::new() };
        let members = self.members(&command.key);
        let payload = response(self.rules.gateway.as_str(), command, step, members).to_string();
        let topic = self.rules.topics.response(&command.key.device, &command.key.id);
        let broker = again.map_or(command.broker.as_ref(), |asker| asker.broker.as_ref());
        let reply_to = again.map_or(command.reply_to.as_ref(), |asker| asker.reply_to.as_ref());
        let mut messages = Vec::new();
        for broker in self.brokers(broker) {
            messages.push(message(&broker, &topic, &payload, None));
            if let Some(ReplyTo { topic, correlation }) = reply_to {
                messages.push(message(&broker, topic, &payload, correlation.as_deref()));
            }
        }
        messages
    }

    pub(super) fn tell_progress(
        &mut self,
        wall: Timestamp,
        key: &Key,
        progress: serde_json::Value,
    ) {
        let Some(active) = self.active.get(key) else { return };
        let command = &active.command;
        let state = Step::of(command.state(), wall);
        let mut payload = response(self.rules.gateway.as_str(), command, &state, None);
        if let Some(object) = payload.as_object_mut() {
            object.insert("progress".to_owned(), json!(progress));
        }
        let payload = payload.to_string();
        let topic = self.rules.topics.response(&key.device, &key.id);
        let brokers = self.brokers(command.broker.as_ref());
        let all = brokers.into_iter().map(|broker| message(&broker, &topic, &payload, None));
        let all = all.collect();
        self.effects.push_back(Effect::Tell(all));
    }

    /// The brokers that are told: the one that has asked, or all where it was somebody on this machine.
    fn brokers(&self, asker: Option<&Id>) -> Vec<Id> {
        asker.map_or_else(|| self.rules.commands.from.clone(), |broker| vec![broker.clone()])
    }
}

fn message(broker: &Id, topic: &str, payload: &str, correlation: Option<&[u8]>) -> Message {
    Message {
        broker: broker.as_str().into(),
        topic: topic.to_owned(),
        payload: payload.to_owned().into(),
        retain: false,
        content_type: Some("application/json".to_owned()),
        correlation: correlation.map(bytes::Bytes::copy_from_slice),
    }
}
