//! From views to rows.

use andromede_model::NetworkView;

use crate::{
    Attachments, Cost, HostFacts, Refused, Rows, TooLarge, Wanted,
    budgets::Sharers,
    compiler::Compiler,
    epochs,
    policy::{Cache, Sets},
    slots::Slots,
};

/// What the compiler remembers from one time to the next, so that what did not change is not compiled again.
#[derive(Clone, Debug, Default)]
pub struct Memory(Cache);

/// The rows that this host should have. `views` are the networks that it holds. Slots and numbers of compiled sets are taken
/// over from `found` where they mean the same, so that the change is small. The same arguments give the same rows, whatever
/// `memory` holds. A network that does not fit is left out and named: its rows are to stay as they are.
pub fn compile_with(
    memory: &mut Memory,
    views: &[NetworkView],
    facts: &HostFacts,
    attachments: &Attachments,
    found: &Rows,
) -> Wanted {
    let mut sorted: Vec<&NetworkView> = views.iter().collect();
    sorted.sort_by_key(|view| view.network.index);
    let sharers = Sharers::of(views, facts);
    let mut refused: Vec<Refused> = Vec::new();
    // Each time one network less is tried: the newest of those that are too many.
    let mut wanted = loop {
        match attempt(memory, &sorted, &sharers, facts, attachments, found) {
            Ok(wanted) => break wanted,
            Err(one) => {
                sorted.retain(|view| view.network.index != one.index);
                refused.push(one);
            }
        }
    };
    memory.0.sweep();
    wanted.refused = refused;
    epochs::settle(found, &mut wanted.rows);
    wanted
}

/// As [`compile_with`], by a compiler that remembers nothing, and all or nothing.
pub fn compile(
    views: &[NetworkView],
    facts: &HostFacts,
    attachments: &Attachments,
    found: &Rows,
) -> Result<Wanted, TooLarge> {
    let wanted = compile_with(&mut Memory::default(), views, facts, attachments, found);
    match wanted.refused.first() {
        Some(refused) => Err(refused.error),
        None => Ok(wanted),
    }
}

/// Compiles all networks, or says which does not fit.
fn attempt(
    memory: &mut Memory,
    views: &[&NetworkView],
    sharers: &Sharers,
    facts: &HostFacts,
    attachments: &Attachments,
    found: &Rows,
) -> Result<Wanted, Refused> {
    let mut compiler = Compiler {
        facts,
        attachments,
        infrastructure: attachments
            .values()
            .filter_map(|workload| Some(&workload.infrastructure.as_ref()?.port))
            .collect(),
        slots: Slots::new(found),
        sets: Sets::new(found),
        sharers,
        cache: &mut memory.0,
        wanted: Wanted::default(),
    };
    // What is there takes its slots over before anything new asks for one.
    let mut placed = Vec::with_capacity(views.len());
    for view in views {
        placed.push((*view, compiler.known_slots(view)));
    }
    for (view, slots) in placed {
        let fits = compiler.network(view, &slots).and_then(|()| Cost::of(&compiler.wanted.rows).fits());
        fits.map_err(|error| Refused { network: view.network.name.clone(), index: view.network.index, error })?;
    }
    Ok(compiler.wanted)
}
