//! A packet in words: the walk that the kernel runs, over the rows that the hosts really have.
//!
//! Nothing here asks anybody: [`Walk::enter`] takes the rows of the host at which the packet is, and says where it goes.

mod names;
mod packet;
mod recorder;
mod remedy;
mod rows;
mod words;

use andromede_abi::{DropReason, RuleNumber, Stage, hook, rule, rule_direction};
use andromede_model::{HostName, Model, NetworkName, Port, PortName};
use andromede_pipeline::{
    Claim, Context, Scratch, Target, TargetKind, apply_edit, decide, memory::Bytes, outer_header,
};
use andromede_proto::v1::{TraceResponse, TraceStep};

use names::{Endpoint, Names};
pub use packet::Question;
use recorder::Recorder;
pub use rows::{HostRows, RowsError};
use words::Narrator;

/// Most hosts that a packet visits: its own and that of its destination. More would be a loop.
const HOSTS: usize = 4;

/// Why a packet cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// The port does not exist.
    #[error("{0} does not exist; list what does with `andromedectl get ports`")]
    NoPort(PortName),
    /// The port is on no host.
    #[error("{0} is placed on no host; set its host with `andromedectl apply`")]
    NotPlaced(PortName),
    /// The port has no workload.
    #[error(
        "{port} has no workload on {host}, so nothing can be sent from it; attach one with `andromedectl host attach`"
    )]
    NotAttached {
        /// The port.
        port: PortName,
        /// Its host.
        host: HostName,
    },
    /// The port has no address of the destination's family.
    #[error("{0} has no address of the destination's family; give a source, or another destination")]
    NoAddress(PortName),
    /// The packet goes round.
    #[error("the packet visits more than {HOSTS} hosts; look at the locations in the steps before")]
    Loop,
    /// A host sent something that is not rows.
    #[error("{host}: {error}")]
    Rows {
        /// The host.
        host: HostName,
        /// What is wrong.
        error: RowsError,
    },
}

/// What comes next.
#[derive(Debug)]
pub enum Next {
    /// The packet goes to this host: its rows are needed.
    Enter(HostName),
    /// The packet has arrived somewhere, or nowhere.
    Done(TraceResponse),
}

/// A packet on its way.
#[derive(Debug)]
pub struct Walk {
    question: Question,
    port: Port,
    network: NetworkName,
    names: Names,
    /// The host at which the packet is.
    at: HostName,
    /// The frame as it is there; none: still in the workload.
    frame: Option<Bytes>,
    visited: usize,
    steps: Vec<TraceStep>,
}

impl Walk {
    /// A packet in its workload, and the host whose rows are needed first.
    pub fn begin(model: &Model, question: Question) -> Result<Self, TraceError> {
        let port = model.port(&question.port).cloned().ok_or_else(|| TraceError::NoPort(question.port.clone()))?;
        let at = port.host.clone().ok_or_else(|| TraceError::NotPlaced(port.name.clone()))?;
        let network = port.name.network();
        let names = model.view(&network).as_ref().map(Names::new).unwrap_or_default();
        Ok(Self { question, port, network, names, at, frame: None, visited: 0, steps: Vec::new() })
    }

    /// The host at which the packet is.
    pub fn host(&self) -> &HostName {
        &self.at
    }

    /// The network in which the packet is.
    pub fn network(&self) -> &NetworkName {
        &self.network
    }

    /// Walks the packet over the rows of the host at which it is.
    pub fn enter(&mut self, rows: &HostRows) -> Result<Next, TraceError> {
        self.visited += 1;
        if self.visited > HOSTS {
            return Err(TraceError::Loop);
        }
        let (frame, hook, ifindex) = if let Some(frame) = self.frame.take() {
            (frame, hook::FROM_UNDERLAY, rows.config.underlay_ifindex)
        } else {
            let (frame, ifindex) = self.sent(rows)?;
            (frame, hook::FROM_WORKLOAD, ifindex)
        };
        let context = Context::at(hook, ifindex, rows.now, &rows.config);
        let recorder = Recorder::new(&rows.tables);
        let mut scratch = Scratch::EMPTY;
        decide(&frame, &context, &recorder, &mut scratch);
        let mut narrator = Narrator::new(&self.names, self.at.to_string(), hook);
        for lookup in recorder.into_lookups() {
            narrator.tell(&lookup);
        }
        conclude(&mut narrator, &self.names, &scratch);
        self.steps.append(&mut narrator.into_steps());
        Ok(self.follow(&scratch, frame, rows))
    }

