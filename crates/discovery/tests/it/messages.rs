//! Resources as a control plane tells them, for the tests of the picture too.

use api::discovery::v1::{self, resource::Body};

pub(crate) fn resource(key: &str, version: u64, body: Body) -> v1::Resource {
    v1::Resource { key: key.to_owned(), version, body: Some(body) }
}

/// A group of one lane, entered by a header that fits `regex`.
pub(crate) fn group(
    name: &str,
    version: u64,
    regex: &str,
    entrances: Vec<v1::Entrance>,
) -> v1::Resource {
    let condition = v1::Condition {
        parameter: Some(v1::Parameter {
            parameter: Some(v1::parameter::Parameter::Header("canary".into())),
        }),
        operator: Some(v1::condition::Operator::Regex(regex.into())),
    };
    let content = v1::Content { meet_any: false, conditions: vec![condition] };
    let lane = v1::Lane {
        tag: "gray".into(),
        enabled: true,
        admitting: true,
        paused: false,
        entry: Some(v1::lane::Entry::Content(content)),
        ..Default::default()
    };
    let group =
        v1::Group { name: name.to_owned(), entrances, lanes: vec![lane], ..Default::default() };
    resource(&format!("group/{name}"), version, Body::Group(group))
}
