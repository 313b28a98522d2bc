//! What the clients of one socket observe (RFC 7641): which number stands for which view or lookup.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proto::Reading;
use proto::coap::{ETag, ResourceId, Response};

use super::registered::Look;
use super::view::View;

/// Different lookups that are observed; each has to be made anew with every registration. A further
/// one is answered without Observe.
const MAX_LOOKUPS: usize = 64;

/// What is observed: views, as many as there are observers, and lookups.
#[derive(Default)]
pub(super) struct Observed {
    views: HashMap<ResourceId, View>,
    by_device: HashMap<String, Vec<ResourceId>>,
    /// With what their observers know.
    lookups: BTreeMap<ResourceId, (Look, ETag)>,
    last_id: u64,
}

impl Observed {
    /// Whether no view is.
    pub(super) fn is_empty(&self) -> bool {
        self.views.is_empty()
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

    /// The number of a view, which it has from now on until it is [forgotten](Self::forget).
    pub(super) fn id(&mut self, view: &View) -> ResourceId {
        let same = self.by_device.get(&view.device).into_iter().flatten();
        let known = same.copied().find(|id| self.views.get(id) == Some(view));
        known.unwrap_or_else(|| {
            self.last_id += 1;
            let id = ResourceId(self.last_id);
            self.by_device.entry(view.device.clone()).or_default().push(id);
            self.views.insert(id, view.clone());
            id
        })
    }

    /// Nobody observes it.
    pub(super) fn forget(&mut self, id: ResourceId) {
        self.lookups.remove(&id);
        let Some(view) = self.views.remove(&id) else { return };
        if let Some(ids) = self.by_device.get_mut(&view.device) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_device.remove(&view.device);
            }
        }
    }

    /// Adds those that show a reading.
    pub(super) fn add_affected(&self, reading: &Reading, affected: &mut BTreeSet<ResourceId>) {
        let ids = self.by_device.get(&reading.device).into_iter().flatten();
        affected
            .extend(ids.filter(|id| self.views.get(id).is_some_and(|view| view.shows(reading))));
    }

    pub(super) fn view(&self, id: ResourceId) -> Option<&View> {
        self.views.get(&id)
    }
}

fn tag(response: &Response) -> ETag {
    ETag::of(response.options.content_format(), &response.payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::coap::{Method, Request};

    #[test]
    fn a_view_keeps_its_number_until_it_is_forgotten() {
        let view = |name| View::of(&Request::new(Method::Get), "a", name).unwrap();
        let mut observed = Observed::default();
        let [one, all] = [Some("t"), None].map(|name| observed.id(&view(name)));
        assert_ne!(one, all);
        assert_eq!(observed.id(&view(Some("t"))), one);
        observed.forget(one);
        assert_eq!((observed.view(one), observed.view(all)), (None, Some(&view(None))));
        observed.forget(all);
        assert!(observed.is_empty() && observed.by_device.is_empty());
    }
}
