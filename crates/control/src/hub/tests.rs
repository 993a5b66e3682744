//! Distribution with time as an argument: what is told to whom, and when.

use std::collections::BTreeMap;

use api::resource::{CreationOrder, Object};
use lanes::{
    Endpoint, Service, Tag,
    service::{Health, Port},
};
use prost::Message as _;
use serde_json::{Value, json};

use super::*;
use crate::{
    distribute::Live,
    objects::default_gateway,
    picture::{DEPARTED_ADDRESS_KEPT, SOURCE_SYNC_WAIT},
    store::{Revision, StoredObject},
};

mod incremental;
mod scale;
mod simulated;

/// A hub, data planes that take everything at once, and a clock.
struct World {
    hub: Hub,
    objects: Objects,
    now: Instant,
    written: u64,
}

struct Peer {
    node: String,
    connection: Connection,
    held: BTreeMap<String, v1::Resource>,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let objects = Objects::new(default_gateway(8000), []);
        let mut hub = Hub::new(Arc::new(objects.clone()), "epoch".to_owned(), 1, now);
        hub.add_source("embedded");
        Self { hub, objects, now, written: 0 }
    }

    /// How far a group, as it is now, has got.
    fn live(&self, group: &str) -> Live {
        let version = self.hub.picture.groups.wire(group).unwrap().version;
        self.hub.distribution.live(&ResourceKey::Group(group.into()), version)
    }

    /// Synced, with one service per letter: `a` is `sc-a` of `app-a`.
    fn with_services(letters: &[&str]) -> Self {
        let mut world = Self::new();
        for letter in letters {
            world.serve(letter, &["127.0.0.1:1"]);
        }
        world.hub.source_stands("embedded", Standing::Synced, world.now);
        world
    }

    fn serve(&mut self, letter: &str, addresses: &[&str]) {
        let service = service("embedded", letter, addresses);
        let change = (service.id().clone(), Some(Arc::new(service)));
        self.hub.update_services("embedded", vec![change], self.now);
    }

    /// The source `fixed` has `sc-b` too.
    fn serve_fixed(&mut self) {
        let service = service("fixed", "b", &["127.0.0.1:2"]);
        let change = (service.id().clone(), Some(Arc::new(service)));
        self.hub.update_services("fixed", vec![change], self.now);
        self.hub.source_stands("fixed", Standing::Synced, self.now);
    }

    fn write(&mut self, old: Option<&Value>, new: Option<&Value>) {
        let change = self.change(old, new);
        self.apply(change);
    }

    fn change(&mut self, old: Option<&Value>, new: Option<&Value>) -> ObjectChange {
        let stored = |value: &Value, written: u64| {
            let object = Object::from_value(value.clone()).unwrap();
            let revision = Revision::parse(&written.to_string()).unwrap();
            Arc::new(StoredObject {
                object: Arc::new(object),
                revision,
                created: CreationOrder(written),
                said: None,
            })
        };
        self.written += 1;
        let (old, new) =
            (old.map(|value| stored(value, 1)), new.map(|value| stored(value, self.written)));
        let key = old.as_ref().or(new.as_ref()).unwrap().object.key();
        let revision = Revision::parse(&self.written.to_string()).unwrap();
        ObjectChange { key, revision, old, new }
    }

    fn apply(&mut self, change: ObjectChange) {
        let objects = self.objects_after(&change);
        self.hub.apply_objects(&[change], objects, self.now);
    }

    fn objects_after(&mut self, change: &ObjectChange) -> Arc<Objects> {
        match &change.new {
            Some(new) => self.objects.put(Arc::clone(new)),
            None => self.objects.remove(&change.key),
        }
        Arc::new(self.objects.clone())
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.hub.advance(self.now);
        self.hub.assert_kept_up(&self.objects);
    }

    fn connect(&mut self, role: v1::Role, name: &str, node: &str, held: Vec<v1::Held>) -> Peer {
        let hello = v1::Hello {
            node: node.to_owned(),
            role: role.into(),
            name: name.to_owned(),
            held,
            correlation_headers: vec![format!("x-{node}")],
            ..v1::Hello::default()
        };
        let connection = self.hub.connect(hello, Way::Private, Arc::default(), self.now).unwrap();
        Peer { node: node.to_owned(), connection, held: BTreeMap::new() }
    }

    fn gateway(&mut self) -> Peer {
        self.connect(v1::Role::Gateway, "edge", "gateway", Vec::new())
    }

    fn sidecar(&mut self, letter: &str) -> Peer {
        self.connect(v1::Role::Sidecar, &format!("app-{letter}"), letter, Vec::new())
    }

    fn say(&mut self, peer: &Peer, message: Message) -> bool {
        self.hub.receive(&peer.node, peer.connection, message, self.now)
    }

    fn subscribe(&mut self, peer: &Peer, names: &[&str], addresses: &[&str]) {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        let message = v1::Subscribe {
            names: texts(names),
            addresses: texts(addresses),
            ..v1::Subscribe::default()
        };
        assert!(self.say(peer, Message::Subscribe(message)));
    }

    /// The next message for a peer, taken but not acknowledged.
    fn receive(&mut self, peer: &mut Peer) -> Option<v1::ControlMessage> {
        let told = self.hub.next_message(&peer.node, peer.connection)?;
        let encoded = told.message("epoch").encode_to_vec();
        let message = v1::ControlMessage::decode(&*encoded).unwrap();
        for resource in &message.upserts {
            peer.held.insert(resource.key.clone(), resource.clone());
        }
        for key in &message.removals {
            assert!(peer.held.remove(key).is_some(), "{key} is removed, but was never sent");
        }
        Some(message)
    }

    fn acknowledge(&mut self, peer: &Peer, message: &v1::ControlMessage, refused: &[(&str, &str)]) {
        let refused = refused
            .iter()
            .map(|(key, reason)| v1::Refused {
                key: (*key).to_owned(),
                reason: (*reason).to_owned(),
            })
            .collect();
        let ack = v1::Ack { generation: message.generation.clone(), refused };
        assert!(self.say(peer, Message::Ack(ack)));
    }

    /// Keys the peer is sent now; acknowledged.
    fn sync(&mut self, peer: &mut Peer) -> Vec<String> {
        let Some(message) = self.receive(peer) else { return Vec::new() };
        self.acknowledge(peer, &message, &[]);
        let sent = message.upserts.iter().map(|resource| resource.key.clone());
        sent.chain(message.removals.iter().map(|key| format!("-{key}"))).collect()
    }

    fn name_answer(&mut self, peer: &Peer, name: &str) -> Option<(String, Vec<String>)> {
        match peer.held.get(&format!("name/{name}"))?.body.as_ref()? {
            v1::resource::Body::Name(answer) => {
                let service = answer.service.clone().map(in_words).unwrap_or_default();
                Some((service, answer.ambiguous.clone()))
            }
            _ => None,
        }
    }
}

