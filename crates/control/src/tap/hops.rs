//! What several data planes tell of one request, as one request with its hops. Pure: it is handed all there is.
//!
//! A hop is told by up to two: its caller's side (a gateway, the sidecar of the caller) and the sidecar of who was called. What
//! a sidecar's application called while it served a call was called because of that: both are times of one clock.

use std::time::{Duration, UNIX_EPOCH};

use api::{
    discovery::v1::{TappedRequest as Record, TrafficOutcome, TrafficRole},
    rest::{TappedHop, TappedRequest},
    time::rfc3339_millis,
};

use super::Told;

/// One call, as far as it is told.
struct Call<'t> {
    /// By whoever tells more of it: its caller, or else who was called.
    told: &'t Told,
    by_caller: Option<&'t Told>,
    by_called: Option<&'t Told>,
}

impl<'t> Call<'t> {
    fn record(&self) -> &'t Record {
        &self.told.request
    }

    /// Who was called, and of which tag.
    fn called(&self) -> (&'t str, &'t str) {
        match (self.by_called, self.by_caller) {
            (Some(called), _) => (&called.teller.name, &called.teller.tag),
            (None, Some(caller)) => (&caller.request.application, &caller.request.tag),
            (None, None) => ("", ""),
        }
    }
}

/// Puts them together.
pub(super) fn together<'t>(records: impl IntoIterator<Item = &'t Told> + Clone) -> TappedRequest {
    let calls = calls(records.clone());
    let parents: Vec<Option<usize>> = (0..calls.len()).map(|at| parent(&calls, at)).collect();
    let first = calls.iter().map(|call| call.record().started_us).min().unwrap_or_default();
    let mut hops = Vec::with_capacity(calls.len());
    let mut is_told = vec![false; calls.len()];
    let mut told = |from: usize, hops: &mut Vec<TappedHop>| {
        let mut next = vec![(from, 0)];
        while let Some((at, depth)) = next.pop() {
            if std::mem::replace(&mut is_told[at], true) {
                continue;
            }
            hops.push(hop(&calls[at], depth, first));
            let children = (0..calls.len()).rev().filter(|child| parents[*child] == Some(at));
            next.extend(children.map(|child| (child, depth + 1)));
        }
    };
    (0..calls.len()).filter(|at| parents[*at].is_none()).for_each(|at| told(at, &mut hops));
    // Whose callers go round.
    (0..calls.len()).for_each(|at| told(at, &mut hops));
    let mut lanes: Vec<String> = hops.iter().flat_map(|hop| hop.lanes.clone()).collect();
    lanes.sort();
    lanes.dedup();
    let ids = records.into_iter().flat_map(|told| &told.request.ids);
    let begun = UNIX_EPOCH + Duration::from_micros(first);
    let outermost = hops.first().cloned().unwrap_or_default();
    TappedRequest {
        id: ids.max_by_key(|id| is_trace(id)).cloned().unwrap_or_default(),
        time: rfc3339_millis(begun),
        method: outermost.method,
        host: outermost.host,
        path: outermost.path,
        lanes,
        status: outermost.status,
        duration_ms: outermost.duration_ms,
        hops,
    }
}

/// Records, the two of one call together; gateways' first, then by when they began.
fn calls<'t>(records: impl IntoIterator<Item = &'t Told>) -> Vec<Call<'t>> {
    let mut sorted: Vec<&Told> = records.into_iter().collect();
    sorted.sort_by_key(|told| (!told.teller.is_gateway, told.request.started_us));
    let (called, callers): (Vec<&Told>, Vec<&Told>) =
        sorted.into_iter().partition(|told| told.request.role() == TrafficRole::Inbound);
    let mut calls: Vec<Call<'_>> = callers
        .into_iter()
        .map(|told| Call { told, by_caller: Some(told), by_called: None })
        .collect();
    for told in called {
        let free = calls.iter_mut().filter(|call| call.by_called.is_none());
        let fitting = free.filter_map(|call| {
            let caller = call.by_caller?;
            is_call_of(&caller.request, told).then(|| (unlikeness(&caller.request, told), call))
        });
        // Of those that fit alike the first.
        match fitting.min_by_key(|(unlikeness, _)| *unlikeness) {
            Some((_, call)) => call.by_called = Some(told),
            None => calls.push(Call { told, by_caller: None, by_called: Some(told) }),
        }
    }
    calls
}

