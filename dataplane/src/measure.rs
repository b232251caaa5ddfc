//! Parts of the packet path as programs of their own, to be timed: no host loads them.

use std::{collections::BTreeMap, io};

use andromede_abi::maps::program;

use crate::{
    FrameContext,
    load::LoadedProgram,
    sys::{self, SkBuff},
};

/// Most bytes by which a program lengthens a frame, with room to spare.
const GROWTH: usize = 256;

/// What can be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Measure {
    /// Running a program at all.
    Nothing,
    /// Deciding about a workload's frame.
    Workload,
    /// Deciding about a frame from the underlay.
    Underlay,
    /// As [`Self::Workload`], by the flow table and not by what was decided about the packet before.
    WorkloadLookup,
    /// As [`Self::Underlay`], likewise.
    UnderlayLookup,
    /// Opening a flow; each run makes the UDP datagram over IPv4 one of the next source port.
    Opening,
    /// As [`Self::Workload`], about a UDP datagram over IPv4 whose flow is drawn: the payload begins with a mask and a seed, u32 each;
    /// the lower sixteen bits of the number are its source port as it stands in memory, the others are added to 16 for the second byte of
    /// its destination.
    Random,
    /// As [`Self::Opening`], towards a destination that is drawn in the same way: 11.0.0.0 and the number.
    OpeningRandom,
    /// Inserting a flow row; each run inserts another. [`Self::Opening`] must have run before on the same processor.
    Insert,
    /// Encapsulating and decapsulating the frame. [`Self::Workload`] must have run before on the same processor, and
    /// decided to encapsulate.
    Tunnel,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Nothing,
        Self::Workload,
        Self::Underlay,
        Self::WorkloadLookup,
        Self::UnderlayLookup,
        Self::Opening,
        Self::Random,
        Self::OpeningRandom,
        Self::Insert,
        Self::Tunnel,
    ];

    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::Nothing => program::MEASURE_NOTHING,
            Self::Workload => program::MEASURE_WORKLOAD,
            Self::Underlay => program::MEASURE_UNDERLAY,
            Self::WorkloadLookup => program::MEASURE_WORKLOAD_LOOKUP,
            Self::UnderlayLookup => program::MEASURE_UNDERLAY_LOOKUP,
            Self::Opening => program::MEASURE_OPENING,
            Self::Random => program::MEASURE_RANDOM,
            Self::OpeningRandom => program::MEASURE_OPENING_RANDOM,
            Self::Insert => program::MEASURE_INSERT,
            Self::Tunnel => program::MEASURE_TUNNEL,
        }
    }
}

/// What came of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// What the last run returned: the number of a target (`andromede_abi::target`), or less than 0 if it failed.
    pub result: i32,
    /// Mean time of a run in nanoseconds.
    pub nanoseconds: u32,
}

/// The loaded programs.
#[derive(Debug)]
pub struct Measures(pub(crate) BTreeMap<Measure, LoadedProgram>);

impl Measures {
    /// Runs a program many times on the same buffer: what the program did to it stays.
    pub fn run(&self, measure: Measure, frame: &[u8], context: FrameContext, times: u32) -> io::Result<Measured> {
        let program = self.0.get(&measure).ok_or(io::ErrorKind::NotFound)?.fd();
        let buffer = SkBuff::from(context);
        let mut output = vec![0_u8; frame.len().saturating_add(GROWTH)];
        let run = sys::program_test_run(program, frame, &buffer, &mut output, times)?;
        Ok(Measured { result: run.retval.cast_signed(), nanoseconds: run.duration })
    }
}
