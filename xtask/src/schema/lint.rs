//! Rules that hold for every part of the schema: names as in protobuf's style guide, and a sentence for everything.

use super::{File, index, place};
use crate::tidy::Finding;

/// The package whose every part is documented: people write against it.
const DOCUMENTED: &str = "andromede.v1";

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let at = format!("proto/{}", file.proto.name());
        let mut report = |what: String| findings.push(Finding::new(at.as_str(), what));
        check_package(file, &mut report);
        check_messages(file, &mut report);
        check_enums(file, &mut report);
        check_services(file, &mut report);
    }
    findings
}

fn check_package(file: &File, report: &mut impl FnMut(String)) {
    let (name, package) = (file.proto.name(), file.proto.package());
    let folder = name.rsplit_once('/').map(|(folder, _)| folder.replace('/', "."));
    if folder.as_deref() != Some(package) {
        report(format!("the package {package} does not stand in its folder"));
    }
    let version = package.rsplit('.').next().and_then(|last| last.strip_prefix('v'));
    if version.is_none_or(|digits| digits.parse::<u32>().is_err()) {
        report(format!("the package {package} has no version"));
    }
}

/// Must it be documented, and is it not?
fn bare(file: &File, path: &[i32]) -> bool {
    file.proto.package() == DOCUMENTED && file.comment(path).is_empty()
}

fn check_messages(file: &File, report: &mut impl FnMut(String)) {
    for (name, path, message) in file.messages() {
        if !is_camel(message.name()) {
            report(format!("the message {name} is not written LikeThis"));
        }
        if bare(file, &path) {
            report(format!("the message {name} is not documented"));
        }
        for (number, field) in message.field.iter().enumerate() {
            if !is_snake(field.name()) {
                report(format!("the field {name}.{} is not written like_this", field.name()));
            }
            if bare(file, &[path.as_slice(), &[place::FIELD, index(number)]].concat()) {
                report(format!("the field {name}.{} is not documented", field.name()));
            }
        }
    }
}

fn check_enums(file: &File, report: &mut impl FnMut(String)) {
    for (name, path, found) in file.enums() {
        if bare(file, &path) {
            report(format!("the enum {name} is not documented"));
        }
        let prefix = format!("{}_", screaming(found.name()));
        for (number, value) in found.value.iter().enumerate() {
            if !value.name().starts_with(&prefix) {
                report(format!("the value {name}.{} does not begin with {prefix}", value.name()));
            }
            let unspecified = value.name() == format!("{prefix}UNSPECIFIED");
            if (value.number() == 0) != unspecified {
                report(format!("the value 0 of {name}, and no other, is {prefix}UNSPECIFIED"));
            }
            let path = [path.as_slice(), &[place::VALUE, index(number)]].concat();
            if !unspecified && bare(file, &path) {
                report(format!("the value {name}.{} is not documented", value.name()));
            }
        }
    }
}

fn check_services(file: &File, report: &mut impl FnMut(String)) {
    for (number, service) in file.proto.service.iter().enumerate() {
        let (name, path) = (service.name(), vec![place::SERVICE, index(number)]);
        if !name.ends_with("Service") {
            report(format!("the service {name} is not called SomethingService"));
        }
        if bare(file, &path) {
            report(format!("the service {name} is not documented"));
        }
        for (number, method) in service.method.iter().enumerate() {
            if !is_camel(method.name()) {
                report(format!("the method {name}.{} is not written LikeThis", method.name()));
            }
            if bare(file, &[path.as_slice(), &[place::METHOD, index(number)]].concat()) {
                report(format!("the method {name}.{} is not documented", method.name()));
            }
        }
    }
}

fn is_camel(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_snake(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(allowed) && !name.contains("__")
}

/// `FooBar` as `FOO_BAR`.
fn screaming(name: &str) -> String {
    let mut text = String::new();
    for (place, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && place > 0 {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let folder = std::env::temp_dir().join(format!("andromede-lint-{}-{:p}", std::process::id(), text));
        std::fs::create_dir_all(folder.join("andromede/v1")).unwrap();
        std::fs::write(folder.join("andromede/v1/x.proto"), text).unwrap();
        let set = protox::compile(["andromede/v1/x.proto"], [&folder]).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let files: Vec<File> = set.file.into_iter().map(File::new).collect();
        check(&files).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn names_and_sentences_are_asked_for() {
        let sound = "syntax = \"proto3\"; package andromede.v1;\n// M.\nmessage M {\n // F.\n string a_b = 1; }\n\
            // E.\nenum Some {\n SOME_UNSPECIFIED = 0;\n // One.\n SOME_ONE = 1; }\n\
            // S.\nservice MService {\n // D.\n rpc Do(M) returns (M); }\n";
        assert_eq!(findings(sound), Vec::<String>::new());
        let wrong = "syntax = \"proto3\"; package andromede.v2;\nmessage m { string aB = 1; }\n\
            enum E { OTHER = 0; }\nservice S { rpc do(m) returns (m); }";
        assert_eq!(findings(wrong).len(), 7, "{:#?}", findings(wrong));
        let bare = sound.replace("// ", "//\n// ").replace("// F.", "").replace("// One.", "").replace("// D.", "");
        assert_eq!(findings(&bare).len(), 3, "{:#?}", findings(&bare));
    }
}
