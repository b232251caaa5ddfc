//! Rows of configuration that this processor has read, kept for its next packets: a lookup in a hash costs as much as all the rest of
//! what is done with an established packet.
//!
//! A row is kept under the generation that was read before the row was. Whoever writes to a table of configuration raises the generation
//! after each write: a row that is kept under the present one is what a lookup would find.

use core::sync::atomic::{Ordering, compiler_fence};

use andromede_abi::{MemberKey, MemberRow, PortRow};

use crate::{maps, tables};

/// Rows of a kind that a processor keeps; a power of two. Two that belong into the same place take turns.
pub const KEPT: usize = 256;

/// A row, and the generation under which it was read.
#[repr(C)]
pub struct KeptPort {
    generation: u64,
    row: PortRow,
}

/// A row and its key, and the generation under which it was read.
#[repr(C)]
pub struct KeptMember {
    generation: u64,
    key: MemberKey,
    reserved: u32,
    row: MemberRow,
}

/// The present generation; 0 where nothing was ever written.
#[inline(always)]
fn generation() -> u64 {
    // SAFETY: an aligned word of an array.
    let generation = maps::GENERATION.get_ptr(0).map_or(0, |word| unsafe { word.read_volatile() });
    compiler_fence(Ordering::SeqCst);
    generation
}

/// The place of a number.
#[inline(always)]
const fn place(number: u32) -> u32 {
    number & (KEPT as u32 - 1)
}

/// Copies the port behind this interface to `into`; false if there is none.
#[inline(always)]
pub fn copy_port(ifindex: u32, into: &mut PortRow) -> bool {
    let generation = generation();
    let Some(kept) = maps::KEPT_PORTS.get_ptr_mut(place(ifindex)) else { return false };
    // SAFETY: the place of this processor, which nobody else reads or writes.
    let kept = unsafe { &mut *kept };
    if kept.generation == generation && kept.row.owner as u32 == ifindex {
        tables::copy_words(&kept.row, into);
        return true;
    }
    if !tables::read_port(ifindex, into) {
        return false;
    }
    tables::copy_words(into, &mut kept.row);
    kept.generation = generation;
    true
}

/// The member with this key.
#[inline(always)]
pub fn member(key: &MemberKey) -> Option<MemberRow> {
    let generation = generation();
    let [.., last] = key.underlay.0;
    let kept = maps::KEPT_MEMBERS.get_ptr_mut(place(last.swap_bytes() ^ key.vni))?;
    // SAFETY: as in `copy_port`.
    let kept = unsafe { &mut *kept };
    if kept.generation != generation || kept.key != *key {
        kept.row = tables::read_member(key)?;
        (kept.generation, kept.key) = (generation, *key);
    }
    Some(kept.row)
}