/// Whether what a caller tells may be of what was served there.
fn is_call_of(caller: &Record, served: &Told) -> bool {
    let Record { application, tag, service, instance, .. } = caller;
    !instance.is_empty()
        && !is_unanswered(caller)
        && (&**application, &**tag) == (&*served.teller.name, &*served.teller.tag)
        && (service.is_empty()
            || served.request.service.is_empty()
            || service.eq_ignore_ascii_case(&served.request.service))
}

/// Whether its caller's data plane itself answered, in the stead of an instance: whoever served meanwhile is likelier to have
/// served a later try.
fn is_unanswered(caller: &Record) -> bool {
    caller.outcome() == TrafficOutcome::Failed && !caller.reason.is_empty()
}

/// By how much two that may be of one call differ, what says most first: the instance, as far as it is known, the status, and
/// whether it was served for longer than its caller waited.
fn unlikeness(caller: &Record, served: &Told) -> (bool, bool, bool) {
    let addresses = &served.teller.addresses;
    let is_other = !addresses.is_empty() && !addresses.iter().any(|it| **it == *caller.instance);
    let Record { status, duration_us, .. } = served.request;
    (is_other, status != caller.status, duration_us > caller.duration_us)
}

/// The call because of which another was made.
fn parent(calls: &[Call<'_>], at: usize) -> Option<usize> {
    let caller = calls[at].by_caller.filter(|told| !told.teller.is_gateway)?;
    let begun = caller.request.started_us;
    let others = || calls.iter().enumerate().filter(|(other, _)| *other != at);
    let serves = |call: &Call<'_>| {
        let served = call.by_called.filter(|it| it.teller.node == caller.teller.node)?;
        let Record { started_us, duration_us, .. } = served.request;
        (started_us <= begun && begun <= started_us.saturating_add(duration_us))
            .then_some(started_us)
    };
    // Of several the one that began last.
    let within = others().filter_map(|(other, call)| Some((serves(call)?, other))).max();
    // Its own sidecar has not told of what it served.
    let named = || {
        let own = (&*caller.teller.name, &*caller.teller.tag);
        others().find(|(_, call)| {
            call.by_called.is_none() && call.called() == own && !is_unanswered(call.record())
        })
    };
    within.map(|(_, other)| other).or_else(|| named().map(|(other, _)| other))
}

fn hop(call: &Call<'_>, depth: u32, first_us: u64) -> TappedHop {
    let record = call.record();
    let (application, tag) = call.called();
    let caller = call.by_caller.map(|told| &told.teller);
    let served = call.by_called.map(|told| &told.request);
    let reason = [Some(record), served].into_iter().flatten().map(|it| &it.reason);
    let lanes = record.lanes.iter().filter(|it| !it.lane.is_empty());
    TappedHop {
        depth,
        caller: caller.map(|it| it.name.to_string()).unwrap_or_default(),
        caller_tag: caller.map(|it| it.tag.to_string()).unwrap_or_default(),
        by_gateway: caller.is_some_and(|it| it.is_gateway),
        application: application.to_owned(),
        service: record.service.clone(),
        route: record.route.clone(),
        instance: record.instance.clone(),
        tag: tag.to_owned(),
        lanes: lanes.map(|it| format!("{}/{}", it.group, it.lane)).collect(),
        outcome: outcome(record.outcome()).to_owned(),
        status: u16::try_from(record.status).unwrap_or_default(),
        reason: reason.max_by_key(|reason| !reason.is_empty()).cloned().unwrap_or_default(),
        method: record.method.clone(),
        host: record.host.clone(),
        path: record.path.clone(),
        offset_ms: milliseconds(record.started_us.saturating_sub(first_us)),
        duration_ms: milliseconds(record.duration_us),
        served_ms: served.map(|it| milliseconds(it.duration_us)),
    }
}

