//! What a picture makes of messages: what it takes, what it refuses, what it shares.

use lanes::{AddressLookup, Lookup};
use testkit::Call;

#[path = "../../tests/it/messages.rs"]
mod messages;

use messages::resource;

use super::*;

fn message(
    number: u64,
    upserts: impl IntoIterator<Item = v1::Resource>,
    removals: &[&str],
) -> EncodedControlMessage {
    EncodedControlMessage {
        generation: Some(v1::Generation { epoch: "e".into(), number }),
        upserts: upserts.into_iter().map(|it| it.encode_to_vec().into()).collect(),
        removals: removals.iter().map(|key| (*key).to_owned()).collect(),
        synced: true,
        digest: None,
        traffic_every_ms: 0,
        taps: None,
    }
}

#[test]
fn a_digest_is_told_whole_and_then_changed() {
    let query = Query::Name("sc-b".to_owned());
    let hash = lanes::directory::digest::of_name("sc-b");
    let mut picture = Picture::new(Reader::Sidecar { application: "a".to_owned() });
    let mut told = |whole, added: &[u64], removed: &[u64]| {
        let digest = v1::Digest { whole, added: added.to_vec(), removed: removed.to_vec() };
        picture.apply(EncodedControlMessage { digest: Some(digest), ..message(1, [], &[]) });
        picture.is_absent(&query)
    };
    assert!(!told(false, &[7], &[]), "what was never told whole says nothing of the rest");
    assert!(told(true, &[7], &[]));
    assert!(!told(false, &[hash], &[7]));
    assert!(told(false, &[], &[hash]));
}

#[test]
fn what_fills_an_empty_picture_stays_where_it_lies_and_what_changes_later_is_copied() {
    let mut picture = Picture::new(Reader::Sidecar { application: "a".to_owned() });
    let mut kept_of = |resources: Vec<v1::Resource>| {
        let message = message(1, resources, &[]);
        let came: Vec<*const u8> = message.upserts.iter().map(|it| it.as_ptr()).collect();
        assert!(picture.apply(message).is_empty());
        picture.encoded().filter(|kept| came.contains(&kept.as_ptr())).count()
    };
    assert_eq!(kept_of(vec![service("sc-a", "10.0.0.1:1"), service("sc-b", "10.0.0.2:1")]), 2);
    assert_eq!(kept_of(vec![service("sc-c", "10.0.0.3:1")]), 0);
}

fn id(name: &str) -> v1::ServiceId {
    wire::service_id_to(&lanes::ServiceId::new("embedded", "default", "", name))
}

fn service(name: &str, address: &str) -> v1::Resource {
    let id = id(name);
    let endpoints = vec![v1::Endpoint {
        address: address.to_owned(),
        weight: 1,
        health: v1::Health::Usable.into(),
        ..Default::default()
    }];
    let application = format!("app-{name}");
    let service = v1::Service { id: Some(id), name: name.to_owned(), application, endpoints };
    resource(&format!("service/embedded/default//{name}"), 1, Body::Service(service))
}

fn group(name: &str, version: u64, regex: &str) -> v1::Resource {
    messages::group(name, version, regex, Vec::new())
}

fn gateway() -> v1::Resource {
    let listener = v1::Listener { name: "http".into(), port: 8000, ..Default::default() };
    let gateway =
        v1::Gateway { name: "edge".into(), listeners: vec![listener], ..Default::default() };
    resource("gateway/edge", 1, Body::Gateway(gateway))
}

fn route(name: &str, version: u64, kind: v1::TextMatch, path: &str) -> v1::Resource {
    let matching =
        v1::RouteMatch { path_kind: kind.into(), path: path.to_owned(), ..Default::default() };
    let backend = v1::RouteBackend { service: Some(id("sc-a")), weight: 1, ..Default::default() };
    let rule = v1::Rule { matches: vec![matching], backends: vec![backend], ..Default::default() };
    let parent = v1::ParentRef { gateway: "edge".into(), ..Default::default() };
    let route = v1::Route {
        namespace: "default".into(),
        name: name.to_owned(),
        parents: vec![parent],
        rules: vec![rule],
        ..Default::default()
    };
    resource(&format!("route/default/{name}"), version, Body::Route(route))
}

fn sidecar_of(application: &str) -> Reader {
    Reader::Sidecar { application: application.to_owned() }
}

fn keys(refused: &[v1::Refused]) -> Vec<&str> {
    refused.iter().map(|refused| refused.key.as_str()).collect()
}

fn version_of(picture: &Picture, key: &str) -> Option<u64> {
    picture.held().into_iter().find(|held| held.key == key).map(|held| held.version)
}

