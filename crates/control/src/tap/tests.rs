//! Taps without data planes and watchers: what is ordered, told, weighed, believed.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn wanted(tag: &str, rate: u32) -> Wanted {
    let members = ["a", "b"].map(str::to_owned).into();
    let (group, tag) = ("trade".to_owned(), tag.to_owned());
    let key = Key::new(api::resource::Kind::LaneGroup, "default", "trade");
    Wanted { group, key, tag, lane: None, members, application: None, rate, user: None }
}

fn teller(node: &str) -> Arc<Teller> {
    let hello = v1::Hello {
        node: node.to_owned(),
        role: v1::Role::Gateway.into(),
        name: "edge".to_owned(),
        capabilities: vec![CAPABILITY.to_owned()],
        ..v1::Hello::default()
    };
    Arc::new(Teller::of(&hello, Box::default()).unwrap())
}

fn request(id: &str, lane: &str) -> v1::TappedRequest {
    let lanes = match lane {
        "" => Vec::new(),
        lane => vec![v1::TappedLane { group: "trade".to_owned(), lane: lane.to_owned() }],
    };
    v1::TappedRequest {
        role: TrafficRole::Gateway.into(),
        application: "a".to_owned(),
        ids: vec![id.to_owned()],
        lanes,
        ..v1::TappedRequest::default()
    }
}

fn requests(all: impl IntoIterator<Item = v1::TappedRequest>) -> v1::Tapped {
    v1::Tapped { requests: all.into_iter().collect(), counts: Vec::new() }
}

fn counted(matched: u32, dropped: u32) -> v1::Tapped {
    let (group, lane) = ("trade".to_owned(), "gray".to_owned());
    let count = v1::TapCount { group, lane, matched, dropped };
    v1::Tapped { requests: Vec::new(), counts: vec![count] }
}

fn ids(watching: &mut Watching) -> Vec<String> {
    let lines = std::iter::from_fn(|| watching.lines.try_recv().ok());
    lines.filter_map(|line| Some(line.request?.id)).collect()
}

/// All that is watched, as it is told to whoever has every group.
fn all(taps: &Taps) -> Arc<[Lane]> {
    Lane::all_of(&taps.orders.borrow().of(|_| true))
}

fn shares(taps: &Taps) -> Vec<u32> {
    taps.orders.borrow().taps.iter().map(|tap| tap.share).collect()
}

#[test]
fn what_is_watched_is_over_when_its_watcher_has_gone() {
    let (taps, start) = (Arc::new(Taps::default()), Instant::now());
    let mut orders = taps.orders();
    let (watching, needs_time) = taps.watch(wanted("gray", 20), 1, start).unwrap();
    assert!(needs_time && orders.has_changed().unwrap());
    let told = orders.borrow_and_update().of(|group| group == "trade");
    assert_eq!((told.taps.len(), told.taps[0].share, told.lease_ms), (1, u32::MAX, 30_000));
    assert_eq!(orders.borrow().of(|group| group == "other"), v1::Taps::default());
    // Another of the same lane is nothing to data planes that would not be told more.
    let (other, needs_time) = taps.watch(wanted("gray", 1), 1, start).unwrap();
    assert!(!needs_time);
    drop(watching);
    assert_eq!(shares(&taps), [u32::MAX]);
    drop(other);
    assert_eq!(shares(&taps), [0u32; 0]);
    assert!(!taps.advance(start, |_| (1, 0)), "nobody need let time pass");
}

#[test]
fn data_planes_are_told_again_before_their_lease_is_over() {
    let (taps, start) = (Arc::new(Taps::default()), Instant::now());
    let _watching = taps.watch(wanted("gray", 20), 1, start).unwrap();
    let mut orders = taps.orders();
    assert!(taps.advance(start + RENEWED_EVERY - SECOND / 10, |_| (1, 0)));
    assert!(!orders.has_changed().unwrap());
    assert!(taps.advance(start + RENEWED_EVERY, |_| (1, 0)));
    assert!(orders.has_changed().unwrap());
    orders.mark_unchanged();
    assert!(RENEWED_EVERY * 2 < LEASE);
}

