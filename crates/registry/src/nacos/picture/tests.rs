//! Restarts, shrinking and emptied services, through time; and tags that cover an address.

use std::sync::Mutex;

use lanes::service::Port;

use super::*;
use crate::{Joined, Receiver, Standing};

/// A picture, and what was told of it: instances by service, as `10.0.0.1:80=gray`.
struct World {
    picture: Picture,
    now: Instant,
    told: BTreeMap<String, Vec<String>>,
    problems: BTreeMap<String, Vec<String>>,
}

fn key(name: &str) -> Key {
    Key::new("G", name)
}

/// `10.0.0.1:80`, with a tag after `=`, or what else `laneway.io/tag` is to be.
fn instance(written: &str) -> ::nacos::Instance {
    let (address, tag) = written.split_once('=').unwrap_or((written, ""));
    let (ip, port) = address.rsplit_once(':').unwrap();
    let metadata = BTreeMap::from([("laneway.io/tag".to_owned(), Some(tag.to_owned()))]);
    ::nacos::Instance {
        ip: ip.to_owned(),
        port: port.parse().unwrap(),
        weight: 1.0,
        healthy: true,
        enabled: true,
        metadata: Some(metadata),
    }
}

impl World {
    fn new(covers: TagCovers) -> Self {
        Self::joined_to(&[], &Joined::default(), covers)
    }

    fn joined_to(sources: &[&str], joined: &Joined, covers: TagCovers) -> Self {
        let sources: Vec<String> = sources.iter().map(|it| (*it).to_owned()).collect();
        let picture = Picture::new(
            "registry",
            "public",
            covers,
            Joins::new(joined, &sources, covers == TagCovers::Address),
        );
        let mut world =
            Self { picture, now: Instant::now(), told: BTreeMap::new(), problems: BTreeMap::new() };
        world.picture.connected(world.now);
        world
    }

    fn hear(&mut self, name: &str, instances: &[&str]) {
        let instances: Vec<_> = instances.iter().map(|it| Ok(instance(it))).collect();
        self.picture.told(&key(name), &instances, self.now);
        self.look();
    }

    fn list(&mut self, names: &[&str]) {
        self.picture.listed(&names.iter().map(|name| key(name)).collect(), self.now);
        self.look();
    }

    fn reconnect(&mut self) {
        self.picture.connected(self.now);
        self.look();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.picture.settle(self.now);
        self.look();
    }

    fn look(&mut self) {
        for change in self.picture.take_changes() {
            let name = change.service.name().to_owned();
            self.problems.insert(
                name.clone(),
                change.problems.iter().map(|it| it.field.as_str().to_owned()).collect(),
            );
            let Some(service) = change.state else {
                self.told.remove(&name);
                continue;
            };
            let shown = |endpoint: &Endpoint| {
                let tag = endpoint.tag.as_ref().map_or(String::new(), |tag| format!("={tag}"));
                let health = match endpoint.health {
                    Health::Usable => String::new(),
                    other => format!(" {other:?}"),
                };
                format!("{}{tag}{health}", endpoint.address)
            };
            self.told.insert(name, service.endpoints().iter().map(shown).collect());
        }
    }

    #[track_caller]
    fn check(&self, name: &str, expected: &[&str]) {
        let told = self.told.get(name).unwrap_or_else(|| panic!("{name} is not there"));
        assert_eq!(told, expected, "{name}");
    }
}

#[test]
fn a_server_that_starts_anew_takes_nothing_away_while_its_clients_come_back() {
    let mut world = World::new(TagCovers::default());
    world.hear("a", &["10.0.0.1:80", "10.0.0.2:80"]);
    world.hear("b", &["10.0.0.3:80"]);
    world.hear("old", &["10.0.0.4:80"]);
    world.now += Duration::from_secs(3600);
    // Started empty: it has nothing, and says so.
    world.reconnect();
    world.list(&[]);
    world.hear("a", &[]);
    world.pass(Duration::from_secs(4));
    world.check("a", &["10.0.0.1:80", "10.0.0.2:80"]);
    world.check("old", &["10.0.0.4:80"]);
    // One comes back, and a new one with it.
    world.list(&["a", "b"]);
    world.hear("a", &["10.0.0.2:80", "10.0.0.9:80"]);
    world.check("a", &["10.0.0.1:80", "10.0.0.2:80", "10.0.0.9:80"]);
    world.pass(HELD - Duration::from_secs(4) - Duration::from_millis(1));
    world.check("a", &["10.0.0.1:80", "10.0.0.2:80", "10.0.0.9:80"]);
    assert!(world.picture.keeping().unwrap().contains("are kept"));
    // What the server has said till then is believed; of `b` it has said nothing.
    world.pass(Duration::from_millis(1));
    world.check("a", &["10.0.0.2:80", "10.0.0.9:80"]);
    world.check("b", &["10.0.0.3:80"]);
    assert!(!world.told.contains_key("old"));
    world.hear("b", &["10.0.0.3:80"]);
    assert_eq!((world.picture.keeping(), world.picture.remark()), (None, None));
    assert!(!world.picture.waits());
}