impl Peer {
    fn admitting(&self) -> Option<bool> {
        match self.held.get("group/trade")?.body.as_ref()? {
            v1::resource::Body::Group(group) => Some(group.lanes.first()?.admitting),
            _ => None,
        }
    }

    fn addressed(&self, address: &str) -> Vec<String> {
        match self.held.get(&format!("address/{address}")).and_then(|it| it.body.as_ref()) {
            Some(v1::resource::Body::Address(answer)) => {
                answer.services.iter().cloned().map(in_words).collect()
            }
            _ => Vec::new(),
        }
    }

    fn held_versions(&self) -> Vec<v1::Held> {
        let held = |(key, resource): (&String, &v1::Resource)| v1::Held {
            key: key.clone(),
            version: resource.version,
            service: match &resource.body {
                Some(v1::resource::Body::Service(service)) => service.id.clone(),
                _ => None,
            },
        };
        self.held.iter().map(held).collect()
    }
}

fn in_words(id: v1::ServiceId) -> String {
    api::convert::wire::service_id_from(id).to_string()
}

fn endpoint(address: &str) -> Endpoint {
    Endpoint {
        address: address.parse().unwrap(),
        application_address: None,
        further: None,
        tag: Tag::parse("").unwrap(),
        weight: 1,
        health: Health::Usable,
        port: Port::default(),
    }
}

fn service(source: &str, letter: &str, addresses: &[&str]) -> Service {
    let name = format!("sc-{letter}");
    let id = ServiceId::new(source, "default", "", &name);
    let application = format!("app-{letter}");
    Service::new(id, &name, &application, addresses.iter().map(|it| endpoint(it)).collect())
}

fn group(applications: &[&str]) -> Value {
    json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "LaneGroup", "metadata": {"name": "trade"},
        "spec": {"entrances": [{"gateway": "edge"}], "applications": applications},
    })
}

