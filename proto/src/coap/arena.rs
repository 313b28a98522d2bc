//! Values under keys that are never valid again once the value is gone, and lists through them.
//!
//! The endpoint's tables need to take an entry out of the middle of several orders at once (by
//! age, by peer). A [`List`] is doubly linked through the entries themselves, so that each of
//! these steps is O(1) and nothing is left behind to be cleaned up later.

use alloc::vec::Vec;
use core::num::NonZeroU32;

/// Names a value in an [`Arena`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Key {
    index: u32,
    /// Counts how often the slot was used, so that an old key does not find a new value.
    generation: NonZeroU32,
}

impl Key {
    /// Names no value.
    pub(super) const NONE: Self = Self { index: u32::MAX, generation: NonZeroU32::MIN };
}

#[derive(Debug)]
struct Slot<T> {
    generation: NonZeroU32,
    value: Option<T>,
}

/// Values under keys.
#[derive(Debug)]
pub(super) struct Arena<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Arena<T> {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    pub(super) const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Stores `value`; the caller keeps the number of values below `u32::MAX`.
    pub(super) fn insert(&mut self, value: T) -> Key {
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            slot.value = Some(value);
            return Key { index, generation: slot.generation };
        }
        let index = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let generation = NonZeroU32::MIN;
        self.slots.push(Slot { generation, value: Some(value) });
        Key { index, generation }
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_ref() } else { None }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_mut() } else { None }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.free.push(key.index);
        Some(value)
    }

    /// The key of the value at a place.
    fn key_at(&self, place: Place) -> Option<Key> {
        let slot = self.slots.get(place.0 as usize)?;
        Some(Key { index: place.0, generation: slot.generation })
    }
}

/// Where a value of an arena is, or nowhere: half of a [`Key`], for values that cannot be gone.
#[derive(Clone, Copy, Debug)]
struct Place(u32);

impl Place {
    const NOWHERE: Self = Self(u32::MAX);

    fn of(key: Option<Key>) -> Self {
        key.map_or(Self::NOWHERE, |key| Self(key.index))
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::NOWHERE
    }
}

/// A value's neighbours in one [`List`].
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Links {
    previous: Place,
    next: Place,
}

/// A first-in first-out order of values of an arena, with removal from the middle.
///
/// `links` says which [`Links`] of a value belong to this list. A value is in it at most once and
/// must be taken out before it leaves the arena.
#[derive(Debug)]
pub(super) struct List<T> {
    first: Option<Key>,
    last: Option<Key>,
    links: fn(&mut T) -> &mut Links,
}

impl<T> List<T> {
    pub(super) const fn new(links: fn(&mut T) -> &mut Links) -> Self {
        Self { first: None, last: None, links }
    }

    pub(super) const fn first(&self) -> Option<Key> {
        self.first
    }

    pub(super) fn push_back(&mut self, arena: &mut Arena<T>, key: Key) {
        let previous = self.last.replace(key);
        match previous.and_then(|previous| arena.get_mut(previous)) {
            Some(value) => (self.links)(value).next = Place::of(Some(key)),
            None => self.first = Some(key),
        }
        if let Some(value) = arena.get_mut(key) {
            *(self.links)(value) = Links { previous: Place::of(previous), next: Place::NOWHERE };
        }
    }

    pub(super) fn remove(&mut self, arena: &mut Arena<T>, key: Key) {
        let Some(value) = arena.get_mut(key) else { return };
        let Links { previous, next } = core::mem::take((self.links)(value));
        let (before, after) = (arena.key_at(previous), arena.key_at(next));
        match before.and_then(|before| arena.get_mut(before)) {
            Some(value) => (self.links)(value).next = next,
            None => self.first = after,
        }
        match after.and_then(|after| arena.get_mut(after)) {
            Some(value) => (self.links)(value).previous = previous,
            None => self.last = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use alloc::collections::VecDeque;

    #[test]
    fn a_key_does_not_outlive_its_value() {
        let mut arena = Arena::new();
        let first = arena.insert('a');
        assert_eq!(arena.remove(first), Some('a'));
        let second = arena.insert('b');
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!((arena.get(second), arena.len()), (Some(&'b'), 1));
    }

    #[test]
    fn a_list_does_what_a_queue_with_removal_does() {
        struct Item(u64, Links);
        let mut rng = Rng::new(5);
        let mut arena = Arena::new();
        let mut list = List::new(|item: &mut Item| &mut item.1);
        let mut model = VecDeque::new();
        for step in 0..5_000_u64 {
            if rng.chance(0.5) || model.is_empty() {
                let key = arena.insert(Item(step, Links::default()));
                list.push_back(&mut arena, key);
                model.push_back((key, step));
            } else {
                let at = usize::try_from(rng.below(model.len() as u64)).unwrap();
                let (key, value) = model.remove(at).unwrap();
                list.remove(&mut arena, key);
                assert_eq!(arena.remove(key).unwrap().0, value);
            }
            assert_eq!(list.first(), model.front().map(|&(key, _)| key));
            assert_eq!(arena.len(), model.len());
        }
        while let Some((key, value)) = model.pop_front() {
            assert_eq!(list.first(), Some(key));
            list.remove(&mut arena, key);
            assert_eq!(arena.remove(key).unwrap().0, value);
        }
        assert_eq!((list.first(), list.last), (None, None));
    }
}