#[test]
fn an_emptied_service_is_believed_while_others_are_well() {
    let mut world = World::new(TagCovers::default());
    for name in ["a", "b", "c"] {
        world.hear(name, &["10.0.0.1:80", "10.0.0.2:80"]);
    }
    // Fewer are believed at once, none after a moment.
    world.hear("a", &["10.0.0.1:80"]);
    world.check("a", &["10.0.0.1:80"]);
    world.hear("a", &[]);
    world.check("a", &["10.0.0.1:80"]);
    world.pass(SETTLED);
    world.check("a", &[]);
    // Back before the moment is over: nothing was lost.
    world.hear("b", &[]);
    world.hear("b", &["10.0.0.1:80", "10.0.0.2:80"]);
    world.pass(SETTLED);
    world.check("b", &["10.0.0.1:80", "10.0.0.2:80"]);
    // A service that is listed no more is gone, after the same moment; the one that was emptied is long forgotten.
    world.pass(HELD);
    world.list(&["a", "b"]);
    world.pass(SETTLED);
    assert!(!world.told.contains_key("c"));
    world.list(&["b"]);
    assert!(!world.told.contains_key("a"));
}

#[test]
fn when_most_services_are_emptied_together_they_stay_for_a_while() {
    let mut world = World::new(TagCovers::default());
    for name in ["a", "b", "c"] {
        world.hear(name, &["10.0.0.1:80"]);
    }
    world.hear("a", &[]);
    world.hear("b", &[]);
    world.pass(HELD - Duration::from_millis(1));
    for name in ["a", "b", "c"] {
        world.check(name, &["10.0.0.1:80"]);
    }
    world.pass(Duration::from_millis(1));
    world.check("a", &[]);
    world.check("b", &[]);
    world.check("c", &["10.0.0.1:80"]);
    // The only one there is has nobody to be compared with.
    let mut alone = World::new(TagCovers::default());
    alone.hear("a", &["10.0.0.1:80"]);
    alone.hear("a", &[]);
    alone.pass(SETTLED * 2);
    alone.check("a", &["10.0.0.1:80"]);
    alone.pass(HELD);
    alone.check("a", &[]);
}

#[test]
fn a_tag_covers_the_address_of_its_registration() {
    let mut world = World::new(TagCovers::Address);
    world.hear("dubbo-provider", &["10.0.0.1:20880", "10.0.0.2:20880"]);
    world.check("dubbo-provider", &["10.0.0.1:20880", "10.0.0.2:20880"]);
    world.hear("sc-c", &["10.0.0.1:80=gray", "10.0.0.2:80"]);
    world.check("dubbo-provider", &["10.0.0.2:20880", "10.0.0.1:20880=gray"]);
    world.check("sc-c", &["10.0.0.2:80", "10.0.0.1:80=gray"]);
    // Metadata edited: at once for all.
    world.hear("sc-c", &["10.0.0.1:80=blue", "10.0.0.2:80"]);
    world.check("dubbo-provider", &["10.0.0.2:20880", "10.0.0.1:20880=blue"]);
    // Who says base says something.
    world.hear("management", &["10.0.0.1:9000=base"]);
    world.check("management", &["10.0.0.1:9000"]);
    world.check("dubbo-provider", &["10.0.0.1:20880 InvalidTag", "10.0.0.2:20880"]);
    world.hear("management", &["10.0.0.9:9000"]);
    world.check("dubbo-provider", &["10.0.0.2:20880", "10.0.0.1:20880=blue"]);
    // Who said it leaves, or is taken offline: the process is what it was.
    world.hear("sc-c", &["10.0.0.2:80"]);
    world.check("dubbo-provider", &["10.0.0.2:20880", "10.0.0.1:20880=blue"]);
    world.hear("metrics", &["10.0.0.1:9100"]);
    world.check("metrics", &["10.0.0.1:9100=blue"]);
    world.hear("metrics", &[]);
    world.pass(SETTLED);
    // It is there again and says nothing now, or all have left: it is another.
    world.hear("sc-c", &["10.0.0.1:80=blue", "10.0.0.2:80"]);
    world.hear("sc-c", &["10.0.0.1:80", "10.0.0.2:80"]);
    world.check("dubbo-provider", &["10.0.0.1:20880", "10.0.0.2:20880"]);
    world.hear("sc-c", &["10.0.0.1:80=blue", "10.0.0.2:80"]);
    world.hear("sc-c", &["10.0.0.2:80"]);
    world.hear("dubbo-provider", &["10.0.0.2:20880"]);
    world.hear("dubbo-provider", &["10.0.0.1:20880", "10.0.0.2:20880"]);
    world.check("dubbo-provider", &["10.0.0.1:20880", "10.0.0.2:20880"]);
}

