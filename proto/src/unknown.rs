//! What of a message this program does not know: fields, kinds and values that a newer program put there.
//!
//! Decoding passes over unknown fields. For an agent that would be dangerous: a rule without the condition that it does not know is
//! another rule. So whoever must not pass over them looks for them first, in the bytes, by the schema that it was built with.
//! The number of a field says whether that matters: see [`HARMLESS`].

use std::{
    collections::{BTreeSet, HashMap},
    sync::OnceLock,
};

use prost::{Message as _, Name, encoding::WireType};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, field_descriptor_proto::Type,
};

use crate::DESCRIPTORS;

/// Fields from this number on may be passed over by who does not know them: they tell people something, and change nothing that a packet
/// meets. All other unknown fields matter.
pub const HARMLESS: u32 = 1_000;
/// Most that is reported of one message.
const FOUND: usize = 64;
/// How deep messages may be nested: what `prost` takes.
const DEPTH: usize = 100;

/// Something that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The fields on the way to the message that holds it, each with its place among those of the same number.
    pub path: Vec<(u32, usize)>,
    /// What it is, in words: `andromede.v1.Rule: field 12`, or `andromede.v1.Rule.action: value 4`.
    pub what: String,
}

/// Looks for what is not known and matters in the bytes of a message. What cannot be read at all is for the decoder to refuse.
pub fn find<M: Name>(bytes: &[u8]) -> Vec<Unknown> {
    let mut walk = Walk { schema: schema(), path: Vec::new(), found: Vec::new() };
    if let Some(message) = walk.schema.names.get(&M::full_name()).copied() {
        // It ends early at what cannot be read.
        let _ = walk.message(message, bytes);
    }
    walk.found
}

/// The messages and enums of the schema, by number.
#[derive(Debug, Default)]
struct Schema {
    names: HashMap<String, usize>,
    messages: Vec<Shape>,
    values: HashMap<String, BTreeSet<i32>>,
}

/// What may stand in a message.
#[derive(Debug, Default)]
struct Shape {
    name: String,
    fields: HashMap<u32, Field>,
    /// Numbers of fields that were taken out, and mean nothing any more.
    reserved: Vec<std::ops::Range<u32>>,
}

#[derive(Debug)]
enum Field {
    Plain,
    Message(usize),
    Enum { name: String, of: String },
}

fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let mut schema = Schema::default();
        // It was written by the build: see `build.rs`.
        let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap_or_default();
        for file in &set.file {
            file.message_type.iter().for_each(|message| schema.name(file.package(), message));
            file.enum_type.iter().for_each(|found| schema.values(file.package(), found));
        }
        for file in &set.file {
            file.message_type.iter().for_each(|message| schema.fill(file.package(), message));
        }
        schema
    })
}

impl Schema {
    fn name(&mut self, scope: &str, message: &DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        self.names.insert(name.clone(), self.messages.len());
        self.messages.push(Shape { name: name.clone(), ..Shape::default() });
        message.nested_type.iter().for_each(|nested| self.name(&name, nested));
        message.enum_type.iter().for_each(|found| self.values(&name, found));
    }

    fn values(&mut self, scope: &str, found: &EnumDescriptorProto) {
        let values = found.value.iter().map(prost_types::EnumValueDescriptorProto::number);
        self.values.insert(format!("{scope}.{}", found.name()), values.collect());
    }

    fn fill(&mut self, scope: &str, message: &DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        let fields = message.field.iter().map(|field| (number(field.number()), self.field(field))).collect();
        let reserved = message.reserved_range.iter().map(|range| number(range.start())..number(range.end())).collect();
        if let Some(shape) = self.names.get(&name).and_then(|place| self.messages.get_mut(*place)) {
            (shape.fields, shape.reserved) = (fields, reserved);
        }
        message.nested_type.iter().for_each(|nested| self.fill(&name, nested));
    }

    fn field(&self, field: &FieldDescriptorProto) -> Field {
        let of = field.type_name().trim_start_matches('.');
        match (field.r#type(), self.names.get(of)) {
            (Type::Message, Some(place)) => Field::Message(*place),
            (Type::Enum, _) => Field::Enum { name: field.name().to_owned(), of: of.to_owned() },
            _ => Field::Plain,
        }
    }
}

