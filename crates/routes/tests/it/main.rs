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

/// SkyWalking's agents begin a trace of their own where a request has none: an application whose calls are told apart by
/// theirs alone is given one, in which it goes on.
#[test]
fn a_trace_of_skywalkings_begins_where_a_request_enters() {
    const OWN: &str = "1-YWJjLjEuMg==-c2Vn-0-YQ==-aQ==-L2E=-cA==";
    let sent_on = |names: &[&str], is_trusted: bool| {
        let correlation = CorrelationHeaders::new(names.iter().copied()).unwrap();
        let forwarded = Forwarded::Appended { trusted_hops: 0 };
        let (merge_slashes, scheme, correlation) = (true, "http", &correlation);
        let policy = Policy { is_trusted, forwarded, merge_slashes, scheme, correlation };
        let snapshot = Snapshot::new(Vec::new(), Directory::new(true));
        let request = [("Host", "shop"), ("sw8", OWN), ("X-Request-Id", "7")];
        let mut head = TextHead::read("GET", "/a", request).unwrap();
        let peer = IpAddr::from([127, 0, 0, 1]);
        entrance::believe(&mut head, peer, policy);
        let context = policy.context(&snapshot, &head);
        let mut written = Written::default();
        let decided = Decided { snapshot: &snapshot, context: &context, peer };
        entrance::write(&mut head, policy, decided, || [7; 16], &mut written);
        let ids = correlation.ids(&head, &written);
        let ids: Vec<_> = ids.iter().map(|id| String::from_utf8(id.to_vec()).unwrap()).collect();
        let values = fields(&head.sent(&written, &Edits::NONE))
            .filter(|(name, _)| *name == "sw8")
            .map(|(_, value)| value.to_owned())
            .collect::<Vec<_>>();
        (values, ids)
    };
    let digits = "07".repeat(16);
    // A stranger's is replaced by one of the same digits as the other ids.
    let (values, ids) = sent_on(&["sw8", "traceparent"], false);
    assert!(values.len() == 1 && values[0] != OWN, "{values:?}");
    assert_eq!(ids, [digits.clone(), digits]);
    let (values, ids) = sent_on(&["sw8"], true);
    assert_eq!((values, ids), (vec![OWN.to_owned()], vec!["abc.1.2".to_owned()]));
    // Nobody who does not ask for it gets it.
    assert_eq!(sent_on(&["traceparent"], false).0, Vec::<String>::new());
}

/// Names and values of what goes on.
fn fields<'h>(sent: &'h TextHead<'_>) -> impl Iterator<Item = (&'h str, &'h str)> {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    Fields::kept(sent).map(move |field| (text(field.written), text(field.value)))
}
