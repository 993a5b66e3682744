//! Baggage beyond the vectors: its limits, and that what is written reads back.

use lanes::{
    Context,
    baggage::{self, BAGGAGE_BYTES_MAX, FOREIGN_GROUPS_MAX, Incoming},
};
use proptest::prelude::*;

use crate::world::{Draw, World, baggage as draw_baggage, bytes_of};

fn world() -> World {
    World::draw(&mut Draw::new(&bytes_of(1, 3000)))
}

fn written(world: &World, context: &Context, incoming: &[&str], policy: Incoming) -> String {
    let mut out = Vec::new();
    let values = incoming.iter().map(|value| value.as_bytes());
    baggage::write(&world.snapshot, context, values, policy, &mut out);
    String::from_utf8(out).expect("text in, text out")
}

#[test]
fn members_of_others_go_where_there_is_no_room() {
    let world = world();
    let context = Context::read(&world.snapshot, std::iter::once(&b"lane.g1=t1"[..]));
    let lane = "lane.g1=t1";
    // The longest that fits beside the lane member, and one byte more.
    let fits = format!("a={}", "x".repeat(BAGGAGE_BYTES_MAX - lane.len() - ",a=".len()));
    let all = written(&world, &context, &[&fits], Incoming::Keep);
    assert_eq!((all.len(), all.starts_with(lane)), (BAGGAGE_BYTES_MAX, true));
    let longer = format!("{fits}x");
    assert_eq!(written(&world, &context, &[&longer], Incoming::Keep), lane);
    assert_eq!(written(&world, &context, &[&longer, "b=1"], Incoming::Keep), format!("{lane},b=1"));
    // Lane members come first, wherever they stood.
    assert!(
        written(&world, &context, &[&longer, "lane.other=o"], Incoming::Keep)
            .ends_with(",lane.other=o")
    );
}

#[test]
fn what_stood_before_takes_no_room() {
    let world = world();
    let mut out = vec![b'x'; BAGGAGE_BYTES_MAX];
    let incoming = std::iter::once(&b"a=1"[..]);
    baggage::write(&world.snapshot, &Context::default(), incoming, Incoming::Keep, &mut out);
    assert!(out.ends_with(b"xa=1"));
}

#[test]
fn a_hostile_header_carries_a_limited_number_of_groups() {
    let world = world();
    let many: Vec<String> =
        (0..FOREIGN_GROUPS_MAX + 10).map(|number| format!("lane.f{number}=x")).collect();
    let out = written(&world, &Context::default(), &[&many.join(",")], Incoming::Keep);
    assert_eq!(out.split(',').count(), FOREIGN_GROUPS_MAX);
    assert!(many.join(",").starts_with(&out));
}

#[test]
fn more_members_than_fit_on_the_stack_are_kept() {
    let world = world();
    let many: Vec<String> = (0..20).map(|number| format!("lane.f{number}=x")).collect();
    assert_eq!(
        written(&world, &Context::default(), &[&many.join(",")], Incoming::Keep),
        many.join(",")
    );
}

proptest! {
    /// Hop after hop, nothing is lost and nothing is added.
    #[test]
    fn what_is_written_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut draw = Draw::new(&bytes);
        let carried = draw_baggage(&mut draw);
        let world = World::draw(&mut draw);
        let context = Context::read(&world.snapshot, std::iter::once(carried.as_bytes()));
        let once = written(&world, &context, &[&carried], Incoming::Keep);
        let read = Context::read(&world.snapshot, std::iter::once(once.as_bytes()));
        prop_assert_eq!(written(&world, &read, &[&once], Incoming::Keep), once.clone());
        // Base is silent where no application is an entrance; lanes, and tags unknown here, are not.
        let lanes = |context: &Context| {
            let mut membership = world.membership(context);
            membership.retain(|_, tag| tag.is_some());
            (membership, context.unknown_tags)
        };
        prop_assert_eq!(lanes(&read), lanes(&context));
        let stripped = written(&world, &context, &[&carried], Incoming::Strip);
        prop_assert!(!stripped.contains("gone") && !stripped.contains("g4"), "{}", stripped);
    }

    /// No bytes make it panic, and what an untrusted caller sends never arrives as a lane.
    #[test]
    fn strangers_put_nobody_into_a_lane(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "lane.g1", "lane.", "g1", "=", "t1", ",", ";", " ", "\t", "%6C", "%2C", "+", "%20", "\u{a0}",
                "%C2%A0", "-", "ane.g1=t1", "L", "%", "x=1",
            ]),
            0..24,
        ),
        noise in prop::collection::vec(any::<u8>(), 0..12),
    ) {
        let world = world();
        let mut sent = pieces.concat().into_bytes();
        sent.extend(noise);
        let mut out = Vec::new();
        let context = Context::default();
        baggage::write(&world.snapshot, &context, std::iter::once(&sent[..]), Incoming::Strip, &mut out);
        let read = Context::read(&world.snapshot, std::iter::once(&out[..]));
        prop_assert_eq!(read, Context::default());
        // Nor after a library has decoded and trimmed its keys.
        for member in out.split(|byte| *byte == b',') {
            let key = member.split(|byte| *byte == b'=' || *byte == b';').next().unwrap_or_default();
            let decoded: Vec<u8> = percent_encoding::percent_decode(
                &key.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect::<Vec<u8>>(),
            )
            .collect();
            let text = String::from_utf8_lossy(&decoded);
            prop_assert!(!text.trim().starts_with("lane."), "{:?}", text);
        }
    }
}