fn lane(enabled: bool) -> Value {
    json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "Lane", "metadata": {"name": "gray"},
        "spec": {"group": "trade", "enabled": enabled, "entry": {"ratio": {"percent": 30}}},
    })
}

fn fixed() -> Value {
    json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "ServiceSource", "metadata": {"name": "fixed"},
        "spec": {"static": {"services": []}},
    })
}

fn backend(source: &str) -> Value {
    json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "Backend", "metadata": {"name": "b"},
        "spec": {"source": source, "service": "sc-b"},
    })
}

#[test]
fn a_new_lane_admits_when_every_data_plane_behind_its_entrances_has_it() {
    let mut world = World::with_services(&["a"]);
    world.write(None, Some(&group(&["app-a"])));
    let (mut gateway, mut sidecar) = (world.gateway(), world.sidecar("a"));
    world.sync(&mut gateway);
    world.sync(&mut sidecar);

    world.write(None, Some(&lane(true)));
    world.pass(Duration::from_millis(10));
    world.sync(&mut gateway);
    let told = world.receive(&mut sidecar).unwrap();
    world.pass(Duration::from_millis(10));
    assert_eq!(gateway.admitting(), Some(false));
    assert_eq!(world.receive(&mut gateway), None, "the sidecar has not confirmed");

    world.acknowledge(&sidecar, &told, &[]);
    world.pass(Duration::from_millis(10));
    world.sync(&mut gateway);
    assert_eq!(gateway.admitting(), Some(true));
    world.sync(&mut sidecar);
    assert_eq!(sidecar.admitting(), Some(true));
}

#[test]
fn a_data_plane_that_does_not_answer_holds_a_lane_back_for_half_a_second_at_most() {
    let mut world = World::with_services(&["a"]);
    world.write(None, Some(&group(&["app-a"])));
    let (mut gateway, mut silent) = (world.gateway(), world.sidecar("a"));
    world.sync(&mut gateway);
    world.receive(&mut silent);
    world.write(None, Some(&lane(true)));
    world.sync(&mut gateway);
    world.pass(ADMISSION_WAIT - Duration::from_millis(1));
    world.sync(&mut gateway);
    assert_eq!(gateway.admitting(), Some(false));
    let due = world.hub.advance(world.now).unwrap();
    assert_eq!(due - world.now, Duration::from_millis(1));
    world.pass(Duration::from_millis(1));
    world.sync(&mut gateway);
    assert_eq!(gateway.admitting(), Some(true));
}

#[test]
fn who_is_no_member_any_more_is_not_told_what_belongs_to_the_members() {
    let mut world = World::with_services(&["a"]);
    let member = group(&["app-a"]);
    world.write(None, Some(&member));
    let mut sidecar = world.sidecar("a");
    world.sync(&mut sidecar);
    assert!(sidecar.held.contains_key("name/sc-a"), "{:?}", sidecar.held.keys());

    // Of an entrance the group itself is still told.
    let mut entrance = group(&[]);
    entrance["spec"]["entrances"] = json!([{"application": "app-a"}]);
    world.write(Some(&member), Some(&entrance));
    world.sync(&mut sidecar);
    assert_eq!(sidecar.held.keys().collect::<Vec<_>>(), ["group/trade"]);
}

#[test]
fn a_lane_enabled_again_is_new_again_and_one_disabled_stops_at_once() {
    let mut world = World::with_services(&["a"]);
    world.write(None, Some(&group(&["app-a"])));
    world.write(None, Some(&lane(true)));
    world.pass(ADMISSION_WAIT);
    let mut gateway = world.gateway();
    let enabled = |peer: &Peer| match peer.held["group/trade"].body.as_ref().unwrap() {
        v1::resource::Body::Group(group) => group.lanes[0].enabled,
        other => panic!("{other:?}"),
    };
    world.sync(&mut gateway);
    assert_eq!((gateway.admitting(), enabled(&gateway)), (Some(true), true));
    world.write(Some(&lane(true)), Some(&lane(false)));
    world.sync(&mut gateway);
    assert!(!enabled(&gateway));
    world.write(Some(&lane(false)), Some(&lane(true)));
    world.sync(&mut gateway);
    assert_eq!((gateway.admitting(), enabled(&gateway)), (Some(false), true));
    world.pass(Duration::from_millis(10));
    world.sync(&mut gateway);
    assert_eq!(gateway.admitting(), Some(true));
}