#[test]
fn what_is_no_tag_is_never_base_and_neither_is_what_it_covers() {
    let mut world = World::new(TagCovers::Address);
    world.hear("a", &["10.0.0.1:80=no tag", "10.0.0.2:80"]);
    world.hear("b", &["10.0.0.1:81"]);
    world.check("a", &["10.0.0.1:80 InvalidTag", "10.0.0.2:80"]);
    world.check("b", &["10.0.0.1:81 InvalidTag"]);
    assert_eq!(world.problems["a"], ["instance 10.0.0.1:80.metadata[laneway.io/tag]"]);
    assert_eq!(world.problems["b"], ["instance 10.0.0.1:81.tag"]);
    let remark = world.picture.remark().unwrap();
    assert!(remark.starts_with("G/a: ") && remark.ends_with("(and 1 more)"), "{remark}");
}

#[test]
fn where_processes_share_an_address_each_speaks_for_itself() {
    let registrations: &[&str] = &["10.0.0.1:80", "10.0.0.1:81=gray"];
    let mut world = World::new(TagCovers::Registration);
    world.hear("a", registrations);
    world.hear("b", &["10.0.0.1:90"]);
    world.check("a", registrations);
    world.check("b", &["10.0.0.1:90"]);
    let mut world = World::new(TagCovers::Address);
    world.hear("a", registrations);
    world.check("a", &["10.0.0.1:80=gray", "10.0.0.1:81=gray"]);
}

#[test]
fn what_cannot_be_read_is_told_and_left_out() {
    let mut world = World::new(TagCovers::default());
    world.hear("a", &["shop.example:80", "10.0.0.1:80", "169.254.169.254:80"]);
    world.check("a", &["10.0.0.1:80"]);
    assert_eq!(world.problems["a"], ["ip", "ip"]);
}

#[test]
fn only_differences_are_told() {
    let mut world = World::new(TagCovers::default());
    world.hear("a", &["10.0.0.1:80"]);
    let again = [Ok(instance("10.0.0.1:80"))];
    world.picture.told(&key("a"), &again, world.now);
    world.picture.listed(&BTreeSet::from([key("a")]), world.now);
    assert!(world.picture.take_changes().is_empty());
}

#[test]
fn what_one_of_two_clusters_says_of_an_address_counts_for_both() {
    let mut world = World::new(TagCovers::Address);
    world.hear("a", &["10.0.0.1:80", "10.0.0.1:80=gray"]);
    world.check("a", &["10.0.0.1:80=gray"]);
    world.hear("a", &["10.0.0.1:80=blue", "10.0.0.1:80=gray"]);
    world.check("a", &["10.0.0.1:80 InvalidTag"]);
}

#[test]
fn who_only_calls_names_the_tag_of_its_address_and_is_no_problem() {
    let mut world = World::new(TagCovers::Address);
    world.hear("orders", &["10.0.0.1:80"]);
    world.hear("consumers:orders", &["10.0.0.1:0=gray"]);
    world.check("orders", &["10.0.0.1:80=gray"]);
    world.check("consumers:orders", &[]);
    assert!(world.problems["consumers:orders"].is_empty());
    world.hear("portless", &["10.0.0.1:0"]);
    assert_eq!(world.problems["portless"], ["ip"]);
}

