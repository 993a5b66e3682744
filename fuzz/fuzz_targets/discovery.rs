//! Discovery messages, as bytes from a control plane: understood without loss or refused, and never a panic.
#![no_main]

use api::{
    convert::wire,
    discovery::{
        EncodedControlMessage,
        v1::{Resource, resource::Body},
    },
};
use bytes::Bytes;
use discovery::picture::{Picture, Reader};
use prost::Message as _;

/// What is understood says the same when it is told on.
fn check_told_on(body: Body) {
    match body {
        Body::Group(group) => {
            let Ok(spec) = wire::group_from(group) else { return };
            assert_eq!(wire::group_from(wire::group_to(&spec)).as_ref(), Ok(&spec));
        }
        Body::Gateway(gateway) => {
            let Ok(spec) = wire::gateway_from(gateway) else { return };
            assert_eq!(wire::gateway_from(wire::gateway_to(&spec)).as_ref(), Ok(&spec));
        }
        Body::Route(route) => {
            let Ok(spec) = wire::route_from(route) else { return };
            assert_eq!(wire::route_from(wire::route_to(&spec)).as_ref(), Ok(&spec));
        }
        Body::Service(service) => {
            let Ok(service) = wire::service_from(service) else { return };
            let told = wire::service_to(&service);
            let again = wire::service_from(told.clone()).expect("told by ourselves");
            assert_eq!(wire::service_to(&again), told);
        }
        Body::Certificate(certificate) => {
            let (name, certificate) = wire::certificate_from(certificate);
            let told = wire::certificate_to(&name, &certificate);
            assert!(wire::certificate_from(told) == (name, certificate));
        }
        Body::Name(_) | Body::Address(_) => {}
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = EncodedControlMessage::decode(Bytes::copy_from_slice(bytes)) else { return };
    for encoded in &message.upserts {
        if let Some(body) = Resource::decode(&**encoded).ok().and_then(|resource| resource.body) {
            check_told_on(body);
        }
    }
    for reader in [Reader::Gateway, Reader::Sidecar { application: "a".to_owned() }] {
        let mut picture = Picture::new(reader.clone());
        let refused = picture.apply(message.clone());
        let held = picture.held();
        let published = picture.published();
        // Told twice it is no other picture.
        let again = picture.apply(message.clone());
        assert_eq!(picture.held(), held);
        assert_eq!(again.len(), refused.len());
        assert_eq!(picture.published().lanes.groups().len(), published.lanes.groups().len());
        // What is kept on the disk is taken again, whole.
        let upserts = picture.encoded().map(Bytes::copy_from_slice).collect();
        let kept = EncodedControlMessage { upserts, ..EncodedControlMessage::default() };
        let mut restarted = Picture::new(reader);
        if refused.is_empty() {
            assert_eq!(restarted.apply(kept), []);
            assert_eq!(restarted.held(), held);
        }
    }
});
