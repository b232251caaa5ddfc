//! Messages of the session on the wire: what comes is looked through for what this agent does not know before that is lost.

use andromede_proto::{
    agent::v1::{AgentMessage, ControllerMessage, controller_message::Message},
    unknown::{self, Unknown},
};
use prost::{Message as _, bytes::Buf as _};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// What the controller said.
#[derive(Debug)]
pub(crate) struct Heard {
    /// The message; none if it is of a kind that this agent does not know.
    pub(crate) message: Option<Message>,
    /// What of it is not known and may matter. Questions and answers to claims are no law: what is not known of them is passed over.
    pub(crate) unknown: Vec<Unknown>,
}

/// The codec of the session.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SessionCodec;

impl Codec for SessionCodec {
    type Encode = AgentMessage;
    type Decode = Heard;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for SessionCodec {
    type Item = AgentMessage;
    type Error = Status;

    fn encode(&mut self, item: AgentMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for SessionCodec {
    type Item = Heard;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Heard>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        let mut unknown = unknown::find::<ControllerMessage>(&bytes);
        let message = ControllerMessage::decode(bytes).map_err(|error| Status::internal(error.to_string()))?.message;
        match message {
            Some(Message::Query(_) | Message::ClaimAnswer(_)) => unknown.clear(),
            // What was found in an update is told by its own fields.
            Some(Message::Update(_)) => {
                for it in &mut unknown {
                    it.path = it.path.split_off(1.min(it.path.len()));
                }
            }
            _ => {}
        }
        Ok(Some(Heard { message, unknown }))
    }
}