#[test]
fn a_watcher_is_told_what_it_watches_and_no_more() {
    let (taps, start) = (Arc::new(Taps::default()), Instant::now());
    let mut gray = taps.watch(wanted("gray", 20), 1, start).unwrap().0;
    let mut base = taps.watch(wanted("", 20), 1, start).unwrap().0;
    let only_b = Wanted { application: Some("b".to_owned()), ..wanted("gray", 20) };
    let mut only_b = taps.watch(only_b, 1, start).unwrap().0;
    let to_b = v1::TappedRequest { application: "b".to_owned(), ..request("3", "gray") };
    let of_others = v1::TappedRequest { application: "x".to_owned(), ..request("5", "") };
    let told = [request("1", "gray"), request("2", ""), to_b, request("4", "blue"), of_others];
    taps.take(&teller("n"), &all(&taps), requests(told), start);
    taps.advance(start + SECOND, |_| (1, 0));
    assert_eq!(ids(&mut gray), ["1", "3"]);
    assert_eq!(ids(&mut base), ["2"]);
    assert_eq!(ids(&mut only_b), ["3"]);
}

#[test]
fn words_count_of_what_their_teller_was_told_to_tap_alone() {
    let (taps, start) = (Arc::new(Taps::default()), Instant::now());
    let mut gray = taps.watch(wanted("gray", 20), 1, start).unwrap().0;
    let mut base = taps.watch(wanted("", 20), 1, start).unwrap().0;
    let peek = Wanted { group: "peek".to_owned(), ..wanted("gray", 20) };
    let mut peek = taps.watch(peek, 1, start).unwrap().0;
    let mut peek_base = Wanted { group: "peek".to_owned(), ..wanted("", 20) };
    peek_base.members = vec!["a".to_owned()];
    let mut peek_base = taps.watch(peek_base, 1, start).unwrap().0;
    let of_peek = Lane::all_of(&taps.orders.borrow().of(|group| group == "peek"));
    let in_peek = |mut request: v1::TappedRequest| {
        let (group, lane) = ("peek".to_owned(), "gray".to_owned());
        request.lanes.push(v1::TappedLane { group, lane });
        request
    };
    let forged = [
        request("1", "gray"),
        in_peek(request("2", "gray")),
        request("3", ""),
        in_peek(request("4", "")),
        // A hop of a request that others tell of.
        request("5", "gray"),
    ];
    taps.take(&teller("z"), &of_peek, requests(forged), start);
    taps.take(&teller("z"), &of_peek, counted(u32::MAX, 9), start);
    taps.take(&teller("n"), &all(&taps), requests([request("5", "gray")]), start);
    taps.advance(start + SECOND, |_| (1, 0));
    assert_eq!(shares(&taps), [u32::MAX; 4]);
    let shown = std::iter::from_fn(|| gray.lines.try_recv().ok()).filter_map(|it| it.request);
    let shown = shown.map(|it| (it.id, it.hops.len())).collect::<Vec<_>>();
    assert_eq!(shown, [("5".to_owned(), 1)]);
    assert_eq!(ids(&mut base), [""; 0]);
    assert_eq!(ids(&mut peek), ["2", "4"]);
    assert_eq!(ids(&mut peek_base), ["1", "3", "5"]);
    // What is of nothing that it was told takes no room.
    taps.take(
        &teller("x"),
        &Lane::all_of(&v1::Taps::default()),
        requests([request("6", "gray")]),
        start,
    );
    assert!(taps.state.lock().table.take_due(start + SECOND * 60).is_empty());
}