#[test]
fn a_paused_lane_that_is_resumed_while_it_is_held_back_keeps_its_place() {
    let with = |enabled: bool, paused: bool| {
        let mut lane = lane(enabled);
        lane["spec"]["entry"]["paused"] = paused.into();
        lane
    };
    let mut world = World::with_services(&["a"]);
    world.write(None, Some(&group(&["app-a"])));
    let (mut gateway, mut silent) = (world.gateway(), world.sidecar("a"));
    world.sync(&mut gateway);
    world.receive(&mut silent);
    let told = |peer: &Peer| match peer.held["group/trade"].body.as_ref().unwrap() {
        v1::resource::Body::Group(group) => {
            let lane = &group.lanes[0];
            (lane.enabled, lane.admitting, lane.paused)
        }
        other => panic!("{other:?}"),
    };
    world.write(None, Some(&with(true, true)));
    world.sync(&mut gateway);
    assert_eq!(told(&gateway), (true, false, true));
    // Neither in the draw for nobody, nor let in before those behind have it.
    world.write(Some(&with(true, true)), Some(&with(true, false)));
    world.sync(&mut gateway);
    assert_eq!(told(&gateway), (true, false, true));
    world.pass(ADMISSION_WAIT);
    world.sync(&mut gateway);
    assert_eq!(told(&gateway), (true, true, false));
    // What was not in the draw gets its place when it is let in, as ever.
    world.write(Some(&with(true, false)), Some(&with(false, false)));
    world.write(Some(&with(false, false)), Some(&with(true, false)));
    world.sync(&mut gateway);
    assert_eq!(told(&gateway), (true, false, false));
}

#[test]
fn live_counts_who_has_it_and_who_said_so() {
    let mut world = World::with_services(&["a"]);
    world.write(None, Some(&group(&["app-a"])));
    let (mut gateway, mut sidecar) = (world.gateway(), world.sidecar("a"));
    let live = |world: &World| {
        let live = world.live("trade");
        (live.data_planes, live.acknowledged)
    };
    world.sync(&mut gateway);
    let told = world.receive(&mut sidecar).unwrap();
    assert_eq!(live(&world), (2, 1));
    world.acknowledge(&sidecar, &told, &[]);
    assert_eq!(live(&world), (2, 2));

    world.write(Some(&group(&["app-a"])), Some(&group(&["app-a", "app-b"])));
    assert_eq!(live(&world), (2, 0), "what they have is not what is wanted");
    world.sync(&mut gateway);
    world.sync(&mut sidecar);
    assert_eq!(live(&world), (2, 2));

    world.hub.disconnect(&sidecar.node, sidecar.connection, world.now);
    assert_eq!(live(&world), (2, 1), "one that went away is not live");
    let ready = |world: &mut World| {
        let group = Key::new(Kind::LaneGroup, "default", "trade");
        let ready = world.hub.status(&group).conditions.swap_remove(0);
        (ready.status, ready.reason)
    };
    let disconnected = ("False".to_owned(), api::resource::DISCONNECTED.to_owned());
    assert_eq!(ready(&mut world), disconnected, "and that is all that is missing");
    world.pass(Duration::from_secs(599));
    assert_eq!(live(&world), (2, 1));
    world.pass(Duration::from_secs(1));
    assert_eq!(live(&world), (1, 1), "and is forgotten after ten minutes");
    assert_eq!(ready(&mut world).0, "True");
}

#[test]
fn a_gateway_that_nobody_serves_says_so() {
    let mut world = World::with_services(&[]);
    let object = default_gateway(8001);
    world.write(None, Some(&Object::Gateway(object.clone()).to_value()));
    let ready = |world: &mut World| {
        let ready = world.hub.status(&object.key()).conditions.swap_remove(1);
        (ready.status, ready.reason)
    };
    assert_eq!(ready(&mut world), ("False".to_owned(), "NoDataPlane".to_owned()));
    let mut gateway = world.gateway();
    world.sync(&mut gateway);
    assert_eq!(ready(&mut world), ("True".to_owned(), "Live".to_owned()));
}

#[test]
fn what_is_refused_is_not_live_until_it_changes() {
    let mut world = World::with_services(&["a"]);
    world.write(None, Some(&group(&["app-a"])));
    let mut sidecar = world.sidecar("a");
    let told = world.receive(&mut sidecar).unwrap();
    world.acknowledge(&sidecar, &told, &[("group/trade", "too new")]);
    let live = |world: &World| world.live("trade").acknowledged;
    assert_eq!(live(&world), 0);
    let refusals = world.hub.data_plane("a").unwrap().refusals();
    assert_eq!(refusals[0].reason, "too new");
    world.write(Some(&group(&["app-a"])), Some(&group(&["app-a", "app-b"])));
    world.sync(&mut sidecar);
    assert_eq!(live(&world), 1);
    assert!(world.hub.data_plane("a").unwrap().refusals().is_empty());
}