fn goes_to(picture: &Picture, path: &str) -> Option<String> {
    let published = picture.published();
    let call = Call { host: "edge".to_owned(), path: path.to_owned(), ..Call::default() };
    let listener = published.routes.listener(8000, &call.host)?;
    match published.routes.find(listener, &call) {
        routes::Found::Rule { rule, .. } => Some(rule.route_name.clone()),
        _ => None,
    }
}

#[test]
fn upserts_and_removals_of_every_kind_show_in_the_picture() {
    let mut picture = Picture::new(sidecar_of("app-a"));
    let name =
        v1::NameAnswer { name: "sc-a".into(), service: Some(id("sc-a")), ambiguous: Vec::new() };
    let address = v1::AddressAnswer { address: "10.0.0.9:80".into(), services: vec![id("sc-a")] };
    let refused = picture.apply(message(
        1,
        [
            service("sc-a", "10.0.0.1:80"),
            group("trade", 1, "gr.*"),
            gateway(),
            route("a", 1, v1::TextMatch::Prefix, "/a"),
            resource("name/sc-a", 1, Body::Name(name)),
            resource("address/10.0.0.9:80", 1, Body::Address(address)),
        ],
        &[],
    ));
    assert_eq!(keys(&refused), [""; 0]);
    let published = picture.published();
    assert_eq!(picture.generation(), &v1::Generation { epoch: "e".into(), number: 1 });
    assert_eq!(published.lanes.groups().len(), 1);
    assert!(matches!(published.lanes.directory().by_name("SC-A"), Lookup::Known(_)));
    let address = "10.0.0.9:80".parse().unwrap();
    assert!(matches!(published.lanes.directory().by_address(address), AddressLookup::Known(_)));
    assert_eq!(goes_to(&picture, "/a/b"), Some("a".to_owned()));

    let all = [
        "service/embedded/default//sc-a",
        "group/trade",
        "gateway/edge",
        "route/default/a",
        "name/sc-a",
        "address/10.0.0.9:80",
    ];
    picture.apply(message(2, [], &all));
    assert_eq!(picture.resources(), 0);
    let published = picture.published();
    assert_eq!(published.lanes.groups().len(), 0);
    assert!(matches!(published.lanes.directory().by_name("sc-a"), Lookup::Unsubscribed));
    assert!(matches!(published.lanes.directory().by_address(address), AddressLookup::Unsubscribed));
    assert_eq!(goes_to(&picture, "/a/b"), None);
}

#[test]
fn what_does_not_change_is_shared() {
    let mut picture = Picture::new(Reader::Gateway);
    picture.apply(message(1, [group("trade", 1, "a"), group("other", 1, "a")], &[]));
    let before = picture.published();
    picture.apply(message(2, [group("trade", 2, "b"), service("sc-a", "10.0.0.1:80")], &[]));
    let after = picture.published();
    // Sorted by name: `other`, `trade`.
    assert!(Arc::ptr_eq(&before.lanes.groups()[0], &after.lanes.groups()[0]));
    assert!(!Arc::ptr_eq(&before.lanes.groups()[1], &after.lanes.groups()[1]));
    assert!(Arc::ptr_eq(&before.routes, &after.routes));
}

#[test]
fn conditions_are_kept_where_somebody_is_let_in() {
    let mut group = group("trade", 1, "gr.*");
    if let Some(Body::Group(group)) = &mut group.body {
        let entrance = v1::ApplicationEntrance { name: "app-a".into(), edge: false };
        let at = v1::entrance::At::Application(entrance);
        group.entrances.push(v1::Entrance { at: Some(at) });
    }
    for (reader, kept) in
        [(Reader::Gateway, true), (sidecar_of("app-a"), true), (sidecar_of("app-b"), false)]
    {
        let mut picture = Picture::new(reader);
        assert_eq!(keys(&picture.apply(message(1, [group.clone()], &[]))), [""; 0]);
        let published = picture.published();
        let lane = &published.lanes.groups()[0].spec().lanes[0];
        assert_eq!(matches!(lane.entry, Entry::Content { .. }), kept);
        assert_eq!((lane.tag.as_str(), lane.enabled, lane.admitting), ("gray", true, true));
    }
}