#[test]
fn a_tagged_port_that_leaves_before_the_silent_one_leaves_its_tag() {
    let mut world = World::new(TagCovers::Address);
    world.hear("a", &["10.0.0.1:80=gray", "10.0.0.1:81"]);
    world.hear("a", &["10.0.0.1:81"]);
    world.check("a", &["10.0.0.1:81=gray"]);
    // It says something again, and takes it back.
    world.hear("a", &["10.0.0.1:81=blue"]);
    world.hear("a", &["10.0.0.1:81"]);
    world.check("a", &["10.0.0.1:81"]);
}

#[test]
fn an_instance_that_cannot_be_read_is_told_beside_the_others() {
    let mut world = World::new(TagCovers::default());
    let hosts = [Err("\"10.0.0.2\":80: no weight".to_owned()), Ok(instance("10.0.0.1:80"))];
    world.picture.told(&key("a"), &hosts, world.now);
    world.look();
    world.check("a", &["10.0.0.1:80"]);
    assert_eq!(world.problems["a"], ["instance"]);
}

#[test]
fn names_that_differ_by_case_are_one_service() {
    let mut world = World::new(TagCovers::default());
    world.hear("orders", &["10.0.0.1:80"]);
    // Spelled otherwise from now on: nothing is taken away.
    world.list(&["Orders"]);
    world.hear("Orders", &["10.0.0.1:80"]);
    world.pass(HELD);
    world.check("orders", &["10.0.0.1:80"]);
}

/// Another source, which tells of instances of one service and how it stands.
struct Other {
    name: &'static str,
    receiver: Arc<dyn Receiver>,
}

/// Whom it tells: nobody asks.
#[derive(Default)]
struct Deaf(Mutex<usize>);

impl Receiver for Deaf {
    fn changed(&self, changes: Vec<Change>) {
        *self.0.lock().unwrap() += changes.len();
    }

    fn stands(&self, _: &Standing) {}

    fn ruled(&self, rules: &[crate::Rule]) {
        *self.0.lock().unwrap() += rules.len();
    }
}

impl Other {
    fn new(name: &'static str, joined: &Joined) -> Self {
        let receiver = joined.hearing(name, Arc::<Deaf>::default());
        Self { name, receiver }
    }

    /// Instances as `10.0.0.1:15006 10.0.0.1:80=gray`: where its sidecar is, its application, its tag; after `-` one that
    /// leaves.
    fn tells(&self, service: &str, instances: &[&str]) {
        let endpoint = |written: &&str| {
            let (addresses, tag) = written.split_once('=').unwrap_or((written, ""));
            let (address, application) = addresses.trim_start_matches('-').split_once(' ').unwrap();
            let tag = Tag::parse(tag);
            Endpoint {
                address: address.parse().unwrap(),
                application_address: application.parse().ok(),
                further: None,
                health: match &tag {
                    _ if written.starts_with('-') => Health::Draining,
                    Ok(_) => Health::Usable,
                    Err(_) => Health::InvalidTag,
                },
                tag: tag.unwrap_or_default(),
                weight: 1,
                port: Port::default(),
            }
        };
        let id = ServiceId::new(self.name, "default", "", service);
        let endpoints = instances.iter().map(endpoint).collect();
        let state = Arc::new(Service::new(id.clone(), service, service, endpoints));
        self.receiver.changed(vec![Change {
            service: id,
            state: Some(state),
            problems: Vec::new(),
        }]);
    }
}

