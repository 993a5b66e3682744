//! Change by change, data planes end up with what one that connects afterwards is sent at once.

use proptest::prelude::*;

use super::*;
use crate::store::{Change, Dependencies};

const LETTERS: [&str; 4] = ["a", "b", "c", "d"];
const NAMES: [&str; 5] = ["sc-a", "sc-b", "sc-c", "sc-a.default", "nobody"];
const ADDRESSES: [&str; 3] = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"];

#[derive(Debug, Clone)]
enum Step {
    /// A service with these addresses and this application.
    Serve(usize, Vec<usize>, usize),
    Depart(usize),
    Write(Value),
    Delete(usize),
    Subscribe(usize, Vec<usize>, Vec<usize>),
    Forget(usize, Vec<usize>, Vec<usize>),
    Sync(usize),
    Pass(u64),
}

fn any_of(count: usize) -> impl Strategy<Value = Vec<usize>> {
    proptest::sample::subsequence((0..count).collect::<Vec<_>>(), 0..=count)
}

fn objects() -> impl Strategy<Value = Value> {
    let applications = || {
        any_of(4).prop_map(|them| {
            them.iter().map(|it| format!("app-{}", LETTERS[*it])).collect::<Vec<_>>()
        })
    };
    let group = (0..2u8, applications(), any::<bool>()).prop_map(|(name, applications, inside)| {
        let entrance = if inside { json!({"application": "app-a"}) } else { json!({"gateway": "edge"}) };
        json!({
            "apiVersion": "laneway.io/v1alpha1", "kind": "LaneGroup", "metadata": {"name": format!("group-{name}")},
            "spec": {"entrances": [entrance], "applications": applications},
        })
    });
    let lane = (0..2u8, 0..2u8, any::<bool>(), 0..3i32).prop_map(|(group, tag, enabled, priority)| {
        json!({
            "apiVersion": "laneway.io/v1alpha1", "kind": "Lane", "metadata": {"name": format!("lane-{group}-{tag}")},
            "spec": {"group": format!("group-{group}"), "tag": format!("tag-{tag}"), "enabled": enabled,
                "priority": priority, "entry": {"ratio": {"percent": 10}}},
        })
    });
    let backend = (0..2u8, 0..4usize).prop_map(|(name, service)| {
        json!({
            "apiVersion": "laneway.io/v1alpha1", "kind": "Backend", "metadata": {"name": format!("backend-{name}")},
            "spec": {"source": "embedded", "service": format!("sc-{}", LETTERS[service])},
        })
    });
    let route = (0..2u8, 0..2u8, prop_oneof![Just("edge"), Just("other")]).prop_map(|(name, backend, gateway)| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": format!("route-{name}")},
            "spec": {"parentRefs": [{"name": gateway}], "rules": [{"backendRefs": [
                {"group": "laneway.io", "kind": "Backend", "name": format!("backend-{backend}")},
            ]}]},
        })
    });
    let gateway = (prop_oneof![Just("edge"), Just("other")], 80..83u16).prop_map(|(name, port)| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": name},
            "spec": {"gatewayClassName": "laneway",
                "listeners": [{"name": "http", "protocol": "HTTP", "port": port}]},
        })
    });
    prop_oneof![3 => group, 3 => lane, 2 => backend, 2 => route, 1 => gateway]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..4usize, any_of(3), 0..4usize).prop_map(|(letter, addresses, application)| Step::Serve(letter, addresses, application)),
        1 => (0..4usize).prop_map(Step::Depart),
        6 => objects().prop_map(Step::Write),
        2 => (0..64usize).prop_map(Step::Delete),
        2 => (1..3usize, any_of(5), any_of(3)).prop_map(|(peer, names, addresses)| Step::Subscribe(peer, names, addresses)),
        1 => (1..3usize, any_of(5), any_of(3)).prop_map(|(peer, names, addresses)| Step::Forget(peer, names, addresses)),
        3 => (0..3usize).prop_map(Step::Sync),
        1 => (1..120_000u64).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What was written and served last, to build the same again.
#[derive(Default)]
struct Record {
    objects: Vec<Arc<StoredObject>>,
    services: BTreeMap<usize, Service>,
    names: [std::collections::BTreeSet<usize>; 3],
    addresses: [std::collections::BTreeSet<usize>; 3],
    created: CreationOrder,
}

impl Record {
    fn write(&mut self, value: &Value, world: &mut World) {
        let object = Object::from_value(value.clone()).unwrap();
        let key = object.key();
        let place = self.objects.iter().position(|stored| stored.object.key() == key);
        let old = place.map(|place| Arc::clone(&self.objects[place]));
        let created = old.as_ref().map_or(self.created.next(), |old| old.created);
        self.created = self.created.max(created);
        let revision = Revision::default();
        let new =
            Arc::new(StoredObject { object: Arc::new(object), revision, created, said: None });
        match place {
            Some(place) => self.objects[place] = Arc::clone(&new),
            None => self.objects.push(Arc::clone(&new)),
        }
        world.apply(ObjectChange { key, revision, old, new: Some(new) });
    }