#[test]
fn an_endpoint_change_concerns_those_who_have_the_service() {
    let mut world = World::with_services(&["a", "b"]);
    let (mut caller, mut other) = (world.sidecar("x"), world.sidecar("y"));
    world.subscribe(&caller, &["sc-a"], &[]);
    world.subscribe(&other, &["sc-b"], &[]);
    assert_eq!(world.sync(&mut caller).len(), 2);
    assert_eq!(world.sync(&mut other).len(), 2);
    world.serve("a", &["127.0.0.1:1", "127.0.0.1:9"]);
    assert_eq!(world.sync(&mut caller), ["service/embedded/default//sc-a"]);
    assert_eq!(world.sync(&mut other), [""; 0]);
    // The same again is no change.
    world.serve("a", &["127.0.0.1:1", "127.0.0.1:9"]);
    assert_eq!(world.sync(&mut caller), [""; 0]);
}

#[test]
fn a_slow_data_plane_gets_the_latest_of_everything_once() {
    let mut world = World::with_services(&["a"]);
    let mut slow = world.sidecar("x");
    world.subscribe(&slow, &["sc-a"], &[]);
    world.sync(&mut slow);
    for port in 2..100 {
        world.serve("a", &[&format!("127.0.0.1:{port}")]);
    }
    assert_eq!(world.sync(&mut slow), ["service/embedded/default//sc-a"]);
    assert_eq!(world.receive(&mut slow), None);
}

#[test]
fn a_restarted_control_plane_takes_nothing_away_before_its_sources_have_spoken() {
    let mut before = World::with_services(&["b"]);
    before.write(None, Some(&group(&["app-b"])));
    let mut sidecar = before.sidecar("x");
    before.subscribe(&sidecar, &["sc-b", "elsewhere"], &["127.0.0.1:1"]);
    before.sync(&mut sidecar);
    let had: Vec<String> = sidecar.held.keys().cloned().collect();
    assert!(had.contains(&"group/trade".to_owned()), "{had:?}");

    let mut after = World::new();
    after.write(None, Some(&group(&["app-b"])));
    let mut again = after.connect(v1::Role::Sidecar, "app-x", "x", sidecar.held_versions());
    again.held = sidecar.held.clone();
    let first = after.receive(&mut again).unwrap();
    assert!(first.synced && first.upserts.is_empty() && first.removals.is_empty(), "{first:?}");

    after.serve("b", &["127.0.0.1:1"]);
    after.hub.source_stands("embedded", Standing::Synced, after.now);
    assert_eq!(after.sync(&mut again), [""; 0], "everything is as it was");
    assert_eq!(again.held.keys().cloned().collect::<Vec<_>>(), had);
}

#[test]
fn absence_is_believed_when_sources_have_spoken_or_after_a_while() {
    let mut world = World::new();
    let mut sidecar = world.sidecar("x");
    world.subscribe(&sidecar, &["elsewhere.example"], &["127.0.0.1:7"]);
    assert_eq!(world.sync(&mut sidecar), [""; 0]);
    world.pass(SOURCE_SYNC_WAIT);
    let mut told = world.sync(&mut sidecar);
    told.sort();
    assert_eq!(told, ["address/127.0.0.1:7", "name/elsewhere.example"]);
    assert_eq!(world.name_answer(&sidecar, "elsewhere.example"), Some((String::new(), Vec::new())));
}

