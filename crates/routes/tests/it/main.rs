//! The case file of the entrance, read by the pure functions alone.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{net::IpAddr, sync::Arc};

use lanes::{Directory, Entrance, Group, Snapshot, group::EntranceSpec};
use routes::{
    Edits,
    entrance::{
        self, CorrelationHeaders, Decided, Fields, Forwarded, Name, Policy, TextHead, Written,
        drop_hop_by_hop, drop_underscored,
    },
};
use testkit::entrance_cases::{self, Application, Case};

#[test]
fn every_case_holds() {
    for case in entrance_cases::all() {
        check(&case);
    }
}

fn check(case: &Case) {
    let correlation = CorrelationHeaders::default();
    let policy = match case.at.application {
        Some(at) => Policy::of_application(at == Application::Edge, &correlation),
        None => Policy {
            is_trusted: case.at.trusted,
            forwarded: Forwarded::Appended { trusted_hops: case.at.trusted_hops },
            merge_slashes: true,
            scheme: "http",
            correlation: &correlation,
        },
    };
    let (spec, entrance) = match case.at.application {
        Some(at) => {
            let edge = at == Application::Edge;
            (EntranceSpec::Application { name: "a".to_owned(), edge }, Entrance::Application("a"))
        }
        None => (
            EntranceSpec::Gateway { name: "edge".to_owned(), routes: None },
            Entrance::Gateway { gateway: "edge", route: None },
        ),
    };
    let groups = case.groups(&spec).into_iter().map(|spec| Arc::new(Group::compile(spec).unwrap()));
    let snapshot = Snapshot::new(groups.collect(), Directory::new(true));

    let mut head = TextHead::read("GET", "/a", case.request_fields()).unwrap();
    if policy.is_gateway() {
        drop_underscored(&mut head);
    }
    drop_hop_by_hop(&mut head);
    let peer = IpAddr::from([127, 0, 0, 1]);
    let seen = entrance::believe(&mut head, peer, policy).seen(&head);
    let mut context = policy.context(&snapshot, &head);
    snapshot.enter(entrance, &seen, &mut || [7; 16], &mut context, &mut ());
    let mut written = Written::default();
    entrance::write_host(&mut head, None, "sc-A", &mut written);
    let decided = Decided { snapshot: &snapshot, context: &context, peer };
    entrance::write(&mut head, policy, decided, || [7; 16], &mut written);

    assert!(written.value(Name::Host).is_none(), "{}: the Host that came goes on", case.name);
    case.check_sent(fields(&head.sent(&written, &Edits::NONE)));
}

#[test]
fn every_case_holds_where_an_application_calls_others() {
    for case in entrance_cases::all() {
        let mut head = TextHead::read("GET", "/a", case.request_fields()).unwrap();
        drop_hop_by_hop(&mut head);
        let mut written = Written::default();
        entrance::write_host(&mut head, None, "", &mut written);
        entrance::write_restored(&mut head, &[], &mut written);
        case.check_outbound(fields(&head.sent(&written, &Edits::NONE)));
    }
}

/// Names and values of what goes on.
fn fields<'h>(sent: &'h TextHead<'_>) -> impl Iterator<Item = (&'h str, &'h str)> {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    Fields::kept(sent).map(move |field| (text(field.written), text(field.value)))
}