#[test]
fn how_much_is_told_is_told_when_it_changes() {
    let (taps, start) = (Arc::new(Taps::default()), Instant::now());
    let mut watching = taps.watch(wanted("gray", 20), 1, start).unwrap().0;
    let mut status = |now, can| {
        taps.advance(now, |_| can);
        let lines = std::iter::from_fn(|| watching.lines.try_recv().ok());
        lines.filter_map(|line| line.status).last()
    };
    let first = status(start, (3, 1)).unwrap();
    assert_eq!((first.share, first.data_planes, first.silent_data_planes), (1.0, 3, 1));
    assert_eq!(status(start + SECOND, (3, 1)), None);
    taps.take(&teller("n"), &all(&taps), counted(10, 4), start);
    let then = status(start + SECOND * 2, (3, 1)).unwrap();
    assert_eq!((then.dropped, then.missed), (4, 0));
    // More than one data plane has room for.
    for part in 0..4 {
        let many = (0..1_000).map(|id| request(&format!("{part}-{id}"), "gray"));
        taps.take(&teller("z"), &all(&taps), requests(many), start + SECOND * 2);
    }
    let other = requests([request("other", "gray")]);
    taps.take(&teller("n"), &all(&taps), other, start + SECOND * 2);
    let spoilt = status(start + SECOND * 3, (3, 1)).unwrap();
    assert_eq!(spoilt.excess, 4_000 - 2_048);
    assert_eq!(spoilt.excess_of, format!("{} (z)", teller("z").name));
}

#[test]
fn whoever_is_asked_for_data_planes_may_hold_a_lock_of_his_own() {
    let (taps, start) = (Arc::new(Taps::default()), Instant::now());
    let _watching = taps.watch(wanted("gray", 20), 1, start).unwrap();
    let asked = std::cell::Cell::new(0);
    for second in 0..3 {
        taps.advance(start + SECOND * second, |_| {
            assert!(!taps.state.is_locked(), "who measures has that lock, and waits for this one");
            asked.set(asked.get() + 1);
            (1, 0)
        });
    }
    assert_eq!(asked.get(), 3);
}

#[test]
fn the_share_follows_what_passes() {
    let (taps, start) = (Arc::new(Taps::default()), Instant::now());
    let _watching = taps.watch(wanted("gray", 10), 1, start).unwrap();
    let per_second = taps.orders.borrow().per_second_max;
    assert_eq!(per_second, 60);
    let mut now = start;
    // What passes is 6 000 records a second at one of two data planes, of which as many are told as its share says.
    for _ in 0..8 {
        let share = f64::from(shares(&taps)[0]) / f64::from(u32::MAX);
        let matched = (6_000.0 * share) as u32;
        taps.take(
            &teller("busy"),
            &all(&taps),
            counted(matched, matched.saturating_sub(per_second)),
            now,
        );
        taps.take(&teller("idle"), &all(&taps), counted(1, 0), now);
        now += SECOND;
        taps.advance(now, |_| (2, 0));
    }
    let share = f64::from(shares(&taps)[0]) / f64::from(u32::MAX);
    assert!((0.005..=0.0101).contains(&share), "{share}");
    for _ in 0..8 {
        now += SECOND;
        taps.advance(now, |_| (2, 0));
    }
    assert_eq!(shares(&taps), [u32::MAX], "all of what is little");
}

#[test]
fn shares_are_weighed_by_requests_and_by_records() {
    assert_eq!(weighed(u32::MAX, (20.0, 20), (50, 100)), u32::MAX);
    assert_eq!(weighed(1 << 30, (40.0, 20), (0, 100)), 1 << 29);
    assert_eq!(weighed(1 << 30, (10.0, 20), (400, 100)), 1 << 28);
    assert_eq!(weighed(1 << 20, (5.0, 20), (0, 100)), 1 << 21);
    assert_eq!(weighed(1 << 20, (0.0, 20), (0, 100)), 1 << 22);
    assert_eq!(weighed(1 << 20, (24.0, 20), (0, 100)), 1 << 20, "for little it stands still");
    assert_eq!(weighed(1, (f64::from(u32::MAX), 1), (0, 100)), 1);
}