#[test]
fn a_bad_group_is_refused_and_its_last_good_form_stays() {
    let mut picture = Picture::new(Reader::Gateway);
    picture.apply(message(1, [group("trade", 1, "gr.*")], &[]));
    let refused = picture.apply(message(2, [group("trade", 2, "("), group("new", 1, "(")], &[]));
    assert_eq!(keys(&refused), ["group/trade", "group/new"]);
    assert!(refused[0].reason.contains('('), "{refused:?}");
    assert_eq!(picture.published().lanes.groups().len(), 1);
    assert_eq!(version_of(&picture, "group/trade"), Some(1), "what is held is the last good");
    assert_eq!(version_of(&picture, "group/new"), None);
    // The rest of the message counts.
    assert_eq!(picture.generation().number, 2);
}

#[test]
fn a_bad_route_is_refused_and_its_last_good_form_stays() {
    let mut picture = Picture::new(Reader::Gateway);
    picture.apply(message(1, [gateway(), route("a", 1, v1::TextMatch::Prefix, "/a")], &[]));
    let refused = picture.apply(message(
        2,
        [
            route("a", 2, v1::TextMatch::Regex, "("),
            route("b", 1, v1::TextMatch::Prefix, "/b"),
            route("c", 1, v1::TextMatch::Regex, "("),
        ],
        &[],
    ));
    let mut refused_keys = keys(&refused);
    refused_keys.sort_unstable();
    assert_eq!(refused_keys, ["route/default/a", "route/default/c"]);
    assert_eq!(goes_to(&picture, "/a"), Some("a".to_owned()));
    assert_eq!(goes_to(&picture, "/b"), Some("b".to_owned()));
    assert_eq!(version_of(&picture, "route/default/a"), Some(1));
    assert_eq!(version_of(&picture, "route/default/c"), None);
}

#[test]
fn a_kind_of_a_newer_release_is_refused_by_its_key() {
    let mut picture = Picture::new(Reader::Gateway);
    let unknown = v1::Resource { key: "policy/p".into(), version: 1, body: None };
    let refused = picture.apply(message(1, [unknown], &[]));
    assert_eq!(keys(&refused), ["policy/p"]);
    assert_eq!(picture.resources(), 0);
}

#[test]
fn a_resource_that_cannot_be_read_is_refused_and_the_others_count() {
    let mut picture = Picture::new(Reader::Gateway);
    let mut message = message(1, [gateway()], &[]);
    message.upserts.insert(0, vec![0xff].into());
    let refused = picture.apply(message);
    assert!(keys(&refused) == [""] && !refused[0].reason.is_empty(), "{refused:?}");
    assert_eq!(version_of(&picture, "gateway/edge"), Some(1));
}

#[test]
fn what_was_held_comes_back_from_its_encoded_form() {
    let mut picture = Picture::new(Reader::Gateway);
    picture.apply(message(1, [gateway(), route("a", 1, v1::TextMatch::Prefix, "/a")], &[]));
    let encoded: Vec<_> =
        picture.encoded().map(|bytes| v1::Resource::decode(bytes).unwrap()).collect();
    let mut again = Picture::new(Reader::Gateway);
    assert_eq!(keys(&again.apply(message(1, encoded, &[]))), [""; 0]);
    assert_eq!(goes_to(&again, "/a"), Some("a".to_owned()));
    assert_eq!(again.held(), picture.held());
}

#[test]
fn certificates_are_published_by_name_and_shared_until_one_changes() {
    let certificate = |version: u64, key: &[u8]| {
        let certificate = v1::Certificate {
            name: "default/shop".into(),
            private_key: key.to_vec(),
            ..Default::default()
        };
        resource("certificate/default/shop", version, Body::Certificate(certificate))
    };
    let key_of = |picture: &Picture| {
        let held = picture.published().certificates.get("default/shop")?.key.clone()?;
        Some(held.der().to_vec())
    };
    let mut picture = Picture::new(Reader::Gateway);
    assert_eq!(picture.apply(message(1, [gateway(), certificate(1, b"one")], &[])), []);
    assert_eq!(key_of(&picture).as_deref(), Some(&b"one"[..]));
    let before = picture.published();
    picture.apply(message(2, [route("a", 1, v1::TextMatch::Prefix, "/a")], &[]));
    assert!(Arc::ptr_eq(&before.certificates, &picture.published().certificates));
    picture.apply(message(3, [certificate(2, b"two")], &[]));
    assert_eq!(key_of(&picture).as_deref(), Some(&b"two"[..]));
    // A picture that somebody still decides on stays what it was, and nothing shows a key.
    assert_eq!(before.certificates["default/shop"].key.as_ref().unwrap().der(), b"one");
    let shown = format!("{picture:?}{:?}", picture.published());
    assert!(!shown.contains("two") && !shown.contains("116, 119, 111"), "{shown}");
    picture.apply(message(4, [], &["certificate/default/shop"]));
    assert_eq!(key_of(&picture), None);
}