fn number(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// A look at one message.
struct Walk {
    schema: &'static Schema,
    path: Vec<(u32, usize)>,
    found: Vec<Unknown>,
}

impl Walk {
    fn report(&mut self, what: String) {
        if self.found.len() < FOUND {
            self.found.push(Unknown { path: self.path.clone(), what });
        }
    }

    /// None: it cannot be read.
    fn message(&mut self, place: usize, mut bytes: &[u8]) -> Option<()> {
        let shape = self.schema.messages.get(place)?;
        let mut places: HashMap<u32, usize> = HashMap::new();
        while !bytes.is_empty() {
            let (number, wire) = prost::encoding::decode_key(&mut bytes).ok()?;
            let (value, content) = value(wire, &mut bytes)?;
            match shape.fields.get(&number) {
                None if number >= HARMLESS || shape.reserved.iter().any(|range| range.contains(&number)) => {}
                None => self.report(format!("{}: field {number}", shape.name)),
                Some(Field::Plain) => {}
                Some(Field::Message(inner)) if wire == WireType::LengthDelimited => {
                    let nth = places.entry(number).or_default();
                    self.path.push((number, *nth));
                    *nth = nth.saturating_add(1);
                    if self.path.len() > DEPTH {
                        return None;
                    }
                    self.message(*inner, content)?;
                    self.path.pop();
                }
                Some(Field::Message(_)) => return None,
                Some(Field::Enum { name, of }) => self.values(&shape.name, name, of, value, content)?,
            }
        }
        Some(())
    }

    /// One value of an enum, or several that are packed.
    fn values(&mut self, message: &str, field: &str, of: &str, value: Option<u64>, mut packed: &[u8]) -> Option<()> {
        let mut check = |value: u64| {
            // An enum is an i32 on the wire, extended by its sign (protobuf encoding guide).
            let value = value as i32;
            if !self.schema.values.get(of).is_some_and(|known| known.contains(&value)) {
                self.report(format!("{message}.{field}: value {value}"));
            }
        };
        value.into_iter().for_each(&mut check);
        while !packed.is_empty() {
            check(prost::encoding::decode_varint(&mut packed).ok()?);
        }
        Some(())
    }
}

/// Takes a value: its number, or its content.
fn value<'a>(wire: WireType, bytes: &mut &'a [u8]) -> Option<(Option<u64>, &'a [u8])> {
    let length = match wire {
        WireType::Varint => return Some((Some(prost::encoding::decode_varint(bytes).ok()?), &[])),
        WireType::ThirtyTwoBit => 4,
        WireType::SixtyFourBit => 8,
        WireType::LengthDelimited => usize::try_from(prost::encoding::decode_varint(bytes).ok()?).ok()?,
        // Groups are of no schema here, and how long one is only its content says.
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    let (content, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some((None, content))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use prost::encoding::{encode_key, encode_varint};

    use super::*;
    use crate::{
        agent::v1::{ControllerMessage, Hello, NetworkView, Update, controller_message::Message},
        v1::{Direction, Network, Rule, SecurityGroup},
    };

    /// The bytes of a message, and a field more.
    fn with(message: &impl prost::Message, number: u32) -> Vec<u8> {
        let mut bytes = message.encode_to_vec();
        encode_key(number, WireType::Varint, &mut bytes);
        encode_varint(7, &mut bytes);
        bytes
    }

    /// The bytes of a message in a field of another.
    fn within(number: u32, bytes: &[u8]) -> Vec<u8> {
        let mut whole = Vec::new();
        encode_key(number, WireType::LengthDelimited, &mut whole);
        encode_varint(bytes.len() as u64, &mut whole);
        whole.extend(bytes);
        whole
    }

    fn view() -> NetworkView {
        let rule = Rule { direction: Direction::Ingress.into(), ..Rule::default() };
        let group = SecurityGroup { name: "g".to_owned(), rules: vec![rule.clone(), rule], ..SecurityGroup::default() };
        let network =
            Network { name: "n".to_owned(), labels: [("a".to_owned(), "b".to_owned())].into(), ..Network::default() };
        NetworkView { network: Some(network), security_groups: vec![group], ..NetworkView::default() }
    }

    #[test]
    fn what_is_known_is_not_found() {
        let update = Update { snapshots: vec![view()], revision: 5, ..Update::default() };
        assert!(find::<Update>(&update.encode_to_vec()).is_empty());
        let message = ControllerMessage { message: Some(Message::Update(update)) };
        assert!(find::<ControllerMessage>(&message.encode_to_vec()).is_empty());
    }

    #[test]
    fn an_unknown_field_is_found_wherever_it_is_and_its_number_says_whether_it_matters() {
        let rule = |number| with(&Rule::default(), number);
        let nested = |number| {
            let group = [
                SecurityGroup::default().encode_to_vec(),
                within(1_001, b"x"),
                within(2, &[]),
                within(2, &rule(number)),
            ];
            within(4, &group.concat())
        };
        let found = find::<NetworkView>(&[view().encode_to_vec(), nested(999)].concat());
        let path = vec![(4, 1), (2, 1)];
        assert_eq!(found, [Unknown { path, what: "andromede.v1.Rule: field 999".to_owned() }]);
        assert!(find::<NetworkView>(&nested(HARMLESS)).is_empty());
        assert_eq!(find::<ControllerMessage>(&within(90, b"x")).len(), 1, "a message of a newer controller");
        // What an older program may still say.
        assert!(find::<Hello>(&within(4, b"\n\x04flow\x10\x01")).is_empty());
    }

    #[test]
    fn a_value_that_is_not_known_is_found() {
        let rule = Rule { direction: 9, ..Rule::default() };
        let found = find::<Rule>(&rule.encode_to_vec());
        assert_eq!(found.first().map(|it| it.what.as_str()), Some("andromede.v1.Rule.direction: value 9"));
        let rule = Rule { direction: -1, ..Rule::default() };
        assert_eq!(find::<Rule>(&rule.encode_to_vec()).len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_do_harm(bytes: Vec<u8>) {
            proptest::prop_assert!(find::<ControllerMessage>(&bytes).len() <= FOUND);
            // What a decoder takes whole is walked whole.
            let message = [view().encode_to_vec(), bytes].concat();
            if let Ok(decoded) = NetworkView::decode(message.as_slice()) {
                proptest::prop_assert!(!find::<NetworkView>(&message).is_empty() || decoded.encoded_len() <= message.len());
            }
        }
    }
}