#[test]
fn where_few_are_asked_for_chance_does_not_make_the_share_nothing() {
    for rate in [1, 2] {
        let (taps, start) = (Arc::new(Taps::default()), Instant::now());
        let mut watching = taps.watch(wanted("gray", rate), 1, start).unwrap().0;
        // A hundred pass in each second, of which a share is told; by chance three times as many in every fourth.
        let (mut now, mut owed, mut shown) = (start, 0.0, 0);
        for second in 0..240_u32 {
            let share = f64::from(shares(&taps)[0]) / f64::from(u32::MAX);
            owed += share * if second % 4 == 0 { 300.0 } else { 33.0 };
            let many = (0..owed as u32).map(|id| request(&format!("{second}-{id}"), "gray"));
            owed = owed.fract();
            taps.take(&teller("n"), &all(&taps), requests(many), now);
            now += SECOND;
            taps.advance(now, |_| (1, 0));
            shown += ids(&mut watching).len();
        }
        assert!(shown > 60, "at {rate} a second, of 240 s: {shown}");
        let many = (0..5_000).map(|id| request(&format!("burst-{id}"), "gray"));
        taps.take(&teller("n"), &all(&taps), requests(many), now);
        for _ in 0..60 {
            now += SECOND;
            taps.advance(now, |_| (1, 0));
            ids(&mut watching);
        }
        assert_eq!(shares(&taps), [u32::MAX], "all of what is little, at {rate} a second");
    }
}

#[test]
fn whoever_does_not_read_does_not_keep_others_out() {
    let (taps, start) = (Arc::new(Taps::default()), Instant::now());
    let _stopped = taps.watch(wanted("gray", 20), 1, start).unwrap().0;
    let mut reads = taps.watch(wanted("blue", 20), 1, start).unwrap().0;
    let mut read = 0;
    for second in 0..UNTAKEN_MAX.as_secs() as u32 {
        assert_eq!(taps.counted().0, 2, "after {second} s");
        let now = start + SECOND * second;
        let told = [request(&format!("g{second}"), "gray"), request(&format!("b{second}"), "blue")];
        taps.take(&teller("n"), &all(&taps), requests(told), now);
        taps.advance(now + SECOND / 2, |_| (1, 0));
        read += ids(&mut reads).len();
    }
    taps.advance(start + UNTAKEN_MAX + SECOND, |_| (1, 0));
    assert_eq!(taps.counted().0, 1);
    let lanes: Vec<String> = taps.orders.borrow().taps.iter().map(|tap| tap.lane.clone()).collect();
    assert_eq!((lanes, read > 20), (vec!["blue".to_owned()], true));
    ids(&mut reads);
    // One that is told nothing has nothing to read.
    taps.advance(start + UNTAKEN_MAX * 9, |_| (1, 0));
    ids(&mut reads);
    taps.advance(start + UNTAKEN_MAX * 19, |_| (1, 0));
    assert_eq!(taps.counted().0, 1);
}

