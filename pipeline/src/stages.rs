//! The stages that stand alone.

use andromede_abi::{HostConfig, Slot};

use crate::{
    budget::{Account, Entry, Lack},
    passage::Recognised,
    scratch::Scratch,
    tables::Tables,
};

/// The stages that need nothing but the tables, the scratch space and the time (`now`, nanoseconds since boot). They read what stages
/// before them left in the scratch space, and write the verdict there. The kernel runs each as a global function, which the verifier
/// checks once and by itself (`do_check_subprogs`, kernel/bpf/verifier.c), and not again on each way that leads to it. Elsewhere they
/// are plain calls: see [`crate::Inline`].
pub trait Stages: Tables {
    /// The ways that were gone meet here: what the compiler and the kernel's verifier know of the scratch space by each of them is
    /// forgotten, so that what follows is looked at once, and not again for each. It does nothing.
    #[inline(always)]
    fn meet(&self, _scratch: &mut Scratch) {}

    /// A packet that has the ports of its connection goes along its row, or is to be judged.
    fn follow(&self, host: &HostConfig, now: u64, scratch: &mut Scratch) -> Recognised;

    /// A fragment gets what its datagram says, and goes on to its connection.
    fn part(&self, now: u64, scratch: &mut Scratch) -> Recognised;

    /// The connection is judged.
    fn judge(&self, host: &HostConfig, now: u64, scratch: &mut Scratch);

    /// Judges the connection as the last one of its kind, if one is remembered and no table has changed since; says whether it did.
    fn recall(&self, scratch: &mut Scratch) -> bool;

    /// Remembers how the connection was judged that was not recalled just now.
    fn keep(&self, scratch: &Scratch);

    /// The set of rules that the inquiry names is asked.
    fn ask(&self, scratch: &mut Scratch);

    /// `by` is added to all that a row of the flow table counts on.
    fn change(&self, account: &Account, by: i64);

    /// A port takes its place in a new connection; what it lacks, if anything.
    fn enter(&self, entry: &Entry, now: u64) -> Lack;

    /// May a rule of this port send an event?
    fn may_report(&self, slot: Slot, tenant: u32, now: u64) -> bool;

    /// What a workload sends to the node is translated, if its port says so.
    fn outward(&self, ifindex: u32, scratch: &mut Scratch);

    /// What the verdict asks of the flow table and of budgets is carried out.
    fn carry_out(&self, now: u64, scratch: &mut Scratch);
}
