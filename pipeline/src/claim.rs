//! Carrying out what a verdict asks of the tables.

use andromede_abi::flow_state;

use crate::{
    lifetime,
    scratch::Scratch,
    tables::{FlowRef, TableFull, Tables},
    verdict::{Claim, Phase},
};

/// Carries out the claim. `scratch` is what the walk wrote.
///
/// # Errors
/// The flow table has no room for the connection: the packet must be dropped.
#[inline(always)]
pub fn carry_out<T: Tables>(tables: &T, claim: &Claim<T::Flow>, scratch: &Scratch, now: u64) -> Result<(), TableFull> {
    if scratch.keeps_fragment {
        // Without memory for it the fragments that follow are dropped; this one was judged and may pass.
        let _ = tables.put_fragment(&scratch.fragment_key, &scratch.fragment);
    }
    match claim {
        Claim::None => Ok(()),
        Claim::Seen { flow } => {
            flow.set_seen(now);
            Ok(())
        }
        Claim::Touch { flow, phase } => {
            flow.set_phase(*phase);
            flow.set_seen(now);
            Ok(())
        }
        Claim::Open => tables.put_flow(&scratch.key, &scratch.row),
        Claim::Cut { flow, state, rule } => {
            flow.set_cut_rule(*rule);
            flow.set_phase(Phase { state: *state | flow_state::CUT, lifetime: lifetime::CUT });
            flow.set_seen(now);
            Ok(())
        }
    }
}
