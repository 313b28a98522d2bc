//! What the clients of one socket observe (RFC 7641): which number stands for what.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proto::Reading;
use proto::coap::{ETag, ResourceId, Response};

use super::fetched::OrderView;
use super::registered::Look;
use super::resources::Subject;

/// Different lookups that are observed; each has to be made anew with every registration. A further
/// one is answered without Observe.
const MAX_LOOKUPS: usize = 64;

/// What is observed: subjects and orders, as many as there are observers, and lookups.
#[derive(Default)]
pub(super) struct Observed {
    subjects: HashMap<ResourceId, Subject>,
    by_device: HashMap<String, Vec<ResourceId>>,
    by_topic: HashMap<String, Vec<ResourceId>>,
    /// With what their observers know.
    lookups: BTreeMap<ResourceId, (Look, ETag)>,
    /// With the identifiers of the orders that their observers know.
    orders: BTreeMap<ResourceId, (OrderView, Option<String>)>,
    by_order: HashMap<OrderView, ResourceId>,
    last_id: u64,
}

impl Observed {
    /// Whether no subject is.
    pub(super) fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    /// Whether any lookup is.
    pub(super) fn has_lookups(&self) -> bool {
        !self.lookups.is_empty()
    }

    /// The number of a lookup whose answer is `response`; none where there are too many.
    pub(super) fn lookup_id(&mut self, look: &Look, response: &Response) -> Option<ResourceId> {
        let known = self.lookups.iter().find_map(|(id, (known, _))| (known == look).then_some(*id));
        if known.is_some() || self.lookups.len() >= MAX_LOOKUPS {
            return known;
        }
        self.last_id += 1;
        let id = ResourceId(self.last_id);
        self.lookups.insert(id, (look.clone(), tag(response)));
        Some(id)
    }

    /// The lookups that have other answers than before.
    pub(super) fn changed_lookups(
        &mut self,
        answer: impl Fn(&Look) -> Response,
    ) -> Vec<(ResourceId, Response)> {
        let mut changed = Vec::new();
        for (id, (look, known)) in &mut self.lookups {
            let response = answer(look);
            let now = tag(&response);
            if now != *known {
                *known = now;
                changed.push((*id, response));
            }
        }
        changed
    }

    /// Whether any order is.
    pub(super) fn has_orders(&self) -> bool {
        !self.orders.is_empty()
    }

    /// The number of an order, of which a new observer is told this one. What others know stays known:
    /// where it is something else they are told by [`changed_orders`](Self::changed_orders).
    pub(super) fn order_id(&mut self, view: &OrderView, told: Option<&str>) -> ResourceId {
        let last = &mut self.last_id;
        let id = *self.by_order.entry(view.clone()).or_insert_with(|| {
            *last += 1;
            ResourceId(*last)
        });
        self.orders.entry(id).or_insert_with(|| (view.clone(), told.map(str::to_owned)));
        id
    }

    /// The orders of which others are there than observers know, by their identifiers; from now on they
    /// count as known.
    pub(super) fn changed_orders(
        &mut self,
        id_of: impl Fn(&str) -> Option<String>,
    ) -> Vec<(ResourceId, OrderView)> {
        let mut changed = Vec::new();
        for (id, (view, known)) in &mut self.orders {
            let now = id_of(&view.device);
            if now != *known {
                *known = now;
                changed.push((*id, view.clone()));
            }
        }
        changed
    }

    /// Observers are told another order.
    pub(super) fn set_told(&mut self, id: ResourceId, told: Option<&str>) {
        if let Some((_, known)) = self.orders.get_mut(&id) {
            *known = told.map(str::to_owned);
        }
    }

