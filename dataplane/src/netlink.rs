//! Route netlink, as far as traffic control needs it: requests with one answer, and dumps.
//!
//! Layouts: `struct nlmsghdr` and `struct nlattr` (`include/uapi/linux/netlink.h`), `struct tcmsg`
//! (`include/uapi/linux/rtnetlink.h`); all in host byte order.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

const HEADER_LENGTH: usize = 16;
const ATTRIBUTE_HEADER_LENGTH: usize = 4;
const TC_LENGTH: usize = 20;
/// Largest message that is read; the kernel's dumps fit into 32 KiB.
const RECEIVE_LENGTH: usize = 64 * 1024;

pub(crate) const NESTED: u16 = 1 << 15;
const TYPE_MASK: u16 = 0x3fff;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// `struct tcmsg` without its family, which is unspecified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TcHeader {
    pub(crate) ifindex: u32,
    pub(crate) handle: u32,
    pub(crate) parent: u32,
    pub(crate) info: u32,
}

/// A request that is being written.
pub(crate) struct Request {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Request {
    /// A request about traffic control; `flags` are those beside `NLM_F_REQUEST`.
    pub(crate) fn tc(kind: u16, flags: u16, header: TcHeader) -> Self {
        let mut body = vec![0_u8; 4];
        for word in [header.ifindex, header.handle, header.parent, header.info] {
            body.extend_from_slice(&word.to_ne_bytes());
        }
        Self { kind, flags, body }
    }

    /// Appends an attribute.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(ATTRIBUTE_HEADER_LENGTH.saturating_add(value.len())).unwrap_or(u16::MAX);
        self.body.extend_from_slice(&length.to_ne_bytes());
        self.body.extend_from_slice(&kind.to_ne_bytes());
        self.body.extend_from_slice(value);
        self.body.resize(self.body.len().next_multiple_of(4), 0);
    }

    /// The bytes of an attribute, to be put inside another.
    pub(crate) fn inner(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut inner = Self { kind: 0, flags: 0, body: Vec::new() };
        for (kind, value) in attributes {
            inner.attribute(*kind, value);
        }
        inner.body
    }

    fn encode(&self) -> Vec<u8> {
        let length = u32::try_from(HEADER_LENGTH.saturating_add(self.body.len())).unwrap_or(u32::MAX);
        let flags = self.flags | libc::NLM_F_REQUEST as u16;
        let mut message = Vec::with_capacity(length as usize);
        message.extend_from_slice(&length.to_ne_bytes());
        message.extend_from_slice(&self.kind.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        // One request at a time on a socket of its own: sequence 1, and the kernel fills the port.
        message.extend_from_slice(&1_u32.to_ne_bytes());
        message.extend_from_slice(&0_u32.to_ne_bytes());
        message.extend_from_slice(&self.body);
        message
    }

    /// Sends the request on a socket of its own, and gives every message of the answer to `each`.
    pub(crate) fn send(&self, mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let kind = SockProtocol::NetlinkRoute;
        let socket: OwnedFd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, kind)?;
        send(socket.as_raw_fd(), &self.encode(), MsgFlags::empty())?;
        let mut buffer = vec![0_u8; RECEIVE_LENGTH];
        loop {
            let length = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(nix::Error::EINTR) => continue,
                result => result?,
            };
            let datagram = buffer.get(..length).unwrap_or_default();
            if length == 0 || read_answer(datagram, &mut each)? {
                return Ok(());
            }
        }
    }
}

/// Reads the messages of one datagram; true if the answer is complete.
fn read_answer(mut rest: &[u8], each: &mut impl FnMut(u16, &[u8])) -> io::Result<bool> {
    while !rest.is_empty() {
        let length = u32_at(rest, 0).ok_or_else(malformed)? as usize;
        let kind = u16_at(rest, 4).ok_or_else(malformed)?;
        let payload = rest.get(HEADER_LENGTH..length).ok_or_else(malformed)?;
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = u32_at(payload, 0).ok_or_else(malformed)?.cast_signed();
                return if code == 0 { Ok(true) } else { Err(io::Error::from_raw_os_error(code.saturating_neg())) };
            }
            _ => each(kind, payload),
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// Reads the header of a message about traffic control, and its attributes.
pub(crate) fn read_tc(payload: &[u8]) -> Option<(TcHeader, &[u8])> {
    let header = TcHeader {
        ifindex: u32_at(payload, 4)?,
        handle: u32_at(payload, 8)?,
        parent: u32_at(payload, 12)?,
        info: u32_at(payload, 16)?,
    };
    Some((header, payload.get(TC_LENGTH..)?))
}

/// The value of the first attribute of this kind.
pub(crate) fn find_attribute(mut rest: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(rest, 0)?);
        let value = rest.get(ATTRIBUTE_HEADER_LENGTH..length)?;
        if u16_at(rest, 2)? & TYPE_MASK == kind {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

/// The word at this place, if there is one.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|word| u16::from_ne_bytes(*word))
}

fn malformed() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let header = TcHeader { ifindex: 3, handle: 1, parent: 0xffff_fff2, info: 0x0001_0300 };
        let mut request = Request::tc(44, 0, header);
        request.attribute(1, b"bpf\0");
        request.attribute(2 | NESTED, &Request::inner(&[(7, b"abc\0"), (11, &9_u32.to_ne_bytes())]));
        let mut seen = 0;
        let complete = read_answer(&request.encode(), &mut |kind, payload| {
            let (found, attributes) = read_tc(payload).unwrap();
            assert_eq!((kind, found), (44, header));
            let options = find_attribute(attributes, 2).unwrap();
            assert_eq!(find_attribute(options, 11), Some(9_u32.to_ne_bytes().as_slice()));
            assert_eq!(find_attribute(options, 12), None);
            seen += 1;
        });
        assert!(!complete.unwrap());
        assert_eq!(seen, 1);
    }

    #[test]
    fn cut_messages_are_refused() {
        let mut request = Request::tc(44, 0, TcHeader::default());
        request.attribute(1, b"bpf\0");
        let message = request.encode();
        for length in 1..message.len() {
            assert!(read_answer(&message[..length], &mut |_, _| ()).is_err(), "{length} bytes");
        }
        for length in 0..8 {
            assert_eq!(find_attribute(&[0; 8][..length], 1), None, "an attribute of length 0 ends the search");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_answer_is_too_strange(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            // Whatever comes is read to an end or refused, and never read beyond it.
            drop(read_answer(&bytes, &mut |_, payload| {
                if let Some((_, attributes)) = read_tc(payload) {
                    find_attribute(attributes, 2).and_then(|options| find_attribute(options, 11));
                }
            }));
            find_attribute(&bytes, 11);
        }
    }
}