#[test]
fn what_nacos_does_not_say_a_joined_source_says_by_address() {
    let joined = Joined::default();
    let embedded = Other::new("embedded", &joined);
    embedded.tells("a-app", &["10.0.0.1:15006 10.0.0.1:80", "10.0.0.2:15006 10.0.0.2:80=gray"]);
    let mut world = World::joined_to(&["embedded"], &joined, TagCovers::Address);
    // Another port of the process is the process; and what Nacos says itself counts, and is told where it is something else.
    world.hear("a", &["10.0.0.1:80", "10.0.0.2:80", "10.0.0.2:20880"]);
    world.check("a", &["10.0.0.1:80", "10.0.0.2:80=gray", "10.0.0.2:20880=gray"]);
    world.hear("b", &["10.0.0.1:81=blue"]);
    world.check("b", &["10.0.0.1:81=blue"]);
    assert_eq!(world.problems["b"], ["instance 10.0.0.1:81.tag"]);
    assert!(world.picture.remark().unwrap().contains("source embedded says base"));
    // What covers the address there counts too.
    world.check("a", &["10.0.0.1:80=blue", "10.0.0.2:80=gray", "10.0.0.2:20880=gray"]);
    assert!(!world.picture.waits());

    // A sidecar that dies before its application takes nothing back; one that says something else does.
    embedded.tells("a-app", &[]);
    world.pass(HELD * 2);
    world.check("a", &["10.0.0.1:80=blue", "10.0.0.2:80=gray", "10.0.0.2:20880=gray"]);
    embedded.tells("a-app", &["10.0.0.2:15006 10.0.0.2:80=green"]);
    world.picture.look_at_joined(world.now);
    world.look();
    world.check("a", &["10.0.0.1:80=blue", "10.0.0.2:80=green", "10.0.0.2:20880=green"]);
    // One that leaves says nothing of whoever comes to its address.
    embedded.tells("a-app", &["-10.0.0.2:15006 10.0.0.2:80", "-10.0.0.4:15006 10.0.0.4:80"]);
    world.hear("c", &["10.0.0.2:82", "10.0.0.4:82"]);
    world.check("c", &["10.0.0.2:82 InvalidTag", "10.0.0.4:82 InvalidTag"]);
    world.check("a", &["10.0.0.1:80=blue", "10.0.0.2:80=green", "10.0.0.2:20880=green"]);
    // Who has left and come back is asked for anew.
    world.hear("b", &[]);
    world.hear("a", &["10.0.0.1:80"]);
    world.pass(SETTLED);
    embedded.tells("a-app", &[]);
    world.hear("a", &["10.0.0.1:80", "10.0.0.2:80"]);
    world.check("a", &["10.0.0.2:80 InvalidTag", "10.0.0.1:80=blue"]);
}

