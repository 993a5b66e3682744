//! Cookies that gateways issue: who gets one, and that whoever comes with it stays where the draw has put it.

use std::{cell::Cell, collections::BTreeSet};

use lanes::{
    Affinity, Context, Entrance, GroupName, GroupSpec,
    affinity::{Issue, SameSite},
    condition::Parameter,
    group::{EntranceSpec, Entry},
};
use testkit::Call;

use crate::world::{World, lane};

/// By a cookie of this name, issued.
fn issued(percent_hundredths: u16, name: &str) -> Entry {
    let sticky_by = Some(Parameter::Cookie(name.into()));
    Entry::Ratio { percent_hundredths, sticky_by, issue: Some(Issue::default()) }
}

fn group(name: &str, entries: Vec<Entry>) -> GroupSpec {
    let tags = ["a", "b", "c"];
    GroupSpec {
        name: GroupName::parse(name).expect("a valid name"),
        entrances: vec![
            EntranceSpec::Gateway { name: "edge".into(), routes: None },
            EntranceSpec::Application { name: "front".into(), edge: false },
        ],
        applications: Vec::new(),
        lanes: tags.into_iter().zip(entries).map(|(tag, entry)| lane(tag, entry)).collect(),
    }
}

fn world(groups: Vec<GroupSpec>) -> World {
    World::new(groups, Vec::new(), BTreeSet::new())
}

const EDGE: Entrance<'_> = Entrance::Gateway { gateway: "edge", route: None };

/// What becomes of a request with these cookies: its lanes, what its client is told, how often was drawn.
fn enter(
    world: &World,
    at: Entrance<'_>,
    cookies: &str,
    random: [u8; 16],
) -> (Context, Affinity, usize) {
    let cookies = (!cookies.is_empty()).then(|| ("cookie".into(), cookies.into()));
    let request = Call { headers: cookies.into_iter().collect(), ..Call::default() };
    let mut context = Context::default();
    let drawn = Cell::new(0);
    let mut draw = || {
        drawn.set(drawn.get() + 1);
        random
    };
    let affinity = world.snapshot.enter(at, &request, &mut draw, &mut context, &mut ());
    (context, affinity, drawn.get())
}

fn names(affinity: &Affinity) -> Vec<&str> {
    affinity.issued.iter().flat_map(|it| it.cookies()).map(|it| it.name.as_str()).collect()
}

#[test]
fn whoever_comes_with_what_was_issued_stays_where_the_draw_put_it() {
    let entries = || vec![issued(3000, "place"), issued(2500, "place")];
    let world = world(vec![group("trade", entries()), group("pay", entries())]);
    let mut seen = BTreeSet::new();
    for number in 0..200_u8 {
        let (first, affinity, drawn) = enter(&world, EDGE, "", [number; 16]);
        // Two groups by one name: a browser keeps one value of it, so that one is drawn.
        assert_eq!((drawn, affinity.is_by_cookie), (1, true));
        assert_eq!(names(&affinity), ["place"]);
        let cookie = format!("place={}", affinity.issued.unwrap().key());
        let (again, affinity, drawn) = enter(&world, EDGE, &cookie, [99; 16]);
        assert_eq!(again, first);
        assert_eq!((drawn, affinity.is_by_cookie), (0, true));
        assert!(affinity.issued.is_none());
        seen.insert(format!("{first:?}"));
    }
    assert_eq!(seen.len(), 9, "each lane and the base of one group beside each of the other");
}

#[test]
fn a_lane_that_is_paused_is_drawn_by_what_was_issued_as_ever() {
    let spec = group("trade", vec![issued(3000, "place"), issued(2500, "place")]);
    let mut paused = spec.clone();
    paused.lanes[0].paused = true;
    let (world, paused) = (world(vec![spec]), world(vec![paused]));
    let lane = |of: &World, cookie: &str| {
        enter(of, EDGE, cookie, [0; 16]).0.members().first().and_then(|it| it.lane)
    };
    let mut seen = BTreeSet::new();
    for number in 0..100_u8 {
        // Who first comes while it is paused is at the same place once it is not.
        let (first, affinity, _) = enter(&paused, EDGE, "", [number; 16]);
        let cookie = format!("place={}", affinity.issued.unwrap().key());
        let (meanwhile, after) = (lane(&paused, &cookie), lane(&world, &cookie));
        assert_eq!(first.members()[0].lane, meanwhile);
        assert_eq!(meanwhile, after.filter(|lane| *lane != 0));
        seen.insert(after);
    }
    assert_eq!(seen.len(), 3, "both lanes and base");
}

