//! When the controller hears of what it has yet to hear: one claim at a time, and again after a while if it was refused.

use std::{collections::BTreeMap, time::Duration};

use andromede_proto::agent::v1::{Claim, ClaimAnswer};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// After this time a claim is made again that is still due.
const AGAIN: Duration = Duration::from_secs(5);

/// Most refused ports that are named in words.
const NAMED: usize = 8;

/// What the controller refused of this host's claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Why nothing of the last claim was taken; empty if it was looked at.
    error: String,
    /// Why, by the name of each refused port.
    ports: BTreeMap<String, String>,
}

impl Refusals {
    /// Takes the answer to a claim in. Ports of the claim that are not refused are no longer.
    pub fn answered(&mut self, claim: &Claim, answer: ClaimAnswer) {
        self.error = answer.error;
        if !self.error.is_empty() {
            return;
        }
        for name in claim.written.iter().map(|port| &port.name).chain(&claim.deleted) {
            self.ports.remove(name);
        }
        self.ports.extend(answer.refused.into_iter().map(|refused| (refused.port, refused.reason)));
    }

    /// Forgets ports of which the controller knows by now, or that are gone.
    pub fn keep(&mut self, is_unheard: impl Fn(&str) -> bool) {
        self.ports.retain(|name, _| is_unheard(name));
    }

    /// Was this port refused?
    pub fn refused(&self, port: &str) -> bool {
        self.ports.contains_key(port)
    }

    /// In words; empty if nothing is refused.
    pub fn in_words(&self) -> String {
        if !self.error.is_empty() {
            return format!("the controller refuses the ports of this host's pods: {}", self.error);
        }
        if self.ports.is_empty() {
            return String::new();
        }
        let named = self.ports.iter().take(NAMED).map(|(name, reason)| format!("{name}: {reason}"));
        let named: Vec<String> = named.collect();
        let number = self.ports.len();
        format!(
            "the controller refuses {number} ports of this host's pods, and other hosts do not know them: {}",
            named.join("; ")
        )
    }
}

/// The claims of one session.
#[derive(Debug)]
pub(crate) struct Claims {
    wanted: watch::Receiver<Claim>,
    /// What was claimed last, and when.
    last: Option<(Claim, Instant)>,
    /// Has the last claim no answer yet?
    waiting: bool,
    next_id: u64,
}

impl Claims {
    pub(crate) fn new(wanted: watch::Receiver<Claim>) -> Self {
        Self { wanted, last: None, waiting: false, next_id: 1 }
    }

    /// The claim to be made now.
    pub(crate) fn due(&mut self) -> Option<Claim> {
        let wanted = self.wanted.borrow_and_update().clone();
        let fresh = self.last.as_ref().is_none_or(|(last, at)| *last != wanted || at.elapsed() >= AGAIN);
        if self.waiting || !fresh || wanted.written.is_empty() && wanted.deleted.is_empty() {
            return None;
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        self.waiting = true;
        self.last = Some((wanted.clone(), Instant::now()));
        Some(Claim { id, ..wanted })
    }

    /// The controller answered: the claim that it answered, if there was one.
    pub(crate) fn answered(&mut self) -> Option<&Claim> {
        self.waiting = false;
        self.last.as_ref().map(|(claim, _)| claim)
    }

    /// Waits until another claim may be due.
    pub(crate) async fn changed(&mut self) {
        let again = self.last.as_ref().map(|(_, at)| *at + AGAIN).filter(|at| !self.waiting && *at > Instant::now());
        let timer = async {
            match again {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.wanted.changed() => {
                // The sender lives as long as the agent.
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            () = timer => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use andromede_proto::{agent::v1::ClaimRefusal, v1::Port};

    use super::*;

    fn claim(ports: &[&str]) -> Claim {
        let port = |name: &&str| Port { name: (*name).to_owned(), ..Port::default() };
        Claim { written: ports.iter().map(port).collect(), ..Claim::default() }
    }

    fn refusing(port: &str) -> ClaimAnswer {
        let refused = vec![ClaimRefusal { port: port.to_owned(), reason: "bad".to_owned() }];
        ClaimAnswer { refused, ..ClaimAnswer::default() }
    }

    #[test]
    fn a_refused_port_is_named_until_it_is_taken_or_gone() {
        let mut refusals = Refusals::default();
        refusals.answered(&claim(&["a", "b", "c"]), refusing("b"));
        assert!(refusals.refused("b") && !refusals.refused("a"));
        assert!(refusals.in_words().contains("b: bad"), "{}", refusals.in_words());
        refusals.answered(&claim(&["c"]), ClaimAnswer::default());
        assert!(refusals.refused("b"), "an answer about others says nothing of it");
        refusals.answered(&claim(&["b"]), ClaimAnswer::default());
        assert_eq!(refusals, Refusals::default());
        refusals.answered(&claim(&["b"]), refusing("b"));
        refusals.keep(|port| port == "a");
        assert_eq!(refusals.in_words(), "");
    }
}
