//! Canonical JSON of the schema's messages, as the protobuf documentation defines it: field names in camelCase,
//! 64-bit integers as strings, enums by name. Fields without presence are always written, so that scripts may rely on them.

use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};

/// The schema could not be read, or a message does not follow it.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The schema that the program carries cannot be decoded, or lacks the message.
    #[error("the schema has no message {0:?}; the program was built wrongly")]
    Schema(String),
    /// Bytes that are not the message they should be.
    #[error("the message cannot be decoded: {0}")]
    Decode(#[from] prost::DecodeError),
    /// JSON that is not the message it should be; it names the field where it can.
    #[error("the JSON does not follow the schema: {0}")]
    Json(#[from] serde_json::Error),
}

static POOL: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| DescriptorPool::decode(crate::DESCRIPTORS).ok());

/// The description of the message with this full name, for example "andromede.v1.Port".
pub fn descriptor(full_name: &str) -> Result<MessageDescriptor, JsonError> {
    let pool = POOL.as_ref().ok_or_else(|| JsonError::Schema(full_name.to_owned()))?;
    pool.get_message_by_name(full_name).ok_or_else(|| JsonError::Schema(full_name.to_owned()))
}

/// A message as canonical JSON.
pub fn to_json<M: Message + Name>(message: &M) -> Result<serde_json::Value, JsonError> {
    let dynamic = to_dynamic(message)?;
    let options = SerializeOptions::new().skip_default_fields(false);
    Ok(dynamic.serialize_with_options(serde_json::value::Serializer, &options)?)
}

/// A message from canonical JSON; unknown fields are refused.
pub fn from_json<M: Message + Name + Default>(value: serde_json::Value) -> Result<M, JsonError> {
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let dynamic = DynamicMessage::deserialize_with_options(descriptor(&M::full_name())?, value, &options)?;
    Ok(dynamic.transcode_to()?)
}

/// A message whose fields can be asked for by name.
pub(crate) fn to_dynamic<M: Message + Name>(message: &M) -> Result<DynamicMessage, JsonError> {
    let bytes = message.encode_to_vec();
    Ok(DynamicMessage::decode(descriptor(&M::full_name())?, bytes.as_slice())?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use serde_json::json;

    use super::*;
    use crate::v1;

    #[test]
    fn json_is_canonical_and_complete() {
        let drops = v1::ListDropsResponse {
            counts: vec![v1::DropCount { host: "hosts/h1".into(), packets: 7, ..Default::default() }],
            ..Default::default()
        };
        let value = to_json(&drops).unwrap();
        assert_eq!(value["counts"][0]["packets"], json!("7"), "64-bit numbers are strings");
        assert_eq!(value["counts"][0]["reasonNumber"], json!(0), "zero is written too");
        assert_eq!(value["recent"], json!([]));
        assert_eq!(from_json::<v1::ListDropsResponse>(value).unwrap(), drops);
    }

    #[test]
    fn unknown_fields_are_refused_by_name() {
        let error = from_json::<v1::Port>(json!({"name": "x", "adresses": []})).unwrap_err().to_string();
        assert!(error.contains("adresses"), "{error}");
    }
}
