//! The target `bundle`: any text as a stream of YAML documents, read as `andromedectl apply -f` does and converted as the controller does.

use std::collections::BTreeSet;

use andromede_model::Resource;
use andromede_proto::{convert, document, v1};
use serde::Deserialize as _;

/// Reads documents, as far as they can be told apart, and converts each resource. What was read says the same when it is written and read
/// again; what was converted says the same when it is told and converted again. The kinds of resources that were converted come back.
///
/// # Panics
/// A promise is broken.
pub fn bundle(data: &[u8]) -> BTreeSet<String> {
    let Ok(text) = std::str::from_utf8(data) else { return BTreeSet::new() };
    let mut kinds = BTreeSet::new();
    for document in serde_norway::Deserializer::from_str(text) {
        let Ok(value) = serde_norway::Value::deserialize(document) else { break };
        // A key that is no text has no place in JSON.
        let Ok(value) = serde_json::to_value(value) else { continue };
        let Ok(resource) = document::read(&value) else { continue };
        let Ok(mut written) = document::write(&resource) else { panic!("it cannot be written: {resource:?}") };
        if !resource.etag().is_empty() {
            // A condition is not written, but by whoever asks for one.
            written["etag"] = resource.etag().into();
        }
        assert_eq!(
            document::read(&written).as_ref(),
            Ok(&resource),
            "it says something else once it was written: {written}"
        );
        if let Some(converted) = converted(resource) {
            let again = self::converted(v1::Resource::from(converted.clone()));
            assert_eq!(again.as_ref(), Some(&converted), "it says something else once it was told");
            kinds.extend(written.get("kind").and_then(|kind| kind.as_str()).map(str::to_owned));
        }
    }
    kinds
}

fn converted(message: v1::Resource) -> Option<Resource> {
    convert::resources(vec![message]).ok()?.pop()
}
