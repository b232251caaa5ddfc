//! The schema as data.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, EnumDescriptor, EnumValueDescriptor, MessageDescriptor};

use crate::DESCRIPTORS;

/// All descriptors. The schema is part of the program, so it decodes; if it did not, no message would be found in it.
static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).unwrap_or_default());

/// The descriptor of a message type.
pub(crate) fn message<M: prost::Name>() -> Option<MessageDescriptor> {
    POOL.get_message_by_name(&M::full_name())
}

/// The name of an enum's value as people write it: `ingress` for `DIRECTION_INGRESS`.
pub(crate) fn short_name(of: &EnumDescriptor, value: &EnumValueDescriptor) -> String {
    let mut prefix = String::new();
    for (place, letter) in of.name().chars().enumerate() {
        if place > 0 && letter.is_ascii_uppercase() {
            prefix.push('_');
        }
        prefix.push(letter.to_ascii_uppercase());
    }
    prefix.push('_');
    value.name().strip_prefix(&prefix).unwrap_or(value.name()).to_ascii_lowercase()
}

/// The value of an enum by its full or short name.
pub(crate) fn value_by_name(of: &EnumDescriptor, name: &str) -> Option<EnumValueDescriptor> {
    of.values().find(|value| value.name() == name || (value.number() != 0 && short_name(of, value) == name))
}