    /// The number of a subject, which it has from now on until it is [forgotten](Self::forget).
    pub(super) fn id(&mut self, subject: &Subject) -> ResourceId {
        let subjects = &self.subjects;
        let is_same =
            |id: &ResourceId| subjects.get(id).is_some_and(|known| known.is_same(subject));
        let (index, place) = match subject {
            Subject::Readings(view) => (&mut self.by_device, view.device.as_str()),
            Subject::Topic(view) => (&mut self.by_topic, view.topic()),
        };
        if let Some(known) = index.get(place).into_iter().flatten().copied().find(is_same) {
            return known;
        }
        self.last_id += 1;
        let id = ResourceId(self.last_id);
        index.entry(place.to_owned()).or_default().push(id);
        self.subjects.insert(id, subject.clone());
        id
    }

    /// Nobody observes it.
    pub(super) fn forget(&mut self, id: ResourceId) {
        self.lookups.remove(&id);
        if let Some((view, _)) = self.orders.remove(&id) {
            self.by_order.remove(&view);
        }
        let Some(subject) = self.subjects.remove(&id) else { return };
        let (index, place) = match &subject {
            Subject::Readings(view) => (&mut self.by_device, view.device.as_str()),
            Subject::Topic(view) => (&mut self.by_topic, view.topic()),
        };
        if let Some(ids) = index.get_mut(place) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                index.remove(place);
            }
        }
    }

    /// Adds those that show a reading.
    pub(super) fn add_affected(&self, reading: &Reading, affected: &mut BTreeSet<ResourceId>) {
        let shows = |id: &&ResourceId| match self.subjects.get(id) {
            Some(Subject::Readings(view)) => view.shows(reading),
            Some(Subject::Topic(_)) | None => false,
        };
        let ids = self.by_device.get(&reading.device).into_iter().flatten();
        affected.extend(ids.filter(shows));
    }

    /// Adds those that show a topic.
    pub(super) fn add_topic(&self, topic: &str, affected: &mut BTreeSet<ResourceId>) {
        affected.extend(self.by_topic.get(topic).into_iter().flatten());
    }

    pub(super) fn subject(&self, id: ResourceId) -> Option<&Subject> {
        self.subjects.get(&id)
    }
}

impl Subject {
    /// The same as it was shown first.
    pub(super) fn fixed(self, shown: &Response) -> Self {
        match self {
            Self::Readings(view) => Self::Readings(view),
            Self::Topic(view) => Self::Topic(view.fixed(shown)),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Readings(one), Self::Readings(other)) => one == other,
            (Self::Topic(one), Self::Topic(other)) => one.is_same(other),
            (Self::Readings(_) | Self::Topic(_), _) => false,
        }
    }
}

fn tag(response: &Response) -> ETag {
    ETag::of(response.options.content_format(), &response.payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::coap::{Method, Request};

    use crate::source::coap::view::View;

    #[test]
    fn every_observer_of_an_order_learns_of_another_one() {
        let view = OrderView { device: "v".to_owned(), format: 50 };
        let mut observed = Observed::default();
        let id = observed.order_id(&view, None);
        // The order comes, and with it a second observer, who is told that at once.
        assert_eq!(observed.order_id(&view, Some("1")), id);
        let one = |_: &str| Some("1".to_owned());
        assert_eq!(observed.changed_orders(one), [(id, view.clone())], "the first has to be told");
        assert_eq!(observed.changed_orders(one), []);
        assert_eq!(observed.changed_orders(|_| None), [(id, view.clone())]);
        observed.forget(id);
        assert!(!observed.has_orders() && observed.by_order.is_empty());
    }

    #[test]
    fn a_view_keeps_its_number_until_it_is_forgotten() {
        let view =
            |name| Subject::Readings(View::of(&Request::new(Method::Get), "a", name).unwrap());
        let mut observed = Observed::default();
        let [one, all] = [Some("t"), None].map(|name| observed.id(&view(name)));
        assert_ne!(one, all);
        assert_eq!(observed.id(&view(Some("t"))), one);
        observed.forget(one);
        assert!(observed.subject(one).is_none());
        assert!(observed.subject(all).is_some_and(|known| known.is_same(&view(None))));
        observed.forget(all);
        assert!(observed.is_empty() && observed.by_device.is_empty());
    }
}