#[test]
fn what_is_no_longer_what_it_was_is_watched_no_more() {
    let (taps, start) = (Arc::new(Taps::default()), Instant::now());
    let mut gray = taps.watch(wanted("gray", 20), 1, start).unwrap().0;
    let mut base = taps.watch(wanted("", 20), 1, start).unwrap().0;
    taps.review(|wanted| {
        assert!(!taps.state.is_locked());
        match wanted.tag.as_str() {
            "gray" => Err("it is gone".to_owned()),
            _ => Ok(vec!["c".to_owned()]),
        }
    });
    let last = gray.lines.try_recv().unwrap();
    assert_eq!((last.kind, last.ended.as_str()), (TapKind::Ended, "it is gone"));
    assert_eq!(gray.lines.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    let lanes: Vec<String> = taps.orders.borrow().taps.iter().map(|tap| tap.lane.clone()).collect();
    assert_eq!(lanes, [""]);
    // Base is what the group's applications by now serve.
    let to_c = v1::TappedRequest { application: "c".to_owned(), ..request("1", "") };
    taps.take(&teller("n"), &all(&taps), requests([to_c, request("2", "")]), start);
    taps.advance(start + SECOND, |_| (1, 0));
    assert_eq!(ids(&mut base), ["1"]);
}

#[test]
fn one_user_leaves_room_for_others() {
    let (taps, start) = (Arc::new(Taps::default()), Instant::now());
    let of = |user: &str| Wanted { user: Some(user.to_owned()), ..wanted("gray", 1) };
    let watch = |user: &str| taps.watch(of(user), 1, start).map(|(watching, _)| watching);
    let mut his: Vec<Watching> = (0..WATCHERS_OF_ONE_MAX).map(|_| watch("bob").unwrap()).collect();
    assert_eq!(watch("bob").unwrap_err(), Crowded::OfOne);
    let _hers = watch("alice").unwrap();
    his.pop();
    assert!(watch("bob").is_ok());
}

#[test]
fn nobody_is_told_more_than_was_asked_for_or_can_wait() {
    let (taps, start) = (Arc::new(Taps::default()), Instant::now());
    let mut watching = taps.watch(wanted("gray", 5), 1, start).unwrap().0;
    let many = (0..9).map(|id| request(&id.to_string(), "gray"));
    taps.take(&teller("n"), &all(&taps), requests(many), start);
    taps.advance(start + SECOND / 2, |_| (1, 0));
    assert_eq!(ids(&mut watching).len(), 5);
    assert_eq!(taps.counted(), (1, 4));
    drop(watching);
    // For one that does not read as much waits as can.
    let watching = taps.watch(wanted("gray", RATE_MAX), 1, start).unwrap().0;
    for second in 1..10 {
        let now = start + SECOND * second;
        let many = (0..RATE_MAX).map(|id| request(&format!("{second}-{id}"), "gray"));
        taps.take(&teller("n"), &all(&taps), requests(many), now);
        taps.advance(now + SECOND / 2, |_| (1, 0));
    }
    assert_eq!(watching.lines.len(), LINES_WAITING_MAX);
    assert!(taps.counted().1 > 4);
}

#[test]
fn as_many_watch_as_may() {
    let (taps, start) = (Arc::new(Taps::default()), Instant::now());
    let mut watching: Vec<Watching> = (0..WATCHERS_MAX)
        .map(|_| taps.watch(wanted("gray", RATE_MAX), 1, start).unwrap().0)
        .collect();
    assert_eq!(taps.watch(wanted("gray", 1), 1, start).unwrap_err(), Crowded::All);
    assert_eq!(taps.orders.borrow().per_second_max, RECORDS_PER_SECOND.1);
    let many = Arc::new(Taps::default());
    let _watching = many.watch(wanted("gray", RATE_MAX), 1_000, start).unwrap();
    assert_eq!(many.orders.borrow().per_second_max, 10, "a thousand tell no more than a few do");
    watching.pop();
    assert!(taps.watch(wanted("gray", 1), 1, start).is_ok());
}

#[test]
fn a_teller_is_believed_of_itself_alone() {
    let sidecar = |name: &str| Teller {
        is_gateway: false,
        name: name.into(),
        tag: "gray".into(),
        node: "n".into(),
        addresses: Box::default(),
    };
    let of = |role: TrafficRole| v1::TappedRequest { role: role.into(), ..request("1", "gray") };
    let inbound = believed(&sidecar("b"), of(TrafficRole::Inbound)).unwrap();
    assert_eq!((inbound.application.as_str(), inbound.tag.as_str()), ("b", "gray"));
    assert_eq!(believed(&sidecar("b"), of(TrafficRole::Gateway)), None);
    assert_eq!(believed(&teller("n"), of(TrafficRole::Outbound)), None);
    assert_eq!(believed(&teller("n"), of(TrafficRole::Unspecified)), None);
    let long = v1::TappedRequest {
        path: "é".repeat(TEXT_BYTES_MAX),
        ids: vec!["x".repeat(9_000); 99],
        ..of(TrafficRole::Gateway)
    };
    let long = believed(&teller("n"), long).unwrap();
    assert!((TEXT_BYTES_MAX + 1..=PATH_BYTES_MAX).contains(&long.path.len()));
    assert_eq!((long.ids.len(), long.ids[0].len()), (IDS_MAX, TEXT_BYTES_MAX));
    let lane = |group: &str, lane: &str| v1::TappedLane { group: group.into(), lane: lane.into() };
    let lanes =
        vec![lane("trade", ""), lane("x/\x1b]0;", "gray"), lane("a", "\u{7}"), lane("a", "b")];
    let forged = v1::TappedRequest { lanes, ..of(TrafficRole::Gateway) };
    let forged = believed(&teller("n"), forged).unwrap();
    assert_eq!(forged.lanes, [lane("trade", ""), lane("a", "b")]);
}