#[test]
fn names_mean_one_service_or_say_which_sources_have_them() {
    let mut world = World::with_services(&["b"]);
    let mut sidecar = world.sidecar("x");
    world.subscribe(&sidecar, &["sc-b", "sc-b.default", "sc-b.other"], &[]);
    world.sync(&mut sidecar);
    let one = Some(("embedded/default//sc-b".to_owned(), Vec::new()));
    assert_eq!(world.name_answer(&sidecar, "sc-b"), one);
    assert_eq!(world.name_answer(&sidecar, "sc-b.default"), one);
    assert_eq!(world.name_answer(&sidecar, "sc-b.other"), Some((String::new(), Vec::new())));

    world.write(None, Some(&fixed()));
    world.serve_fixed();
    world.sync(&mut sidecar);
    let both = Some((String::new(), vec!["embedded".to_owned(), "fixed".to_owned()]));
    assert_eq!(world.name_answer(&sidecar, "sc-b"), both);

    world.write(None, Some(&backend("fixed")));
    world.sync(&mut sidecar);
    let meant = Some(("fixed/default//sc-b".to_owned(), Vec::new()));
    assert_eq!(world.name_answer(&sidecar, "sc-b"), meant);
    world.write(Some(&backend("fixed")), None);
    world.sync(&mut sidecar);
    assert_eq!(world.name_answer(&sidecar, "sc-b"), both);

    let departed = ServiceId::new("fixed", "default", "", "sc-b");
    world.hub.update_services("fixed", vec![(departed, None)], world.now);
    world.sync(&mut sidecar);
    assert_eq!(world.name_answer(&sidecar, "sc-b"), one, "who is left is meant");
}

#[test]
fn an_address_keeps_its_meaning_for_a_minute_after_its_instance_left() {
    let mut world = World::with_services(&["b"]);
    let mut sidecar = world.sidecar("x");
    world.subscribe(&sidecar, &[], &["127.0.0.1:1"]);
    world.sync(&mut sidecar);
    let meant = ["embedded/default//sc-b"];
    assert_eq!(sidecar.addressed("127.0.0.1:1"), meant);
    world.serve("b", &["127.0.0.1:2"]);
    world.sync(&mut sidecar);
    world.pass(DEPARTED_ADDRESS_KEPT - Duration::from_millis(1));
    world.sync(&mut sidecar);
    assert_eq!(sidecar.addressed("127.0.0.1:1"), meant);
    world.pass(Duration::from_millis(1));
    world.sync(&mut sidecar);
    assert_eq!(sidecar.addressed("127.0.0.1:1"), [""; 0]);
    assert!(!sidecar.held.contains_key("service/embedded/default//sc-b"));
}

#[test]
fn a_shared_address_lists_every_service_that_has_it_and_no_departed_one() {
    let mut world = World::with_services(&["b", "c"]);
    let mut sidecar = world.sidecar("x");
    world.subscribe(&sidecar, &[], &["127.0.0.1:1"]);
    world.sync(&mut sidecar);
    let (b, c) = ("embedded/default//sc-b".to_owned(), "embedded/default//sc-c".to_owned());
    assert_eq!(sidecar.addressed("127.0.0.1:1"), [b, c.clone()]);
    world.serve("b", &["127.0.0.1:2"]);
    world.sync(&mut sidecar);
    assert_eq!(sidecar.addressed("127.0.0.1:1"), [c]);
}

#[test]
fn a_service_that_lost_its_last_instance_keeps_its_name() {
    let mut world = World::with_services(&["b"]);
    let mut sidecar = world.sidecar("x");
    world.subscribe(&sidecar, &["sc-b"], &[]);
    world.sync(&mut sidecar);
    let id = ServiceId::new("embedded", "default", "", "sc-b");
    world.hub.update_services("embedded", vec![(id, None)], world.now);
    world.sync(&mut sidecar);
    let kept = Some(("embedded/default//sc-b".to_owned(), Vec::new()));
    assert_eq!(world.name_answer(&sidecar, "sc-b"), kept);
    match sidecar.held["service/embedded/default//sc-b"].body.as_ref().unwrap() {
        v1::resource::Body::Service(service) => {
            assert_eq!((service.application.as_str(), service.endpoints.len()), ("app-b", 0));
        }
        other => panic!("{other:?}"),
    }
    world.pass(crate::picture::DEPARTED_SERVICE_KEPT);
    world.sync(&mut sidecar);
    assert_eq!(world.name_answer(&sidecar, "sc-b"), Some((String::new(), Vec::new())));
}

#[test]
fn the_newer_stream_of_a_node_speaks_for_it() {
    let mut world = World::with_services(&["a"]);
    let old = world.sidecar("a");
    let mut new = world.sidecar("a");
    assert!(!world.say(&old, Message::Report(v1::Report::default())));
    assert_eq!(world.hub.next_message(&old.node, old.connection), None);
    assert!(world.receive(&mut new).is_some());
    world.hub.disconnect(&old.node, old.connection, world.now);
    assert!(world.hub.data_plane("a").unwrap().is_connected());
}

