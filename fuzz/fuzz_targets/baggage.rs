//! `baggage`: what is written is read as the same context, what is not believed does not go on, what is not ours does.
#![no_main]

use std::sync::{Arc, LazyLock};

use lanes::{
    Context, Directory, Group, GroupName, GroupSpec, LaneSpec, Snapshot, Tag,
    baggage::{self, Incoming},
    condition::{Condition, Operator, Parameter},
    group::{EntranceSpec, Entry, Fallback, Meet},
};

/// Two groups, each with a lane; the second has an application as entrance.
static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let gateway = EntranceSpec::Gateway { name: "edge".to_owned(), routes: None };
    let application = EntranceSpec::Application { name: "a".to_owned(), edge: false };
    let groups = [("g0", gateway), ("g1", application)].map(|(name, entrance)| {
        let parameter = Parameter::Header("canary".to_owned());
        let condition = Condition { parameter, operator: Operator::Exists };
        let entry = Entry::Content { meet: Meet::All, conditions: vec![condition] };
        let lane = LaneSpec {
            tag: Tag::parse("gray").unwrap().unwrap(),
            enabled: true,
            admitting: true,
            paused: false,
            priority: 0,
            entry,
            fallback: Fallback::Then(Vec::new()),
            switched_off: Vec::new(),
        };
        let name = GroupName::parse(name).unwrap();
        let (entrances, applications) = (vec![entrance], vec!["a".to_owned()]);
        let spec = GroupSpec { name, entrances, applications, lanes: vec![lane] };
        Arc::new(Group::compile(spec).unwrap())
    });
    Snapshot::new(groups.into(), Directory::new(true))
});

/// The values of several fields, parted by line feeds.
fn values(bytes: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    bytes.split(|byte| *byte == b'\n')
}

fn written(context: &Context, incoming: &[u8], policy: Incoming) -> Vec<u8> {
    let mut out = Vec::new();
    baggage::write(&SNAPSHOT, context, values(incoming), policy, &mut out);
    out
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let context = Context::read(&SNAPSHOT, values(bytes));
    let kept = written(&context, bytes, Incoming::Keep);
    let again = Context::read(&SNAPSHOT, values(&kept));
    let lanes = |context: &Context| {
        let mut lanes: Vec<_> = context
            .members()
            .iter()
            .filter_map(|member| Some((member.group, member.lane?)))
            .collect();
        lanes.sort_unstable();
        lanes
    };
    assert_eq!(
        lanes(&again),
        lanes(&context),
        "{} -> {}",
        bytes.escape_ascii(),
        kept.escape_ascii()
    );
    let twice = written(&again, &kept, Incoming::Keep);
    assert_eq!(twice, kept, "{}", bytes.escape_ascii());

    // Of what is not believed nothing that is ours goes on, and what is not ours does.
    let stripped = written(&Context::default(), bytes, Incoming::Strip);
    assert!(!baggage::has_lane_members(&stripped), "{}", stripped.escape_ascii());
    for value in values(bytes) {
        for run in baggage::foreign_runs(value) {
            assert!(!baggage::has_lane_members(run), "{}", run.escape_ascii());
        }
    }

    // What correlation remembers means the same.
    let mut remembered = Vec::new();
    baggage::lane_members(values(bytes), &mut remembered);
    let restored = Context::read(&SNAPSHOT, values(&remembered));
    assert_eq!(lanes(&restored), lanes(&context), "{}", remembered.escape_ascii());
});
