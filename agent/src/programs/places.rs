//! Programs at their devices: where they belong, whether they are there, and in which form.
//!
//! For each program that comes to a device as a tcx link, or goes with it, the kernel waits a grace period while nobody else may
//! configure the network (`tcx_entry_sync`, include/net/tcx.h); for a filter it waits for next to nothing. So the programs of a new
//! workload come as filters, which judge the same, and become tcx links, which cost a packet less and cannot be deleted by mistake, once
//! the workload has lived for a while: what comes and goes never pays for it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use andromede_dataplane::{AttachError, AttachMode, Form, Health, Hook};

use super::{Place, Programs};
use crate::error::causes;

/// How long a workload lives until its filters become tcx links.
const SETTLED: Duration = Duration::from_secs(5);

impl Programs {
    /// Brings the programs to where they shall be, and takes them from where they shall not. Devices that are `freeing`
    /// take their programs with them. Goes on after an error.
    pub fn place(&mut self, wanted: &BTreeSet<Place>, freeing: &BTreeSet<u32>) -> Vec<AttachError> {
        let mut errors = Vec::new();
        let pinned = self.settings.pins.attachments().unwrap_or_else(|error| {
            errors.push(error.into());
            Vec::new()
        });
        for (hook, ifindex) in wanted {
            let place = (*hook, *ifindex);
            if self.attached.contains_key(&place) {
                continue;
            }
            let linked = pinned.iter().any(|pin| (pin.hook, pin.ifindex) == place && pin.form == Form::Tcx);
            let begins = self.settings.mode == AttachMode::Auto && !linked && is_of_workload(*hook);
            let mode = if begins { AttachMode::Clsact } else { self.settings.mode };
            match self.dataplane.attach(*hook, *ifindex, mode) {
                Ok(attachment) => {
                    self.attached.insert(place, attachment);
                    if begins {
                        self.fresh.insert(place, Instant::now());
                    }
                }
                Err(error) => errors.push(error),
            }
        }
        let stale = pinned
            .into_iter()
            .filter(|pin| !wanted.contains(&(pin.hook, pin.ifindex)) && !freeing.contains(&pin.ifindex));
        for stale in stale {
            self.attached.remove(&(stale.hook, stale.ifindex));
            self.fresh.remove(&(stale.hook, stale.ifindex));
            errors.extend(stale.detach(&self.settings.pins).err());
        }
        if errors.is_empty()
            && let Err(error) = self.dataplane.finish_upgrade()
        {
            tracing::error!(error = causes(&error), "connections of an older layout stay behind");
        }
        errors
    }

    /// Makes a tcx link of one filter whose workload has lived for long enough; says whether there was one. The link is there before the
    /// filter goes.
    pub fn settle(&mut self, now: Instant) -> Result<bool, AttachError> {
        let ripe = self.fresh.iter().find(|(_, since)| now.saturating_duration_since(**since) >= SETTLED);
        let Some(place) = ripe.map(|(place, _)| *place) else { return Ok(false) };
        // Where that fails the filter stays, and does the same.
        self.fresh.remove(&place);
        let attachment = self.dataplane.attach(place.0, place.1, self.settings.mode)?;
        self.attached.insert(place, attachment);
        Ok(true)
    }

    /// Asks the kernel whether every program is where it was put, and puts back those that are not. Says how many.
    pub fn check_places(&mut self) -> (usize, Vec<AttachError>) {
        let mut errors = Vec::new();
        let mut repaired = 0_usize;
        for ((hook, ifindex), attachment) in &mut self.attached {
            match self.dataplane.verify(*attachment) {
                Ok(Health::Attached) => {}
                Ok(health) => {
                    tracing::warn!(%hook, ifindex, ?health, "program was taken away; putting it back");
                    match self.dataplane.attach(*hook, *ifindex, mode_of(attachment.form)) {
                        Ok(new) => {
                            *attachment = new;
                            repaired = repaired.saturating_add(1);
                        }
                        Err(error) => errors.push(error),
                    }
                }
                Err(error) => errors.push(error),
            }
        }
        (repaired, errors)
    }

    /// Forgets a device that is gone.
    pub fn forget(&mut self, ifindex: u32) {
        self.attached.retain(|(_, of), _| *of != ifindex);
        self.fresh.retain(|(_, of), _| *of != ifindex);
    }
}

/// The mode that keeps a form.
const fn mode_of(form: Form) -> AttachMode {
    match form {
        Form::Tcx => AttachMode::Tcx,
        Form::Clsact => AttachMode::Clsact,
    }
}

const fn is_of_workload(hook: Hook) -> bool {
    matches!(hook, Hook::FromWorkload | Hook::FromHost)
}
