//! Access to the bytes of a socket buffer. All that the verifier wants to know about packets is in this file.

use andromede_abi::Pod;
use andromede_pipeline::{Checksum, Frame, MAX_OFFSET};
use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR},
    helpers::{bpf_l4_csum_replace, bpf_skb_change_tail, bpf_skb_pull_data},
};

/// Ethernet, IPv4 without options, TCP without options.
const V4_HEADERS: u32 = 14 + 20 + 20;
/// Ethernet, IPv6 without extensions, TCP without options.
const V6_HEADERS: u32 = 14 + 40 + 20;
/// With IP options, extension headers or a quoted packet: as much as is ever read.
const LONG_HEADERS: u32 = MAX_OFFSET as u32 + 64;

/// A frame whose first bytes are in the linear part of the buffer.
pub struct Buffer {
    skb: *mut __sk_buff,
    data: usize,
    end: usize,
    length: u32,
}

impl Buffer {
    /// The frame of this buffer, as far as it is linear.
    #[inline(always)]
    pub fn as_is(skb: *mut __sk_buff) -> Self {
        let mut buffer = Self { skb, data: 0, end: 0, length: 0 };
        buffer.reload();
        buffer
    }

    /// The frame of this buffer; the headers that stand behind `offset` bytes are made linear if they are not.
    #[inline(always)]
    pub fn new(skb: *mut __sk_buff, offset: usize) -> Self {
        let mut buffer = Self::as_is(skb);
        if buffer.linear() >= buffer.length {
            return buffer;
        }
        let needed = buffer.needed(offset);
        if buffer.linear() < needed {
            let length = if needed < buffer.length { needed } else { buffer.length };
            // SAFETY: the context is the one the kernel handed over; a failure leaves the buffer as it was.
            unsafe { bpf_skb_pull_data(skb, length) };
        }
        // Even if it was linear: what the verifier knows of the data by now would keep this way and the others apart.
        buffer.reload();
        buffer
    }

    /// The kernel's buffer, for helpers.
    #[inline(always)]
    pub const fn skb(&self) -> *mut __sk_buff {
        self.skb
    }

    /// Reads the pointers again, after a helper may have moved the data.
    #[inline(always)]
    pub fn reload(&mut self) {
        // SAFETY: `skb` is the context of a running program.
        unsafe {
            self.data = (*self.skb).data as usize;
            self.end = (*self.skb).data_end as usize;
            self.length = (*self.skb).len;
        }
    }

    #[inline(always)]
    fn linear(&self) -> u32 {
        (self.end - self.data) as u32
    }

    /// How many bytes must be linear so that all headers can be read.
    #[inline(always)]
    fn needed(&self, offset: usize) -> u32 {
        let base = offset as u32;
        let Some(kind) = self.load::<u16>(offset + 12) else { return base + LONG_HEADERS };
        let Some(first) = self.load::<[u8; 10]>(offset + 14) else { return base + LONG_HEADERS };
        match kind {
            // An ICMP error quotes headers, which may have options of their own.
            V4 if first[0] == 0x45 && first[9] != 1 => base + V4_HEADERS,
            V6 if matches!(first[6], 6 | 17) => base + V6_HEADERS,
            V4 | V6 => base + LONG_HEADERS,
            _ => base + V4_HEADERS,
        }
    }
}

const V4: u16 = 0x0800_u16.to_be();
const V6: u16 = 0x86dd_u16.to_be();

impl Frame for Buffer {
    #[inline(always)]
    fn load<T: Pod>(&self, offset: usize) -> Option<T> {
        if offset > MAX_OFFSET {
            return None;
        }
        let at = self.data + offset;
        if at + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: inside the linear part by the check above; any bytes are a `T: Pod`.
        Some(unsafe { (at as *const T).read_unaligned() })
    }

    #[inline(always)]
    fn store<T: Pod>(&mut self, offset: usize, value: T) -> Option<()> {
        if offset > MAX_OFFSET {
            return None;
        }
        let at = self.data + offset;
        if at + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: as in `load`; the verifier gives the program a writable buffer.
        unsafe { (at as *mut T).write_unaligned(value) };
        Some(())
    }

    #[inline(always)]
    fn amend(&mut self, offset: usize, change: u32, checksum: Checksum) -> Option<()> {
        if offset > MAX_OFFSET {
            return None;
        }
        let flags = match checksum {
            Checksum::Addressed => BPF_F_PSEUDO_HDR,
            Checksum::AddressedOrNone => BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0,
            Checksum::Message => 0,
        };
        // The helper knows whether the sum is there already, or is left to whoever sends or segments the frame: then what stands there is
        // that of the pseudo-header (`inet_proto_csum_replace_by_diff`, net/core/utils.c). A size of 0 says that the change is a difference.
        // SAFETY: the context is the one the kernel handed over; the helper checks the offset.
        let failed = unsafe { bpf_l4_csum_replace(self.skb, offset as u32, 0, change.into(), flags.into()) };
        self.reload();
        (failed == 0).then_some(())
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        self.length
    }

    #[inline(always)]
    fn resize(&mut self, length: u32) -> Option<()> {
        if length == self.length {
            return Some(());
        }
        // SAFETY: the context is the one the kernel handed over.
        let failed = unsafe { bpf_skb_change_tail(self.skb, length, 0) };
        if failed != 0 {
            return None;
        }
        // SAFETY: as above.
        unsafe { bpf_skb_pull_data(self.skb, length) };
        self.reload();
        Some(())
    }
}