#[test]
fn whom_no_joined_source_knows_is_held_back_for_a_while_and_nobody_is_taken_out_at_a_start() {
    let joined = Joined::default();
    let embedded = Other::new("embedded", &joined);
    let mut world = World::joined_to(&["embedded"], &joined, TagCovers::Address);
    world.picture.told(&key("a"), &[Ok(instance("10.0.0.1:80"))], world.now);
    assert!(world.picture.may_not_begin(world.now) && world.picture.waits());
    world.now += HELD - Duration::from_millis(1);
    world.picture.settle(world.now);
    assert!(world.picture.may_not_begin(world.now));
    world.pass(Duration::from_millis(1));
    assert!(!world.picture.may_not_begin(world.now) && !world.picture.waits());
    world.check("a", &["10.0.0.1:80"]);
    // From then on each is held back by itself, and others are as they were.
    world.hear("a", &["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]);
    let held = &["10.0.0.1:80", "10.0.0.2:80 InvalidTag", "10.0.0.3:80 InvalidTag"];
    world.check("a", held);
    assert!(
        world.picture.held_back().unwrap().starts_with("2 addresses are not known to embedded")
    );
    // Its sidecar registers.
    let changed = world.picture.joined_changes();
    embedded.tells("a-app", &["10.0.0.3:15006 10.0.0.3:80=gray"]);
    assert!(changed.has_changed().unwrap());
    world.picture.look_at_joined(world.now);
    world.look();
    world.check("a", &["10.0.0.1:80", "10.0.0.2:80 InvalidTag", "10.0.0.3:80=gray"]);
    world.pass(HELD);
    world.check("a", &["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80=gray"]);
    assert_eq!(world.picture.held_back(), None);
}

#[test]
fn those_who_come_one_after_the_other_keep_nothing_from_being_told() {
    let joined = Joined::default();
    let mut world = World::joined_to(&["embedded"], &joined, TagCovers::Address);
    let half = HELD_BACK / 2;
    world.picture.told(&key("a"), &[Ok(instance("10.0.0.1:80"))], world.now);
    assert!(world.picture.may_not_begin(world.now));
    assert!(world.picture.take_changes_of_told().is_empty());
    world.now += half;
    let both = [Ok(instance("10.0.0.1:80")), Ok(instance("10.0.0.2:80"))];
    world.picture.told(&key("a"), &both, world.now);
    assert!(world.picture.may_not_begin(world.now));
    world.now += half;
    world.picture.settle(world.now);
    assert!(!world.picture.may_not_begin(world.now));
    world.look();
    world.check("a", &["10.0.0.1:80", "10.0.0.2:80 InvalidTag"]);
    // No server is followed meanwhile.
    world.now += half;
    world.picture.look_at_joined(world.now);
    assert_eq!(world.picture.take_changes_of_told().len(), 1);
}

#[test]
fn what_one_that_is_asked_first_has_said_no_other_takes_back() {
    let joined = Joined::default();
    let (first, second) = (Other::new("first", &joined), Other::new("second", &joined));
    let mut world = World::joined_to(&["first", "second"], &joined, TagCovers::Address);
    first.tells("a", &["10.0.0.1:1 10.0.0.1:80=gray", "10.0.0.2:1 10.0.0.2:80=n o"]);
    second.tells("a", &["10.0.0.1:2 10.0.0.1:80=blue"]);
    world.hear("a", &["10.0.0.1:80", "10.0.0.2:80"]);
    world.check("a", &["10.0.0.2:80 InvalidTag", "10.0.0.1:80=gray"]);
    first.tells("a", &[]);
    world.picture.look_at_joined(world.now);
    world.look();
    world.check("a", &["10.0.0.2:80 InvalidTag", "10.0.0.1:80=gray"]);
    // What was no tag is remembered of nobody.
    world.pass(HELD_BACK);
    world.check("a", &["10.0.0.2:80", "10.0.0.1:80=gray"]);
}

#[test]
fn where_processes_share_an_address_a_joined_source_says_it_by_port() {
    let joined = Joined::default();
    let (embedded, fixed) = (Other::new("embedded", &joined), Other::new("fixed", &joined));
    let instances = &[
        "10.0.0.1:15006 10.0.0.1:80=gray",
        "10.0.0.1:15007 10.0.0.1:81",
        "10.0.0.1:1 10.0.0.1:82=n o",
    ];
    embedded.tells("a-app", instances);
    fixed.tells("x", &["10.0.0.1:83 10.0.0.1:80=other", "10.0.0.9:84 10.0.0.9:84=blue"]);
    let to = ["missing", "embedded", "fixed"];
    let mut world = World::joined_to(&to, &joined, TagCovers::Registration);
    // A sidecar that does not capture calls its application at a loopback address.
    embedded.tells("l-app", &["10.0.0.8:15001 127.0.0.1:8080=gray"]);
    world.hear("l", &["10.0.0.8:8080"]);
    world.check("l", &["10.0.0.8:8080=gray"]);
    let ports = &["10.0.0.1:80", "10.0.0.1:81", "10.0.0.1:82", "10.0.0.1:83", "10.0.0.1:85"];
    world.hear("a", ports);
    let by_port = &[
        "10.0.0.1:81",
        "10.0.0.1:82 InvalidTag",
        "10.0.0.1:85 InvalidTag",
        "10.0.0.1:80=gray",
        "10.0.0.1:83=other",
    ];
    world.check("a", by_port);
    assert_eq!(world.problems["a"], ["instance 10.0.0.1:82.tag"]);
    // Where an address is one process, its instances disagree there.
    let mut world = World::joined_to(&to, &joined, TagCovers::Address);
    world.hear("a", &["10.0.0.1:85", "10.0.0.9:1"]);
    world.check("a", &["10.0.0.1:85 InvalidTag", "10.0.0.9:1=blue"]);
    assert_eq!(world.problems["a"], ["instance 10.0.0.1:85.tag"]);
    let Err(problem) =
        world.picture.tag(&Registered::read(&instance("10.0.0.1:85")).unwrap()).shown()
    else {
        panic!("its tag is clear");
    };
    assert_eq!(problem.value, "base, gray, no tag");
}

impl Tagged {
    fn shown(self) -> Result<Option<Tag>, Problem> {
        match self {
            Self::By(tag) | Self::Joined(joins::Said::Tag(tag)) => Ok(tag),
            Self::Joined(joins::Said::NotYet) => Ok(None),
            Self::Unclear(problem) | Self::Joined(joins::Said::Unclear(problem)) => Err(problem),
        }
    }
}
