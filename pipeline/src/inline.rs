//! The stages that stand alone, as plain calls.

use andromede_abi::{HostConfig, Slot};

use crate::{
    budget::{self, Account, Entry, Lack},
    claim,
    passage::{self, Recognised},
    scratch::Scratch,
    stage::policy,
    stages::Stages,
    tables::Tables,
    translation,
};

/// Tables on which the stages run as plain calls: everywhere but in the kernel.
pub trait Inline: Tables {}

impl<T: Inline> Stages for T {
    #[inline(always)]
    fn follow(&self, host: &HostConfig, now: u64, scratch: &mut Scratch) -> Recognised {
        passage::follow(self, host, now, scratch)
    }

    #[inline(always)]
    fn part(&self, now: u64, scratch: &mut Scratch) -> Recognised {
        passage::part(self, now, scratch)
    }

    #[inline(always)]
    fn judge(&self, host: &HostConfig, now: u64, scratch: &mut Scratch) {
        passage::judge(self, host, now, scratch);
    }

    #[inline(always)]
    fn recall(&self, _: &mut Scratch) -> bool {
        false
    }

    #[inline(always)]
    fn keep(&self, _: &Scratch) {}

    #[inline(always)]
    fn ask(&self, scratch: &mut Scratch) {
        policy::ask(self, scratch);
    }

    #[inline(always)]
    fn change(&self, account: &Account, by: i64) {
        budget::change(self, account, by);
    }

    #[inline(always)]
    fn enter(&self, entry: &Entry, now: u64) -> Lack {
        budget::enter_port(self, entry, now)
    }

    #[inline(always)]
    fn may_report(&self, slot: Slot, tenant: u32, now: u64) -> bool {
        budget::may_report(self, slot, tenant, now)
    }

    #[inline(always)]
    fn outward(&self, ifindex: u32, scratch: &mut Scratch) {
        translation::outward(self, ifindex, scratch);
    }

    #[inline(always)]
    fn carry_out(&self, now: u64, scratch: &mut Scratch) {
        claim::carry_out(self, now, scratch);
    }
}
