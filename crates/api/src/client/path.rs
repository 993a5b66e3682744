//! Where objects are in the REST API.

use crate::{
    resource::{Key, Kind},
    rest::PREFIX,
};

/// The path of a kind's objects, in one namespace or in all.
pub(super) fn of_kind(kind: Kind, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("{PREFIX}/namespaces/{}/{}", segment(namespace), kind.plural()),
        None => format!("{PREFIX}/{}", kind.plural()),
    }
}

/// The path of one object.
pub(super) fn of_object(key: &Key) -> String {
    format!("{}/{}", of_kind(key.kind, Some(&key.namespace)), segment(&key.name))
}

/// The path of tokens of applications, or of one.
pub(super) fn of_token(id: Option<&str>) -> String {
    under("tokens", id)
}

/// The path of what is in a collection of the installation, or of one of them.
pub(super) fn under(collection: &str, id: Option<&str>) -> String {
    match id {
        Some(id) => format!("{PREFIX}/{collection}/{}", segment(id)),
        None => format!("{PREFIX}/{collection}"),
    }
}

/// The path of the promotion of a lane, by the lane's object, and of what is asked of it.
pub(super) fn of_promotion(lane: &Key, then: &str) -> String {
    format!("{PREFIX}/promotions/{}/{}{then}", segment(&lane.namespace), segment(&lane.name))
}

/// A note as its field is written.
pub(super) fn note(note: &str) -> String {
    percent_encoding::utf8_percent_encode(note, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A name as a segment of a path: good ones as they are, others so that they stay one segment and are not found.
fn segment(name: &str) -> String {
    // What `utf8_percent_encode` leaves alone besides letters and digits can be in a good name.
    const KEPT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');
    percent_encoding::utf8_percent_encode(name, KEPT).to_string()
}
