//! Calls of any method of the schema, as bytes.

use std::{fmt::Debug, time::Duration};

use prost::bytes::{Buf, BufMut};
use prost_reflect::MethodDescriptor;
use tonic::{
    Request, Status,
    body::Body,
    client::GrpcService,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::StdError,
    transport::Channel,
};

/// How long a stream may have nothing to say.
const SILENCE: Duration = Duration::from_millis(20);

/// Requests and answers as bytes.
#[derive(Clone, Default)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}

/// Calls a method with these bytes: the first answer, or why there is none. A watch may have nothing to say.
pub async fn call(channel: &Channel, method: &MethodDescriptor, bytes: Vec<u8>) -> Result<Vec<u8>, Status> {
    call_path(channel, &path(method), method.is_server_streaming(), bytes).await
}

/// The path of a method.
pub fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// The same, of a path: with or without a stream of answers.
pub async fn call_path<C>(channel: &C, path: &str, streaming: bool, bytes: Vec<u8>) -> Result<Vec<u8>, Status>
where
    C: GrpcService<Body> + Clone,
    C::ResponseBody: http_body::Body<Data = prost::bytes::Bytes> + Send + 'static,
    <C::ResponseBody as http_body::Body>::Error: Into<StdError>,
    C::Error: Debug,
{
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = path.parse().unwrap();
    if streaming {
        let request = Request::new(tokio_stream::once(bytes));
        let mut stream = client.streaming(request, path, Bytes).await?.into_inner();
        let first = tokio::time::timeout(SILENCE, stream.message()).await;
        return first.map_or(Ok(Vec::new()), |message| message.map(Option::unwrap_or_default));
    }
    Ok(client.unary(Request::new(bytes), path, Bytes).await?.into_inner())
}