#[test]
fn one_that_says_goodbye_is_not_waited_for() {
    let mut world = World::with_services(&["a"]);
    world.write(None, Some(&group(&["app-a"])));
    let mut gateway = world.gateway();
    let mut sidecar = world.sidecar("a");
    world.sync(&mut gateway);
    world.sync(&mut sidecar);
    assert!(!world.say(&sidecar, Message::Goodbye(v1::Goodbye {})), "its stream ends");
    world.pass(Duration::ZERO);
    assert!(world.hub.data_plane("a").is_none());
    let live = world.live("trade");
    assert_eq!((live.data_planes, live.acknowledged), (1, 1));
    // What is left of its stream changes nothing, and it may come back.
    world.hub.disconnect(&sidecar.node, sidecar.connection, world.now);
    let mut back = world.sidecar("a");
    world.sync(&mut back);
    assert_eq!(world.live("trade").acknowledged, 2);
}

#[test]
fn applications_that_lose_the_context_are_told_of_their_group_and_lane() {
    let mut world = World::with_services(&["a", "b"]);
    world.write(None, Some(&group(&["app-a", "app-b"])));
    world.write(None, Some(&lane(true)));
    let lost = |world: &mut World| {
        world.pass(Duration::from_secs(1));
        let findings: Vec<Finding> = world.hub.losses().collect();
        let of = |value: &Value| Object::from_value(value.clone()).unwrap().key();
        let conditions = [of(&group(&[])), of(&lane(true))].map(|key| {
            let conditions = world.hub.status(&key).conditions.into_iter();
            let lost: Vec<_> = conditions.filter(|it| it.kind == "ContextLost").collect();
            lost.iter().map(|it| format!("{} {}", it.status, it.reason)).collect::<String>()
        });
        assert_eq!(conditions[0], conditions[1]);
        (findings.len(), conditions[0].clone())
    };
    let counted = |lane: &str, received: u64, lost: u64, uncertain: u64| {
        let (group, lane) = ("trade".to_owned(), lane.to_owned());
        let calls = v1::LaneCalls { group, lane, received, carried: 0, lost, uncertain };
        Message::Report(v1::Report { lane_calls: vec![calls], ..v1::Report::default() })
    };
    let sidecars = [world.sidecar("a"), world.sidecar("b")];
    assert_eq!(lost(&mut world), (0, String::new()));
    // What several instances count is one application's.
    let another = world.connect(v1::Role::Sidecar, "app-b", "b2", Vec::new());
    world.say(&sidecars[1], counted("gray", 15, 15, 0));
    assert_eq!(lost(&mut world), (0, String::new()));
    world.say(&another, counted("gray", 15, 15, 0));
    assert_eq!(lost(&mut world), (1, "True ContextLost".to_owned()));
    let told = world.hub.losses().next().unwrap().problem.remedy;
    let begin = "app-b received 30 requests of lane gray and called on without context 30 times";
    assert!(told.starts_with(begin), "{told}");
    world.say(&sidecars[0], counted("gray", 2_000, 0, 50));
    assert_eq!(lost(&mut world), (2, "True ContextLost".to_owned()));
    // Who is gone counts no more.
    world.hub.disconnect(&another.node, another.connection, world.now);
    assert_eq!(lost(&mut world), (1, "Unknown Uncertain".to_owned()));
    world.say(&sidecars[0], Message::Goodbye(v1::Goodbye {}));
    assert_eq!(lost(&mut world), (0, String::new()));
}

#[test]
fn an_acknowledgement_counts_for_what_it_acknowledges_only() {
    let mut world = World::with_services(&["a", "b"]);
    world.write(None, Some(&group(&["app-b"])));
    let mut sidecar = world.sidecar("x");
    let first = world.receive(&mut sidecar).unwrap();
    world.acknowledge(&sidecar, &first, &[]);
    // Nothing changed in the world: the subscription alone brings the group.
    world.subscribe(&sidecar, &["sc-b"], &[]);
    let second = world.receive(&mut sidecar).unwrap();
    assert!(sidecar.held.contains_key("group/trade"));
    assert_ne!(first.generation, second.generation);
    assert_eq!(world.live("trade").acknowledged, 0);
    world.acknowledge(&sidecar, &second, &[]);
    assert_eq!(world.live("trade").acknowledged, 1);
    // An acknowledgement of what was never sent is no acknowledgement.
    world.write(Some(&group(&["app-b"])), Some(&group(&["app-b", "app-c"])));
    world.receive(&mut sidecar);
    let foreign = v1::Generation { epoch: "another".to_owned(), number: u64::MAX };
    world.say(&sidecar, Message::Ack(v1::Ack { generation: Some(foreign), refused: Vec::new() }));
    let future = v1::Generation { epoch: "epoch".to_owned(), number: u64::MAX };
    world.say(&sidecar, Message::Ack(v1::Ack { generation: Some(future), refused: Vec::new() }));
    assert_eq!(world.live("trade").acknowledged, 0);
}

