//! Rows of configuration that this processor has read, kept for its next packets: a lookup in a hash costs as much as all the rest of
//! what is done with an established packet.
//!
//! A row is kept under the generation that was read before the row was. Whoever writes to a table of configuration raises the generation
//! after each write: a row that is kept under the present one is what a lookup would find.

use core::sync::atomic::{Ordering, compiler_fence};

use andromede_abi::{Counter, MemberKey, MemberRow, NetworkRow, PortRow};
use andromede_pipeline::{Judgement, Scratch};

use crate::{maps, tables};

/// Rows of a kind that a processor keeps; a power of two. Two that belong into the same place take turns.
pub const KEPT: usize = 256;

/// A row and its key, and the generation under which it was read.
#[repr(C)]
pub struct Kept<K, R> {
    generation: u64,
    key: K,
    row: R,
}

/// How connections of a kind are judged, and the generation that was read before it was. While one is judged, the generation waits.
#[repr(C)]
pub struct KeptJudgement {
    generation: u64,
    next: u64,
    judgement: Judgement,
}

/// A port by the index of its interface, which is never 0.
pub type KeptPort = Kept<u32, PortRow>;
/// A member of a network.
pub type KeptMember = Kept<MemberKey, MemberRow>;
/// A network by its index.
pub type KeptNetwork = Kept<u32, NetworkRow>;

impl<K: Copy + PartialEq, R> Kept<K, R> {
    /// The row in this place, if it is that of the key, or else what `read` writes there.
    ///
    /// # Safety
    /// `place` is one of this processor, of which there is no other reference.
    #[inline(always)]
    unsafe fn find<'a>(place: *mut Self, key: &K, read: impl FnOnce(&mut R) -> bool) -> Option<&'a R> {
        let generation = generation();
        // SAFETY: the caller's word.
        let kept = unsafe { &mut *place };
        if kept.generation == generation && kept.key == *key {
            return Some(&kept.row);
        }
        // What is written in part is no row.
        forget(&mut kept.generation);
        if generation == 0 || !read(&mut kept.row) {
            return None;
        }
        (kept.generation, kept.key) = (generation, *key);
        Some(&kept.row)
    }
}

/// The present generation. It is 0 only before anything was written.
#[inline(always)]
pub fn generation() -> u64 {
    // SAFETY: an aligned word of an array.
    let generation = maps::GENERATION.get_ptr(0).map_or(0, |word| unsafe { word.read_volatile() });
    compiler_fence(Ordering::SeqCst);
    generation
}

/// Says that nothing is kept there, before tables are read: on a processor that reads ahead they would else be read as they were before
/// the generation was.
#[inline(always)]
pub fn forget(kept: &mut u64) {
    // SAFETY: an aligned word, of this processor alone; a counter is one.
    let kept: &Counter = unsafe { &*core::ptr::from_mut(kept).cast() };
    kept.clear_in_order();
}

/// The place of a number.
#[inline(always)]
const fn place(number: u32) -> u32 {
    number & (KEPT as u32 - 1)
}

/// The port behind this interface. Nothing else about ports may be asked while it is looked at.
#[inline(always)]
pub fn port<'a>(ifindex: u32) -> Option<&'a PortRow> {
    let kept = maps::KEPT_PORTS.get_ptr_mut(place(ifindex))?;
    // SAFETY: the place of this processor; programs of one processor do not interrupt each other at these hooks.
    unsafe { Kept::find(kept, &ifindex, |row| tables::read_port(ifindex, row)) }
}

/// The member with this key. Nothing else about members may be asked while it is looked at.
#[inline(always)]
pub fn member<'a>(key: &MemberKey) -> Option<&'a MemberRow> {
    let [.., last] = key.underlay.0;
    let kept = maps::KEPT_MEMBERS.get_ptr_mut(place(last.swap_bytes() ^ key.vni))?;
    // SAFETY: as in `port`.
    unsafe { Kept::find(kept, key, |row| tables::read_member(key, row)) }
}

/// The network with this index. Nothing else about networks may be asked while it is looked at.
#[inline(always)]
pub fn network<'a>(network: u32) -> Option<&'a NetworkRow> {
    let kept = maps::KEPT_NETWORKS.get_ptr_mut(place(network))?;
    // SAFETY: as in `port`.
    unsafe { Kept::find(kept, &network, |row| tables::read_network(network, row)) }
}

/// The place for the judgement of the connection in the scratch space.
#[inline(always)]
fn place_of<'a>(scratch: &Scratch) -> Option<&'a mut KeptJudgement> {
    // SAFETY: as in `port`.
    maps::KEPT_JUDGEMENTS.get_ptr_mut(place(Judgement::place(scratch))).map(|kept| unsafe { &mut *kept })
}

/// Judges the connection in the scratch space as the last one of its kind; says whether it did. If not, it is to be judged, and may then be
/// [kept](keep). A function of its own, for the stack of what judges.
#[inline(never)]
pub fn recall(scratch: &mut Scratch) -> bool {
    let generation = generation();
    let Some(kept) = place_of(scratch) else { return false };
    if generation != 0 && kept.generation == generation && kept.judgement.is_of(scratch) {
        kept.judgement.apply(scratch);
        return true;
    }
    forget(&mut kept.generation);
    kept.next = generation;
    false
}

/// Keeps how the connection in the scratch space was judged, which was not recalled just now. A function of its own, for its stack.
#[inline(never)]
pub fn keep(scratch: &Scratch) {
    if let Some(kept) = place_of(scratch) {
        kept.judgement.keep(scratch);
        kept.generation = kept.next;
    }
}

/// Nothing that a processor keeps counts any more.
#[inline(always)]
pub fn advance() {
    if let Some(word) = maps::GENERATION.get_ptr(0) {
        // SAFETY: an aligned word of an array; a counter is one.
        let word: &Counter = unsafe { &*word.cast() };
        word.add(1);
    }
}
