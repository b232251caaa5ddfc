//! Removing connections: done by a program in the kernel, beside the packet path and by its code, so that what a connection
//! takes of its budgets is given back exactly once, whoever removes it.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use andromede_abi::{FlowKey, ReapRequest, Slot, Usage, bytes_of, reap_operation};

use crate::{
    Dataplane, LoadError,
    sys::{self, SkBuff},
};

/// Bytes by which a request may be longer on its way back; nothing is, but the kernel wants room.
const ROOM: usize = 16;

/// The program that removes connections.
#[derive(Debug)]
pub struct Reaper {
    program: OwnedFd,
}

/// The program could not be run.
#[derive(Debug, thiserror::Error)]
#[error("cannot run the program that removes connections: {what}")]
pub struct ReapError {
    what: &'static str,
    #[source]
    source: io::Error,
}

impl Dataplane {
    /// The program that removes connections, by a descriptor of its own.
    pub fn reaper(&self) -> Result<Reaper, LoadError> {
        let absent = |source| LoadError::Table { table: "reap", source };
        Ok(Reaper { program: self.reap.as_fd().try_clone_to_owned().map_err(absent)? })
    }
}

impl Reaper {
    /// Says that an agent sweeps: as long as this is heard, the kernel leaves the table alone. It also sets the kernel's timer,
    /// with the newest program as its callback.
    pub fn beat(&self) -> Result<(), ReapError> {
        let failed = self.run(reap_operation::BEAT, 0, &[])?;
        if failed == 0 {
            return Ok(());
        }
        let errno = i32::try_from(failed).unwrap_or(i32::MAX);
        Err(ReapError { what: "the timer is not set", source: io::Error::from_raw_os_error(errno) })
    }

    /// Removes those of these connections that are over, which is looked at again right before; says how many.
    pub fn reap(&self, keys: &[FlowKey]) -> Result<usize, ReapError> {
        self.each(reap_operation::REAP, keys)
    }

    /// Removes these connections, over or not: their port is gone. Says how many there were.
    pub fn evict(&self, keys: &[FlowKey]) -> Result<usize, ReapError> {
        self.each(reap_operation::EVICT, keys)
    }

    /// Corrects a count, by an addition in one instruction: it goes on changing meanwhile.
    pub fn correct(&self, slot: Slot, usage: Usage, by: i64) -> Result<(), ReapError> {
        let mut body = Vec::with_capacity(16);
        body.extend(slot.to_ne_bytes());
        body.extend((usage as u32).to_ne_bytes());
        body.extend(by.to_ne_bytes());
        self.run(reap_operation::CORRECT, 1, &body).map(drop)
    }

    fn each(&self, operation: u16, keys: &[FlowKey]) -> Result<usize, ReapError> {
        let mut removed: usize = 0;
        for part in keys.chunks(ReapRequest::KEYS_MAX) {
            let body: Vec<u8> = part.iter().flat_map(bytes_of).copied().collect();
            let count = u32::try_from(part.len()).unwrap_or(0);
            removed = removed.saturating_add(self.run(operation, count, &body)? as usize);
        }
        Ok(removed)
    }

    /// Runs the program on a request, and gives what it returned.
    fn run(&self, operation: u16, count: u32, body: &[u8]) -> Result<u32, ReapError> {
        let mut request = bytes_of(&ReapRequest::new(operation, count)).to_vec();
        request.extend(body);
        let mut output = vec![0; request.len().saturating_add(ROOM)];
        sys::program_test_run(self.program.as_fd(), &request, &SkBuff::default(), &mut output, 1)
            .map(|run| run.retval)
            .map_err(|source| ReapError { what: "the kernel refused the run", source })
    }
}