#[test]
fn what_is_there_is_a_key_and_never_replaced() {
    let world = world(vec![group("trade", vec![issued(5000, "place")])]);
    for bad in ["", "other=1", "place=", "place", "place=; place="] {
        let (_, affinity, _) = enter(&world, EDGE, bad, [7; 16]);
        assert_eq!(names(&affinity), ["place"], "{bad}");
    }
    // Such as an application's signed session, of which there are long ones.
    let long = format!("place={}", "a".repeat(4000));
    for good in ["place=1", "place=user%201", "place=%00", "place=%ff", "place=; place=1", &long] {
        let (_, affinity, drawn) = enter(&world, EDGE, good, [7; 16]);
        assert!(affinity.is_by_cookie && affinity.issued.is_none() && drawn == 0, "{good}");
    }
    // What lies in the way is passed over, or its browser would be drawn anew for good.
    let place = |cookies| enter(&world, EDGE, cookies, [7; 16]).0;
    assert_eq!(place("place=; place=user-1"), place("place=user-1"));
}

#[test]
fn nothing_is_issued_where_a_browser_would_not_have_sent_what_it_has() {
    let of = |same_site| Issue {
        same_site,
        path: "/shop".into(),
        secure: Some(true),
        ..Issue::default()
    };
    let link = "cross-site navigate document";
    for (same_site, method, path, fetch, is_issued) in [
        (SameSite::Lax, "GET", "/shop", "", true),
        (SameSite::Lax, "GET", "/shop/a", "same-origin cors empty", true),
        (SameSite::Lax, "GET", "/", "", false),
        (SameSite::Lax, "GET", "/shopping", "", false),
        (SameSite::Lax, "GET", "/shop", link, true),
        (SameSite::Lax, "POST", "/shop", link, false),
        (SameSite::Lax, "GET", "/shop", "cross-site navigate iframe", false),
        (SameSite::Lax, "GET", "/shop", "cross-site no-cors image", false),
        (SameSite::Strict, "GET", "/shop", link, false),
        (SameSite::Strict, "GET", "/shop", "none navigate document", true),
        (SameSite::Strict, "POST", "/shop", "same-site navigate document", true),
        (SameSite::None, "POST", "/shop", "cross-site navigate iframe", true),
    ] {
        let sticky_by = Some(Parameter::Cookie("place".into()));
        let issue = Some(of(same_site));
        let entry = Entry::Ratio { percent_hundredths: 5000, sticky_by, issue };
        let world = world(vec![group("trade", vec![entry])]);
        let names = ["sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest"];
        let headers = names.into_iter().zip(fetch.split_whitespace());
        let headers = headers.map(|(name, value)| (name.into(), value.into())).collect();
        let request = Call { method: method.into(), path: path.into(), headers, ..Call::default() };
        let mut context = Context::default();
        let mut random = || [7; 16];
        let affinity = world.snapshot.enter(EDGE, &request, &mut random, &mut context, &mut ());
        let case = format!("{same_site:?} {method} {path} {fetch}");
        assert_eq!(affinity.issued.is_some(), is_issued, "{case}");
        // Caches are told in any case, and a place is drawn.
        assert!(affinity.is_by_cookie && !context.members().is_empty(), "{case}");
    }
}

#[test]
fn lanes_that_are_not_looked_at_issue_nothing() {
    let by_header = Entry::Ratio {
        percent_hundredths: 0,
        sticky_by: Some(Parameter::Header("uid".into())),
        issue: None,
    };
    let lanes = vec![by_header, issued(10_000, "first"), issued(0, "second")];
    let world = world(vec![group("trade", lanes)]);
    let (_, affinity, _) = enter(&world, EDGE, "", [7; 16]);
    assert_eq!(names(&affinity), ["first"]);
    // Carried already.
    let mut context = Context::default();
    context.add(lanes::Member { group: 0, lane: None });
    let mut random = || panic!("drawn");
    let request = Call::default();
    let affinity = world.snapshot.enter(EDGE, &request, &mut random, &mut context, &mut ());
    assert!(!affinity.is_by_cookie && affinity.issued.is_none());
    let nowhere = Entrance::Gateway { gateway: "other", route: None };
    let (_, affinity, drawn) = enter(&world, nowhere, "", [7; 16]);
    assert!(!affinity.is_by_cookie && affinity.issued.is_none() && drawn == 0);
}

#[test]
fn applications_issue_nothing() {
    let world = world(vec![group("trade", vec![issued(5000, "place")])]);
    let (_, affinity, drawn) = enter(&world, Entrance::Application("front"), "", [7; 16]);
    assert!(!affinity.is_by_cookie && affinity.issued.is_none() && drawn == 1);
    // With a key it is the same place.
    for key in 0..100 {
        let cookie = format!("place={key}");
        let (at_application, ..) = enter(&world, Entrance::Application("front"), &cookie, [7; 16]);
        assert_eq!(at_application, enter(&world, EDGE, &cookie, [7; 16]).0);
    }
}
