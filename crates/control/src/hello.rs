//! How a data plane introduces itself, in words.

use api::discovery::v1;

/// A data plane, for people: `sidecar spring-cloud-a gray at 10.0.0.7:15006`, `gateway edge`.
pub(crate) fn shown(hello: &v1::Hello) -> String {
    let mut shown = format!("{} {}", role(hello), hello.name);
    if hello.role() == v1::Role::Sidecar {
        let tag = if hello.tag.is_empty() { "base" } else { &hello.tag };
        shown.push_str(&format!(" {tag}"));
    }
    if !hello.address.is_empty() {
        shown.push_str(&format!(" at {}", hello.address));
    }
    shown
}

/// A data plane's role in a word.
pub(crate) fn role(hello: &v1::Hello) -> &'static str {
    match hello.role() {
        v1::Role::Gateway => "gateway",
        v1::Role::Sidecar => "sidecar",
        v1::Role::Agent => "agent",
        v1::Role::Unspecified => "unknown",
    }
}
