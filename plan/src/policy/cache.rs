//! Compiled rules of the last time: most changes leave most rules as they are.

use std::collections::BTreeMap;

use andromede_abi::NetworkIndex;
use andromede_model::{Direction, Prefix, Rule, SecurityGroupName};

use super::{
    Content, Ranked,
    cells::{self, Compiled},
};
use crate::TooLarge;

/// Whose rules: the network, or none for the operator's; the groups; the direction.
pub(crate) type Owner = (NetworkIndex, Option<std::collections::BTreeSet<SecurityGroupName>>, Direction);

/// Compiled rules, with what they were made of.
#[derive(Clone, Debug)]
struct Entry {
    rules: Vec<(Rule, Vec<Prefix>)>,
    compiled: Compiled,
    /// Was it asked for since the last sweep?
    used: bool,
}

/// Compiled rules by owner. It changes no result, only how long it takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cache(BTreeMap<Owner, Entry>);

impl Cache {
    /// The tables of these rules, compiled anew only if the rules are others than last time.
    pub(crate) fn compile(
        &mut self,
        owner: Owner,
        rules: &[Ranked<'_>],
        identities: &BTreeMap<u32, std::collections::BTreeSet<SecurityGroupName>>,
    ) -> Result<Content, TooLarge> {
        let same = |entry: &Entry| {
            let pairs = || entry.rules.iter().zip(rules);
            entry.rules.len() == rules.len()
                && pairs().all(|((rule, list), new)| rule == new.rule && list.as_slice() == new.list)
        };
        if let Some(entry) = self.0.get_mut(&owner).filter(|entry| same(entry)) {
            entry.used = true;
            let groups = entry.compiled.members.of(identities)?;
            return Ok(Content { rules: entry.compiled.rules.clone(), groups });
        }
        let compiled = cells::compile(rules)?;
        let content = Content { rules: compiled.rules.clone(), groups: compiled.members.of(identities)? };
        let rules = rules.iter().map(|ranked| (ranked.rule.clone(), ranked.list.to_vec())).collect();
        self.0.insert(owner, Entry { rules, compiled, used: true });
        Ok(content)
    }

    /// Forgets what was not asked for since it was called last.
    pub(crate) fn sweep(&mut self) {
        self.0.retain(|_, entry| std::mem::take(&mut entry.used));
    }
}