#[test]
fn a_group_reaches_and_leaves_whom_its_applications_concern() {
    let mut world = World::with_services(&["b"]);
    let mut caller = world.sidecar("x");
    world.subscribe(&caller, &["sc-b"], &[]);
    world.sync(&mut caller);
    world.write(None, Some(&group(&["app-b"])));
    assert_eq!(world.sync(&mut caller), ["group/trade"]);
    world.write(Some(&group(&["app-b"])), Some(&group(&["app-z"])));
    assert_eq!(world.sync(&mut caller), ["-group/trade"]);
    world.write(Some(&group(&["app-z"])), Some(&group(&["app-x"])));
    assert_eq!(world.sync(&mut caller), ["group/trade"]);
    world.write(Some(&group(&["app-x"])), None);
    assert_eq!(world.sync(&mut caller), ["-group/trade"]);
}

#[test]
fn a_removed_source_takes_its_services_with_it_and_is_not_heard_any_more() {
    let mut world = World::with_services(&["b"]);
    world.write(None, Some(&fixed()));
    world.serve_fixed();
    let mut sidecar = world.sidecar("x");
    world.subscribe(&sidecar, &["sc-b"], &["127.0.0.1:2"]);
    world.sync(&mut sidecar);
    assert_eq!(sidecar.addressed("127.0.0.1:2"), ["fixed/default//sc-b"]);
    world.write(Some(&fixed()), None);
    world.serve_fixed();
    world.sync(&mut sidecar);
    assert_eq!(sidecar.addressed("127.0.0.1:2"), [""; 0]);
    let only = Some(("embedded/default//sc-b".to_owned(), Vec::new()));
    assert_eq!(world.name_answer(&sidecar, "sc-b"), only);
}

#[test]
fn a_lane_reaches_a_thousand_data_planes() {
    let mut world = World::with_services(&["a"]);
    world.write(None, Some(&group(&["app-a"])));
    let mut peers: Vec<Peer> = (0..1_000)
        .map(|node| world.connect(v1::Role::Sidecar, "app-a", &node.to_string(), Vec::new()))
        .collect();
    peers.iter_mut().for_each(|peer| drop(world.sync(peer)));
    world.write(None, Some(&lane(true)));
    for peer in &mut peers {
        assert_eq!(world.sync(peer), ["group/trade"]);
    }
    world.pass(Duration::from_millis(10));
    for peer in &mut peers {
        world.sync(peer);
        assert_eq!(peer.admitting(), Some(true));
    }
    let live = world.live("trade");
    assert_eq!((live.data_planes, live.acknowledged), (1_000, 1_000));
}

#[test]
fn of_gateways_with_one_name_the_last_connected_tells_how_it_is_set() {
    let mut world = World::new();
    let reported = |world: &World| {
        let headers = world.hub.reported();
        headers.of_gateway("edge").names().map(str::to_owned).collect::<Vec<_>>()
    };
    let usual = reported(&world);
    let _first = world.connect(v1::Role::Gateway, "edge", "g1", Vec::new());
    assert_eq!(reported(&world), ["x-g1"]);
    world.pass(Duration::from_secs(1));
    let second = world.connect(v1::Role::Gateway, "edge", "g2", Vec::new());
    assert_eq!(reported(&world), ["x-g2"]);
    world.hub.disconnect("g2", second.connection, world.now);
    assert_eq!(reported(&world), ["x-g1"]);
    assert_ne!(usual, ["x-g1"]);
}

#[test]
fn what_was_there_at_a_start_is_of_the_generation_of_the_start() {
    let mut world = World::new();
    world.write(None, Some(&group(&["a"])));
    world.write(None, Some(&lane(true)));
    let objects = Arc::new(world.objects.clone());
    let mut hub = Hub::new(objects, "epoch".to_owned(), 10_004, world.now);
    let lane = Key::new(Kind::Lane, "default", "gray");
    assert_eq!(hub.status(&lane).live.map(|live| live.generation), Some(10_004));
}
