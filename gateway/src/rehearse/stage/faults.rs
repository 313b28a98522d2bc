//! Faults that begin and end.

use device_sim::fault::{Change, Effect, Fault, Impairment, Place};
use proto::Instant;

use super::super::RehearseError;
use super::super::player::WayFaults;
use super::{Cast, Stage};

impl Stage<'_> {
    /// Begins and ends the faults that are due.
    pub(super) async fn change(&mut self, now: Instant) -> Result<(), RehearseError> {
        let mut changes = Vec::new();
        while let Some(Change { begins, fault, .. }) = self.plan.poll_change(now) {
            changes.push((begins, fault.clone()));
        }
        for (begins, fault) in changes {
            self.apply(now, begins, &fault).await?;
        }
        Ok(())
    }

    /// Makes everything well again.
    pub(super) async fn end_faults(&mut self, now: Instant) -> Result<(), RehearseError> {
        if let Some(far_end) = self.cast.far_ends.get_mut(&self.cast.watched) {
            far_end.set_impairment(Impairment::default());
            far_end.refuses = false;
            far_end.faults().clear();
            far_end.handle_timeout(now).await;
        }
        for index in 0..self.cast.players.len() {
            self.set_faults(now, index, WayFaults::default());
        }
        self.is_frozen = false;
        self.start(now).await
    }

    async fn apply(
        &mut self,
        now: Instant,
        begins: bool,
        fault: &Fault,
    ) -> Result<(), RehearseError> {
        let lasts = |same: fn(&Effect) -> bool| {
            self.plan.active(now).any(|other| other.on == fault.on && same(&other.effect))
        };
        match &fault.effect {
            Effect::Network(_) | Effect::Refuse | Effect::Unplug => {
                let refuses = lasts(|effect| matches!(effect, Effect::Refuse));
                let impairment = self.plan.impairment(now, &fault.on);
                if fault.on == Place::Broker
                    && let Some(far_end) = self.cast.far_ends.get_mut(&self.cast.watched)
                {
                    far_end.set_impairment(impairment);
                    far_end.refuses = refuses;
                }
                for index in self.players_at(&fault.on) {
                    let faults = self.faults_of(now, index);
                    self.set_faults(now, index, faults);
                }
            }
            Effect::Cut => {
                if fault.on == Place::Broker {
                    self.cut_broker(now).await?;
                }
                for index in self.players_at(&fault.on) {
                    let Some(player) = self.cast.players.get_mut(index) else { continue };
                    self.agenda.remove(&(player.poll_timeout(), index));
                    player.handle_cut(now, &mut self.cast.ledger);
                    self.hand_over(now, index);
                }
            }
            Effect::Broker(switch) => {
                if let Some(far_end) = self.cast.far_ends.get_mut(&self.cast.watched) {
                    let switch = if begins { Some(&switch.on) } else { switch.off.as_ref() };
                    switch.into_iter().for_each(|switch| switch.apply(far_end.faults()));
                    far_end.handle_timeout(now).await;
                }
            }
            Effect::Kill if begins => {
                self.cast.site.kill().await?;
                self.part(now).await;
            }
            Effect::Kill if lasts(|effect| matches!(effect, Effect::Kill)) => {}
            Effect::Kill => self.start(now).await?,
            Effect::Restart => {
                self.cast.site.finish().await?;
                self.answer(now);
                self.cast.site.stop().await?;
                self.part(now).await;
                self.start(now).await?;
            }
            Effect::Stop if begins => self.is_frozen = true,
            Effect::Stop if lasts(|effect| matches!(effect, Effect::Stop)) => {}
            Effect::Stop => self.is_frozen = false,
            Effect::ClockStep(skew) => self.metronome.step(skew.nanos()),
            // Refused before: the disk of this machine is not the gateway's.
            Effect::DiskFull { .. } => {}
        }
        Ok(())
    }

    fn players_at(&self, place: &Place) -> Vec<usize> {
        let players = self.cast.players.iter().enumerate();
        players.filter(|(_, player)| player.is_at(place)).map(|(index, _)| index).collect()
    }

    /// What is wrong with the way of a device now.
    fn faults_of(&self, now: Instant, index: usize) -> WayFaults {
        let mut faults = WayFaults::default();
        let places = self.cast.players.get(index).map(|player| player.places());
        for place in places.unwrap_or_default() {
            faults.impairment = faults.impairment.and(self.plan.impairment(now, place));
            for fault in self.plan.active(now).filter(|fault| fault.on == *place) {
                faults.refuses |= matches!(fault.effect, Effect::Refuse);
                faults.is_unplugged |= matches!(fault.effect, Effect::Unplug);
            }
        }
        faults
    }

    fn set_faults(&mut self, now: Instant, index: usize, faults: WayFaults) {
        let Cast { site, players, ledger, .. } = &mut self.cast;
        let Some(player) = players.get_mut(index) else { return };
        self.agenda.remove(&(player.poll_timeout(), index));
        if faults.is_unplugged && player.is_plugged() {
            let running = site.running();
            let source = running.and_then(|running| running.sources.get_mut(player.source()));
            let unread = source.map_or(0, |source| source.handle_unplugged());
            player.handle_unplugged(now, unread, ledger);
        }
        player.set_faults(now, faults);
        self.hand_over(now, index);
    }

    async fn cut_broker(&mut self, now: Instant) -> Result<(), RehearseError> {
        let Cast { site, far_ends, watched, .. } = &mut self.cast;
        let near = site.running().and_then(|running| running.brokers.get_mut(watched));
        if let (Some(far_end), Some(near)) = (far_ends.get_mut(watched), near) {
            far_end.handle_gone(now).await;
            if near.is_connected() {
                near.handle_closed().await?;
            }
        }
        Ok(())
    }

    /// Starts the gateway, unless it runs.
    async fn start(&mut self, now: Instant) -> Result<(), RehearseError> {
        if self.cast.site.running().is_none() {
            self.cast.site.start().await?;
        }
        for player in &mut self.cast.players {
            player.handle_reachable(now);
        }
        self.reschedule_all();
        Ok(())
    }

    /// The gateway is gone, and every connection with it.
    async fn part(&mut self, now: Instant) {
        self.is_frozen = false;
        for far_end in self.cast.far_ends.values_mut() {
            far_end.handle_gone(now).await;
        }
        for player in &mut self.cast.players {
            player.handle_gone(now, &mut self.cast.ledger);
        }
        self.reschedule_all();
    }
}