    fn delete(&mut self, place: usize, world: &mut World) {
        if self.objects.is_empty() {
            return;
        }
        let old = self.objects.remove(place % self.objects.len());
        let (key, revision) = (old.object.key(), Revision::default());
        world.apply(ObjectChange { key, revision, old: Some(old), new: None });
    }
}

fn peers(world: &mut World) -> [Peer; 3] {
    [world.gateway(), world.sidecar("a"), world.sidecar("b")]
}

fn chosen<'a>(all: &[&'a str], places: impl IntoIterator<Item = usize>) -> Vec<&'a str> {
    places.into_iter().map(|place| all[place]).collect()
}

fn run(world: &mut World, record: &mut Record, peers: &mut [Peer; 3], step: Step) {
    match step {
        Step::Serve(letter, addresses, application) => {
            let addresses = chosen(&ADDRESSES, addresses);
            let shape = service("embedded", LETTERS[letter], &addresses);
            let application = format!("app-{}", LETTERS[application]);
            let service = Service::new(
                shape.id().clone(),
                shape.name(),
                &application,
                shape.endpoints().to_vec(),
            );
            record.services.insert(letter, service.clone());
            let change = (service.id().clone(), Some(Arc::new(service)));
            world.hub.update_services("embedded", vec![change], world.now);
        }
        Step::Depart(letter) => {
            record.services.remove(&letter);
            let id = service("embedded", LETTERS[letter], &[]).id().clone();
            world.hub.update_services("embedded", vec![(id, None)], world.now);
        }
        Step::Write(value) => record.write(&value, world),
        Step::Delete(place) => record.delete(place, world),
        Step::Subscribe(peer, names, addresses) => {
            let (texts, numbers) =
                (chosen(&NAMES, names.clone()), chosen(&ADDRESSES, addresses.clone()));
            world.subscribe(&peers[peer], &texts, &numbers);
            record.names[peer].extend(names);
            record.addresses[peer].extend(addresses);
        }
        Step::Forget(peer, names, addresses) => {
            let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
            let message = v1::Subscribe {
                forget_names: owned(chosen(&NAMES, names.clone())),
                forget_addresses: owned(chosen(&ADDRESSES, addresses.clone())),
                ..v1::Subscribe::default()
            };
            assert!(world.say(&peers[peer], Message::Subscribe(message)));
            record.names[peer].retain(|name| !names.contains(name));
            record.addresses[peer].retain(|address| !addresses.contains(address));
        }
        Step::Sync(peer) => drop(world.sync(&mut peers[peer])),
        Step::Pass(milliseconds) => world.pass(Duration::from_millis(milliseconds)),
    }
}

fn held(peer: &Peer) -> Vec<(String, v1::Resource)> {
    peer.held.iter().map(|(key, resource)| (key.clone(), resource.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn change_by_change_or_at_once_is_the_same(steps in steps()) {
        let (mut world, mut record) = (World::with_services(&[]), Record::default());
        // Later everyone looks at everything again once: that must not mend what a change forgot to touch.
        world.pass(SOURCE_SYNC_WAIT);
        let mut followers = peers(&mut world);
        for step in steps {
            run(&mut world, &mut record, &mut followers, step);
            world.hub.assert_kept_up(&world.objects);
        }
        // Lanes are let in, what departed is forgotten.
        for _ in 0..3 {
            followers.iter_mut().for_each(|peer| drop(world.sync(peer)));
            world.pass(crate::picture::DEPARTED_SERVICE_KEPT);
        }
        followers.iter_mut().for_each(|peer| drop(world.sync(peer)));

        let mut fresh = World::with_services(&[]);
        for service in record.services.values() {
            let change = (service.id().clone(), Some(Arc::new(service.clone())));
            fresh.hub.update_services("embedded", vec![change], fresh.now);
        }
        for stored in &record.objects {
            let (key, revision) = (stored.object.key(), stored.revision);
            let change = ObjectChange { key, revision, old: None, new: Some(Arc::clone(stored)) };
            fresh.apply(change);
        }
        // What one of an application asked for all of it are told, though it was restarted since.
        let mut asked = Vec::new();
        for change in world.hub.take_dependency_changes() {
            match change {
                Change::Depend(dependencies) => asked.push(dependencies),
                Change::ForgetDependencies(forgotten) => {
                    let same = |it: &&mut Dependencies| it.application == forgotten.application;
                    for it in asked.iter_mut().filter(same) {
                        it.asked.retain(|asked| !forgotten.asked.contains(asked));
                    }
                }
                _ => {}
            }
        }
        fresh.hub.restore_dependencies(&asked);
        fresh.pass(ADMISSION_WAIT);
        let mut newcomers = peers(&mut fresh);
        for (index, peer) in newcomers.iter_mut().enumerate() {
            let names = chosen(&NAMES, record.names[index].iter().copied());
            let addresses = chosen(&ADDRESSES, record.addresses[index].iter().copied());
            fresh.subscribe(peer, &names, &addresses);
            fresh.sync(peer);
        }
        for (follower, newcomer) in followers.iter().zip(&newcomers) {
            prop_assert_eq!(held(follower), held(newcomer), "{}", &follower.node);
        }
    }
}
