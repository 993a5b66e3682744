//! The discovery protocol: generated from `proto/discovery.proto` by `cargo xtask codegen`.

use bytes::Bytes;

#[allow(
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::too_many_lines,
    reason = "generated; its documentation is the .proto file"
)]
pub mod v1 {
    include!("generated/laneway.discovery.v1.rs");
    include!("generated/calls/laneway.discovery.v1.rs");
}

/// A [`v1::ControlMessage`] as it is sent and received: its resources are encoded once, for all who get them, and
/// decoded one by one. On the wire both are the same, because a message within a message is its bytes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EncodedControlMessage {
    /// See [`v1::ControlMessage`].
    #[prost(message, optional, tag = "1")]
    pub generation: Option<v1::Generation>,
    /// Each a [`v1::Resource`].
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub upserts: Vec<Bytes>,
    /// Keys.
    #[prost(string, repeated, tag = "3")]
    pub removals: Vec<String>,
    /// See [`v1::ControlMessage`].
    #[prost(bool, tag = "4")]
    pub synced: bool,
    /// See [`v1::ControlMessage`].
    #[prost(message, optional, tag = "5")]
    pub digest: Option<v1::Digest>,
    /// See [`v1::ControlMessage`].
    #[prost(uint32, tag = "6")]
    pub traffic_every_ms: u32,
    /// See [`v1::ControlMessage`].
    #[prost(message, optional, tag = "7")]
    pub taps: Option<v1::Taps>,
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn a_message_of_encoded_resources_is_the_message_of_those_resources() {
        let resource = |key: &str| v1::Resource { key: key.to_owned(), version: 7, body: None };
        let message = v1::ControlMessage {
            generation: Some(v1::Generation { epoch: "epoch".to_owned(), number: 3 }),
            upserts: vec![resource("group/a"), resource("")],
            removals: vec!["group/b".to_owned()],
            synced: true,
            digest: Some(v1::Digest { whole: true, added: vec![7], removed: vec![8] }),
            traffic_every_ms: 9,
            taps: Some(v1::Taps { taps: Vec::new(), lease_ms: 10, per_second_max: 11 }),
        };
        let encoded = EncodedControlMessage {
            generation: message.generation.clone(),
            upserts: message.upserts.iter().map(|it| it.encode_to_vec().into()).collect(),
            removals: message.removals.clone(),
            synced: true,
            digest: message.digest.clone(),
            traffic_every_ms: 9,
            taps: message.taps.clone(),
        };
        assert_eq!(encoded.encode_to_vec(), message.encode_to_vec());
    }
}