    /// The frame that the workload sends, and the interface at which it is met.
    fn sent(&self, rows: &HostRows) -> Result<(Bytes, u32), TraceError> {
        let row = rows.tables.ports.iter().find(|(_, row)| row.mac == self.port.mac.bytes());
        let not_attached = || TraceError::NotAttached { port: self.port.name.clone(), host: self.at.clone() };
        let (ifindex, row) = row.ok_or_else(not_attached)?;
        let destination =
            andromede_abi::LocationKey { network: row.network, address: self.question.destination.into() };
        let location = rows.tables.locations.get(&destination);
        let mac = location.and_then(|location| andromede_model::MacAddress::new(location.mac).ok());
        let (frame, _) =
            self.question.frame(&self.port, mac).ok_or_else(|| TraceError::NoAddress(self.port.name.clone()))?;
        Ok((frame, *ifindex))
    }

    /// Where the verdict sends the packet.
    fn follow(&mut self, scratch: &Scratch, mut frame: Bytes, rows: &HostRows) -> Next {
        let verdict = &scratch.verdict;
        if let Some(reason) = verdict.reason {
            let remedy = remedy::of(&self.names, reason, verdict.rule, &scratch.opening_packet);
            return self.done("dropped", reason.name(), verdict.rule, remedy);
        }
        let Target { kind: TargetKind::Encap, source_port, .. } = verdict.target else {
            return self.done("delivered", "", verdict.rule, String::new());
        };
        let hop = &scratch.row.next_hop;
        let next = match self.names.endpoint(hop.host) {
            Some(Endpoint::Host(host)) => host.clone(),
            Some(Endpoint::Vtep(_)) => return self.done("delivered", "", verdict.rule, String::new()),
            None => {
                let remedy = "The rows of this host are older or newer than the controller: andromedectl status.";
                return self.done("dropped", DropReason::UnknownHost.name(), verdict.rule, remedy.to_owned());
            }
        };
        // The frame was parsed as long as the edit needs it to be.
        let _ = apply_edit(&mut frame, scratch);
        let outer = outer_header(&rows.config, hop, source_port, frame.0.len() as u32);
        let mut bytes: Vec<u8> = outer.into_iter().flat_map(u16::to_ne_bytes).collect();
        bytes.append(&mut frame.0);
        self.frame = Some(Bytes(bytes));
        self.at = next.clone();
        Next::Enter(next)
    }

    fn done(&mut self, outcome: &str, reason: &str, number: RuleNumber, remedy: String) -> Next {
        Next::Done(TraceResponse {
            steps: std::mem::take(&mut self.steps),
            outcome: outcome.to_owned(),
            reason: reason.to_owned(),
            rule: self.names.rule(number),
            rule_number: number,
            remedy,
        })
    }
}

/// The end of the walk on one host, in words.
fn conclude(narrator: &mut Narrator<'_>, names: &Names, scratch: &Scratch) {
    let Scratch { verdict, row, .. } = scratch;
    if let Some(reason) = verdict.reason {
        let by_rule = verdict.rule != rule::NONE;
        let by = if by_rule { format!(" by {}", names.rule(verdict.rule)) } else { String::new() };
        let logged = if by_rule && scratch.logged != 0 { ", and logged" } else { "" };
        return narrator.say(verdict.stage, format!("dropped{by}{logged}: {}: {}", reason.name(), reason.meaning()));
    }
    if matches!(verdict.claim, Claim::Open) {
        let egress = (Stage::Egress, row.egress_rule, rule_direction::EGRESS);
        let ingress = (Stage::Ingress, row.ingress_rule, rule_direction::INGRESS);
        for (stage, number, direction) in [egress, ingress] {
            if number != rule::NONE {
                let logged = if scratch.logged & direction != 0 { ", and logged" } else { "" };
                narrator.say(stage, format!("allowed by {}{logged}", names.rule(number)));
            }
        }
    } else if verdict.stage == Stage::Flow {
        narrator.say(Stage::Flow, "what the connection was judged by still holds: its row decides".to_owned());
    }
    let Target { kind, source_port, ifindex } = verdict.target;
    let end = match kind {
        TargetKind::Deliver => {
            format!("delivered to {} behind interface {ifindex}", names.owner(scratch.packet.destination))
        }
        TargetKind::Encap => format!(
            "encapsulated with VNI {} from UDP port {} to {}, {}",
            row.next_hop.vni,
            u16::from_be(source_port),
            row.next_hop.underlay,
            names.host(row.next_hop.host)
        ),
        TargetKind::Reply => format!("answered behind interface {ifindex}"),
        TargetKind::Host => "left to the host's own stack".to_owned(),
        TargetKind::OverlayDevice => "left to the kernel's vxlan device, behind which it is judged again".to_owned(),
        TargetKind::Drop => "nothing was decided".to_owned(),
    };
    narrator.say(Stage::Apply, end);
}