fn outcome(outcome: TrafficOutcome) -> &'static str {
    match outcome {
        TrafficOutcome::Lane => "lane",
        TrafficOutcome::Fallback => "fallback",
        TrafficOutcome::Base => "base",
        TrafficOutcome::Denied => "denied",
        TrafficOutcome::Cut => "cut",
        TrafficOutcome::Failed | TrafficOutcome::Unspecified => "failed",
    }
}

fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e3
}

/// Whether an id is one of a trace: people find it elsewhere.
fn is_trace(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use api::discovery::v1::TappedLane;

    use super::{super::Teller, *};

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    /// Told by `GATEWAY` or `application[:tag]` of a record of `to[:tag]`, from then on for so long, in milliseconds.
    fn told(
        by: &str,
        role: TrafficRole,
        to: &str,
        outcome: TrafficOutcome,
        (from, long): (u64, u64),
    ) -> Told {
        let (name, tag) = by.split_once(':').unwrap_or((by, ""));
        let teller = Teller {
            is_gateway: role == TrafficRole::Gateway,
            name: name.into(),
            tag: tag.into(),
            node: by.into(),
            addresses: Box::default(),
        };
        let (application, tag) = to.split_once(':').unwrap_or((to, ""));
        let lane = TappedLane { group: "trade".to_owned(), lane: "gray".to_owned() };
        let request = Record {
            role: role.into(),
            started_us: from * 1_000,
            duration_us: long * 1_000,
            method: "GET".to_owned(),
            path: format!("/{application}"),
            outcome: outcome.into(),
            status: 200,
            application: application.to_owned(),
            service: format!("sc-{application}"),
            instance: "127.0.0.1:80".to_owned(),
            tag: tag.to_owned(),
            lanes: vec![lane],
            ids: vec!["r-1".to_owned(), TRACE.to_owned()],
            ..Record::default()
        };
        Told { teller: Arc::new(teller), taps: Arc::default(), request }
    }

    fn shown(request: &TappedRequest) -> Vec<String> {
        let hop = |hop: &TappedHop| {
            let tag = if hop.tag.is_empty() { "base" } else { &hop.tag };
            let served = if hop.served_ms.is_some() { "" } else { " unseen" };
            let indent = " ".repeat(hop.depth as usize);
            format!("{indent}{}>{} {tag} {}{served}", hop.caller, hop.application, hop.outcome)
        };
        request.hops.iter().map(hop).collect()
    }

    use TrafficOutcome::{Base, Fallback, Lane};
    use TrafficRole::{Gateway, Inbound, Outbound};

    #[test]
    fn three_hops_of_which_one_fell_back() {
        // As they end, the innermost first; the clocks of B and C are hours apart from A's.
        let records = [
            told("c:gray", Inbound, "c", Lane, (9_000_000, 3)),
            told("b", Outbound, "c:gray", Lane, (5_002, 5)),
            told("b", Inbound, "b", Fallback, (5_000, 9)),
            told("a:gray", Outbound, "b", Fallback, (102, 11)),
            told("a:gray", Inbound, "a", Lane, (100, 15)),
            told("edge", Gateway, "a:gray", Lane, (98, 19)),
        ];
        let request = together(&records);
        assert_eq!(shown(&request), ["edge>a gray lane", " a>b base fallback", "  b>c gray lane"]);
        assert_eq!((request.id.as_str(), request.path.as_str()), (TRACE, "/a"));
        assert_eq!((request.duration_ms, request.hops[0].served_ms), (19.0, Some(15.0)));
        assert_eq!(request.lanes, ["trade/gray"]);
        assert_eq!(request.time, "1970-01-01T00:00:00.098Z");
    }

    #[test]
    fn what_is_missing_leaves_the_rest_where_it_is() {
        let all = [
            told("edge", Gateway, "a:gray", Lane, (98, 19)),
            told("a:gray", Inbound, "a", Lane, (100, 15)),
            told("a:gray", Outbound, "b", Fallback, (102, 11)),
            told("b", Inbound, "b", Fallback, (5_000, 9)),
            told("b", Outbound, "c:gray", Lane, (5_002, 5)),
        ];
        let whole = ["edge>a gray lane", " a>b base fallback", "  b>c gray lane unseen"];
        assert_eq!(shown(&together(&all)), whole);
        // A's inbound side is missing: what it called is known to be its.
        let without: Vec<Told> = all
            .iter()
            .filter(|it| !(&*it.teller.name == "a" && it.request.role() == Inbound))
            .cloned()
            .collect();
        let shown_without =
            ["edge>a gray lane unseen", " a>b base fallback", "  b>c gray lane unseen"];
        assert_eq!(shown(&together(&without)), shown_without);
        // Of the gateway nothing is told.
        assert_eq!(
            shown(&together(&all[1..])),
            [">a gray lane", " a>b base fallback", "  b>c gray lane unseen"].map(str::to_owned)
        );
        assert_eq!(together(&[]).hops.len(), 0);
    }

    #[test]
    fn what_was_served_is_of_the_call_that_was_answered() {
        let mut failed = told("a", Outbound, "b", TrafficOutcome::Failed, (10, 1));
        (failed.request.status, failed.request.reason) = (502, "cannot connect".to_owned());
        let records = [
            told("edge", Gateway, "a", Base, (0, 100)),
            told("a", Inbound, "a", Base, (1, 98)),
            failed,
            told("a", Outbound, "b", Base, (30, 10)),
            told("b", Inbound, "b", Base, (31, 8)),
            told("b", Outbound, "c", Base, (32, 2)),
        ];
        let expected = [
            "edge>a base base",
            " a>b base failed unseen",
            " a>b base base",
            "  b>c base base unseen",
        ];
        assert_eq!(shown(&together(&records)), expected);
    }

    #[test]
    fn of_calls_side_by_side_each_is_of_its_instance() {
        let node = |mut it: Told, address: &str| {
            let Teller { name, .. } = &*it.teller;
            let (name, node, addresses) =
                (name.clone(), address.into(), Box::from([Box::from(address)]));
            let tag = "".into();
            it.teller = Arc::new(Teller { is_gateway: false, name, tag, node, addresses });
            it
        };
        let to = |mut it: Told, address: &str| {
            address.clone_into(&mut it.request.instance);
            it
        };
        let (first, second) = ("127.0.0.1:12", "127.0.0.1:13");
        let records = [
            told("edge", Gateway, "a", Base, (0, 100)),
            told("a", Inbound, "a", Base, (1, 98)),
            to(told("a", Outbound, "b", Base, (10, 50)), first),
            to(told("a", Outbound, "b", Base, (11, 50)), second),
            // The clock of the second's node is behind.
            node(told("b", Inbound, "b", Base, (5, 48)), second),
            node(told("b", Inbound, "b", Base, (12, 47)), first),
            node(told("b", Outbound, "c", Base, (6, 2)), second),
        ];
        let request = together(&records);
        let served =
            request.hops.iter().map(|hop| (&*hop.application, &*hop.instance, hop.served_ms));
        assert_eq!(
            served.collect::<Vec<_>>()[1..],
            [("b", first, Some(47.0)), ("b", second, Some(48.0)), ("c", "127.0.0.1:80", None),]
        );
    }

    #[test]
    fn calls_side_by_side_and_again_are_told_apart() {
        let records = [
            told("edge", Gateway, "a", Base, (0, 100)),
            told("a", Inbound, "a", Base, (1, 98)),
            told("a", Outbound, "b", Base, (10, 10)),
            told("b", Inbound, "b", Base, (11, 8)),
            told("a", Outbound, "b", Base, (30, 10)),
            told("b", Inbound, "b", Base, (31, 8)),
            told("a", Outbound, "a", Base, (50, 40)),
            told("a", Inbound, "a", Base, (51, 38)),
            told("a", Outbound, "c", Base, (60, 10)),
        ];
        let expected = [
            "edge>a base base",
            " a>b base base",
            " a>b base base",
            " a>a base base",
            "  a>c base base unseen",
        ];
        assert_eq!(shown(&together(&records)), expected);
    }
}
