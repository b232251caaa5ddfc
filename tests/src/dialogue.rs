//! Connections over which both sides can be asked to speak, so that a test knows at which packet one was cut.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "it serves tests, and panics where they should fail"
)]

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use andromede_testkit::Namespace;

/// How long a side waits for what the other says.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a connection may take to open.
const OPENING: Duration = Duration::from_secs(3);

/// One end.
#[derive(Debug)]
enum Side {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Side {
    fn say(&self) {
        let said = match self {
            Self::Tcp(stream) => (&*stream).write(b"x"),
            Self::Udp(socket) => socket.send(b"x"),
        };
        assert_eq!(said.unwrap(), 1);
    }

    fn hears_within(&self, limit: Duration) -> bool {
        let mut byte = [0];
        let heard = match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(limit)).unwrap();
                (&*stream).read(&mut byte)
            }
            Self::Udp(socket) => {
                socket.set_read_timeout(Some(limit)).unwrap();
                socket.recv(&mut byte)
            }
        };
        match heard {
            Ok(read) => read == 1,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A connection of which both ends are held.
#[derive(Debug)]
pub struct Dialogue {
    client: Side,
    server: Side,
}

impl Dialogue {
    /// A TCP connection that is open.
    pub fn tcp(from: &Namespace, to: &Namespace, address: SocketAddr) -> Self {
        let listener = to.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, address.port()))).unwrap().unwrap();
        let client = from.run(|| TcpStream::connect_timeout(&address, OPENING)).unwrap().unwrap();
        let (server, _) = listener.accept().unwrap();
        for side in [&client, &server] {
            side.set_nodelay(true).unwrap();
        }
        Self { client: Side::Tcp(client), server: Side::Tcp(server) }
    }

    /// Two UDP sockets that know each other, at ports of their own; the client has spoken.
    pub fn udp(from: &Namespace, source: SocketAddr, to: &Namespace, destination: SocketAddr) -> Self {
        let [client, server] = [(from, source, destination), (to, destination, source)].map(|(place, own, other)| {
            let socket = place.run(|| UdpSocket::bind(own)).unwrap().unwrap();
            place.run(|| socket.connect(other)).unwrap().unwrap();
            Side::Udp(socket)
        });
        let dialogue = Self { client, server };
        assert!(dialogue.forward(), "the client's first datagram arrives");
        dialogue
    }

    /// The initiator speaks: is it heard?
    pub fn forward(&self) -> bool {
        self.forward_within(PATIENCE)
    }

    /// The initiator speaks: is it heard before so much time is over?
    pub fn forward_within(&self, limit: Duration) -> bool {
        self.client.say();
        self.server.hears_within(limit)
    }

    /// The answerer speaks: is it heard?
    pub fn backward(&self) -> bool {
        self.server.say();
        self.client.hears_within(PATIENCE)
    }
}
