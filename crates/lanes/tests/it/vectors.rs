//! The files other languages check themselves against: `tests/vectors/*.json`.

use std::collections::BTreeMap;

use lanes::{
    Context, Entrance, GroupName, GroupSpec, LaneSpec, Member,
    baggage::{self, Incoming},
    condition::{Condition, Operator, Parameter},
    group::{EntranceSpec, Entry, Meet},
    hash::hash,
};
use serde::{Deserialize, de::DeserializeOwned};
use testkit::Call;

use crate::{
    oracle,
    world::{World, lane},
};

fn load<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).expect("the vector file is as this test describes it")
}

#[derive(Deserialize)]
struct Hashes {
    vectors: Vec<HashVector>,
}

#[derive(Deserialize)]
struct HashVector {
    text: String,
    hash: String,
    percent: u64,
}

#[test]
fn hashes_are_those_of_every_language() {
    let Hashes { vectors } = load(include_str!("../vectors/hash.json"));
    assert!(
        vectors.iter().any(|vector| vector.hash == "ef46db3751d8e999"),
        "that of the empty text"
    );
    for HashVector { text, hash: wanted, percent } in vectors {
        let found = hash(text.as_bytes());
        assert_eq!((format!("{found:016x}"), found % 100), (wanted, percent), "{text:?}");
        assert_eq!(oracle::xxh64(text.as_bytes()), found, "the oracle, of {text:?}");
    }
}

#[derive(Deserialize)]
struct Ratios {
    vectors: Vec<RatioVector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RatioVector {
    group: String,
    lanes: Vec<RatioLane>,
    key: String,
    lane: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RatioLane {
    tag: String,
    percent_hundredths: u16,
}

fn group(name: &str, entrances: Vec<EntranceSpec>, lanes: Vec<LaneSpec>) -> GroupSpec {
    let name = GroupName::parse(name).expect("a valid name");
    GroupSpec { name, entrances, applications: Vec::new(), lanes }
}

fn world(groups: Vec<GroupSpec>) -> World {
    World::new(groups, Vec::new(), [].into())
}

#[test]
fn keys_fall_into_the_lanes_of_every_language() {
    let Ratios { vectors } = load(include_str!("../vectors/ratio.json"));
    for RatioVector { group: name, lanes, key, lane: wanted } in vectors {
        let lanes = lanes
            .iter()
            .map(|RatioLane { tag, percent_hundredths }| {
                let sticky_by = Some(Parameter::Header("uid".into()));
                lane(
                    tag,
                    Entry::Ratio {
                        percent_hundredths: *percent_hundredths,
                        sticky_by,
                        issue: None,
                    },
                )
            })
            .collect();
        let gateway = EntranceSpec::Gateway { name: "edge".into(), routes: None };
        let world = world(vec![group(&name, vec![gateway], lanes)]);
        let request = Call { headers: vec![("uid".into(), key.clone().into())], ..Call::default() };
        let mut context = Context::default();
        let at = Entrance::Gateway { gateway: "edge", route: None };
        world.snapshot.enter(at, &request, &mut || panic!("sticky"), &mut context, &mut ());
        assert_eq!(world.membership(&context)[&name], wanted, "group {name}, key {key:?}");
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    groups: BTreeMap<String, Vec<String>>,
    application_entrances: Vec<String>,
    read: Vec<ReadVector>,
    write: Vec<WriteVector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadVector {
    baggage: Vec<String>,
    lanes: BTreeMap<String, Option<String>>,
    #[serde(default)]
    unknown_tags: u16,
    remembered: String,
}

#[derive(Deserialize)]
struct WriteVector {
    lanes: BTreeMap<String, Option<String>>,
    baggage: Vec<String>,
    policy: String,
    out: String,
}

#[test]
fn baggage_is_read_and_written_as_in_every_language() {
    let wire: Wire = load(include_str!("../vectors/baggage.json"));
    let entry = || Entry::Content {
        meet: Meet::All,
        conditions: vec![Condition { parameter: Parameter::Path, operator: Operator::Exists }],
    };
    let groups = wire
        .groups
        .iter()
        .map(|(name, tags)| {
            let entrances = wire
                .application_entrances
                .iter()
                .filter(|entrance| *entrance == name)
                .map(|_| EntranceSpec::Application { name: "front".into(), edge: false })
                .collect();
            group(name, entrances, tags.iter().map(|tag| lane(tag, entry())).collect())
        })
        .collect();
    let world = world(groups);
    for ReadVector { baggage, lanes, unknown_tags, remembered } in wire.read {
        let values = || baggage.iter().map(|value| value.as_bytes());
        let context = Context::read(&world.snapshot, values());
        assert_eq!(
            (world.membership(&context), context.unknown_tags),
            (lanes, unknown_tags),
            "{baggage:?}"
        );
        let mut out = Vec::new();
        baggage::lane_members(values(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), remembered, "remembered of {baggage:?}");
    }
    for WriteVector { lanes, baggage, policy, out: wanted } in wire.write {
        let mut context = Context::default();
        for (name, tag) in &lanes {
            let group = world.snapshot.group(name).expect("a known group");
            let known = &world.snapshot.groups()[usize::from(group)];
            let lane = tag.as_ref().map(|tag| known.lane(tag.as_bytes()).expect("a known tag"));
            context.add(Member { group, lane });
        }
        let policy = match policy.as_str() {
            "strip" => Incoming::Strip,
            "keep" => Incoming::Keep,
            other => panic!("policy {other}"),
        };
        let mut out = b"before:".to_vec();
        let values = baggage.iter().map(|value| value.as_bytes());
        baggage::write(&world.snapshot, &context, values, policy, &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            format!("before:{wanted}"),
            "{lanes:?} {baggage:?}"
        );
    }
}
