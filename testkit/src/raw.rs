//! Frames as they are: a packet socket on one interface.

use std::{
    ffi::CString,
    io,
    mem::size_of,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::Namespace;

/// Longest frame that is received: a GSO frame and its headers.
const LONGEST: usize = 70_000;

/// A packet socket (packet(7)) bound to one interface: sends and receives whole Ethernet frames.
#[derive(Debug)]
pub struct RawSocket {
    fd: OwnedFd,
}

impl RawSocket {
    /// Opens a socket on an interface of a namespace. Frames that the interface itself sends are seen as well
    /// unless `incoming_only`.
    pub fn open(namespace: &Namespace, interface: &str, incoming_only: bool) -> Result<Self> {
        let configure = |socket: &Self, index| {
            socket.option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 64 << 20)?;
            if incoming_only {
                socket.option(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
            }
            socket.be_promiscuous(index)
        };
        namespace
            .run(|| Self::open_here(interface, libc::ETH_P_ALL as u16, configure))?
            .with_context(|| format!("opening a packet socket on {interface}"))
    }

    /// Opens a socket that only sends: nothing is copied to it.
    pub fn open_to_send(namespace: &Namespace, interface: &str) -> Result<Self> {
        namespace
            .run(|| Self::open_here(interface, 0, |_, _| Ok(())))?
            .with_context(|| format!("opening a packet socket on {interface}"))
    }

    /// A socket that receives frames of this protocol (0: none). It is configured before the first of them.
    fn open_here(
        interface: &str,
        protocol: u16,
        configure: impl FnOnce(&Self, u32) -> io::Result<()>,
    ) -> io::Result<Self> {
        let name = CString::new(interface)?;
        // SAFETY: plain system calls; `name` ends with a zero byte and outlives the call, and a descriptor that is
        // not negative is a new one that nobody else owns.
        let (fd, index) = unsafe {
            let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            (OwnedFd::from_raw_fd(fd), libc::if_nametoindex(name.as_ptr()))
        };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: all zeros are a `sockaddr_ll`.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = index.cast_signed();
        let socket = Self { fd };
        configure(&socket, index)?;
        // SAFETY: the address is of the size that is told.
        let done = unsafe {
            libc::bind(
                socket.fd.as_raw_fd(),
                std::ptr::from_ref(&address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        check(done)?;
        Ok(socket)
    }

    fn option(&self, level: i32, name: i32, value: i32) -> io::Result<()> {
        // SAFETY: the value is an int, as these options want, and of the size that is told.
        check(unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                level,
                name,
                std::ptr::from_ref(&value).cast(),
                size_of::<i32>() as libc::socklen_t,
            )
        })
    }

    fn be_promiscuous(&self, index: u32) -> io::Result<()> {
        // SAFETY: all zeros are a `packet_mreq`.
        let mut request: libc::packet_mreq = unsafe { std::mem::zeroed() };
        request.mr_ifindex = index.cast_signed();
        request.mr_type = libc::PACKET_MR_PROMISC as u16;
        // SAFETY: the request is of the size that is told.
        check(unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                std::ptr::from_ref(&request).cast(),
                size_of::<libc::packet_mreq>() as libc::socklen_t,
            )
        })
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: the buffer is of the length that is told.
        let sent = unsafe { libc::send(self.fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The next frame, or none within the time.
    pub fn receive(&self, limit: Duration) -> io::Result<Option<Vec<u8>>> {
        let mut poll = libc::pollfd { fd: self.fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one `pollfd` is handed over, as told.
        let ready = unsafe { libc::poll(&raw mut poll, 1, i32::try_from(limit.as_millis()).unwrap_or(i32::MAX)) };
        check(ready)?;
        if ready == 0 {
            return Ok(None);
        }
        let mut buffer = vec![0u8; LONGEST];
        // SAFETY: the buffer is of the length that is told.
        let length = unsafe { libc::recv(self.fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        buffer.truncate(length);
        Ok(Some(buffer))
    }

    /// The next frame that `wanted` accepts, or none within the time.
    pub fn receive_matching(&self, limit: Duration, wanted: impl Fn(&[u8]) -> bool) -> io::Result<Option<Vec<u8>>> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.receive(left)? {
                Some(frame) if wanted(&frame) => return Ok(Some(frame)),
                Some(_) if !left.is_zero() => {}
                _ => return Ok(None),
            }
        }
    }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
