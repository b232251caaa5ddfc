//! Carrying out what a verdict asks of the tables.

use crate::{
    scratch::Scratch,
    tables::{FlowRef, TableFull, Tables},
    verdict::Claim,
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
        Claim::Touch { flow, state } => {
            flow.set_state(*state);
            flow.set_seen(now);
            Ok(())
        }
        Claim::Open => tables.put_flow(&scratch.key, &scratch.row),
        Claim::Cut { flow, state, rule } => {
            flow.cut(*state, *rule);
            flow.set_seen(now);
            Ok(())
        }
    }
}
