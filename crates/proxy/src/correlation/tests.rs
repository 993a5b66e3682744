//! The table against what its documentation says, written the slow way; and requests in flight under reused ids.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// The documentation as code: a list, searched from end to end. Shares nothing with the table.
struct Model {
    contexts_max: usize,
    remembered: Vec<Entry>,
    finishes: u64,
    refused: u32,
    dropped: u64,
}

#[derive(Clone)]
struct Entry {
    id: u8,
    context: u8,
    in_flight: u32,
    finished: Option<(Duration, u64)>,
    /// Another context under this id was forgotten early or refused.
    incomplete: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Context(u8),
    Conflict,
    Unknown,
}

impl Model {
    fn forget_dead(&mut self, now: Duration) {
        self.remembered
            .retain(|entry| entry.finished.is_none_or(|(at, _)| now < at + LIVES_AFTER_RESPONSE));
    }

    /// Whether it is remembered.
    fn begin(&mut self, id: u8, context: u8, now: Duration) -> bool {
        self.forget_dead(now);
        if let Some(entry) =
            self.remembered.iter_mut().find(|entry| (entry.id, entry.context) == (id, context))
        {
            entry.in_flight += 1;
            entry.finished = None;
            return true;
        }
        let mut incomplete = self.remembered.iter().any(|entry| entry.id == id && entry.incomplete);
        incomplete |= self.refused > 0;
        if self.remembered.len() == self.contexts_max {
            self.dropped += 1;
            let finished =
                self.remembered.iter().enumerate().filter(|(_, entry)| entry.finished.is_some());
            let Some((oldest, _)) = finished.min_by_key(|(_, entry)| entry.finished.unwrap().1)
            else {
                self.mark_incomplete(id);
                self.refused += 1;
                return false;
            };
            let gone = self.remembered.remove(oldest);
            self.mark_incomplete(gone.id);
            incomplete |= gone.id == id;
        }
        self.remembered.push(Entry { id, context, in_flight: 1, finished: None, incomplete });
        true
    }

    fn mark_incomplete(&mut self, id: u8) {
        self.remembered
            .iter_mut()
            .filter(|entry| entry.id == id)
            .for_each(|entry| entry.incomplete = true);
    }

    fn end(&mut self, id: u8, context: u8, now: Duration) {
        let entry = self
            .remembered
            .iter_mut()
            .find(|entry| (entry.id, entry.context) == (id, context))
            .unwrap();
        entry.in_flight -= 1;
        if entry.in_flight == 0 {
            self.finishes += 1;
            entry.finished = Some((now, self.finishes));
        }
    }

    fn look(&mut self, id: u8, now: Duration) -> Answer {
        self.forget_dead(now);
        let live: Vec<_> = self.remembered.iter().filter(|entry| entry.id == id).collect();
        match live[..] {
            [] => Answer::Unknown,
            [only] if !only.incomplete => Answer::Context(only.context),
            _ => Answer::Conflict,
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Begin { id: u8, context: u8 },
    End { which: usize },
    Look { id: u8 },
    Pass { seconds: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..5_u8, 0..3_u8).prop_map(|(id, context)| Step::Begin { id, context }),
        3 => any::<usize>().prop_map(|which| Step::End { which }),
        3 => (0..5_u8).prop_map(|id| Step::Look { id }),
        1 => (0..45_u64).prop_map(|seconds| Step::Pass { seconds }),
    ];
    proptest::collection::vec(step, 0..120)
}

proptest! {
    #[test]
    fn the_table_answers_as_documented(contexts_max in 1..8_usize, steps in steps()) {
        let start = Instant::now();
        let mut table = Shard::new(contexts_max);
        let mut model = Model { contexts_max, remembered: Vec::new(), finishes: 0, refused: 0, dropped: 0 };
        let mut now = Duration::ZERO;
        let mut in_flight = Vec::new();
        // Few hashes for many ids: ids that collide must still be told apart.
        let hash = |id: u8| u64::from(id % 2);
        for step in steps {
            match step {
                Step::Begin { id, context } => {
                    let slot = table.begin(hash(id), &[id], &[context], start + now);
                    in_flight.push((slot, id, context, model.begin(id, context, now)));
                }
                Step::End { which } if !in_flight.is_empty() => {
                    let (slot, id, context, remembered) = in_flight.swap_remove(which % in_flight.len());
                    table.end(slot, Some(start + now));
                    if remembered {
                        model.end(id, context, now);
                    } else {
                        model.refused -= 1;
                    }
                }
                Step::End { .. } => {}
                Step::Look { id } => {
                    let answer = match table.look(hash(id), &[id], start + now) {
                        Looked::Context(context) => Answer::Context(context[0]),
                        Looked::Conflict => Answer::Conflict,
                        Looked::Unknown => Answer::Unknown,
                    };
                    prop_assert_eq!(answer, model.look(id, now));
                }
                Step::Pass { seconds } => now += Duration::from_secs(seconds),
            }
            table.expire(start + now);
            model.forget_dead(now);
            prop_assert_eq!(table.len(), model.remembered.len());
            prop_assert_eq!(table.dropped(), model.dropped);
        }
    }
}

fn id(text: &str) -> CorrelationId {
    CorrelationId::from_slice(text.as_bytes())
}

#[track_caller]
fn check(
    thread: &ThreadCorrelation,
    ids: &[&str],
    now: Instant,
    restored: Restored,
    context: &str,
) {
    let ids: Vec<_> = ids.iter().map(|text| id(text)).collect();
    let mut out = Vec::new();
    assert_eq!(thread.restore(&ids, now, &mut out), restored, "{ids:?}");
    assert_eq!(String::from_utf8(out).unwrap(), context, "{ids:?}");
}

fn thread() -> ThreadCorrelation {
    ThreadCorrelation::new(Arc::default())
}

#[test]
fn a_context_lives_until_a_minute_after_the_response() {
    let (thread, start) = (thread(), Instant::now());
    let request = thread.remember(&[id("a")], b"lane.trade=gray", start);
    let long_after = start + Duration::from_secs(3600);
    check(&thread, &["a"], long_after, Restored::Context, "lane.trade=gray");
    request.finish(long_after);
    let last = long_after + LIVES_AFTER_RESPONSE - Duration::from_nanos(1);
    check(&thread, &["a"], last, Restored::Context, "lane.trade=gray");
    check(&thread, &["a"], long_after + LIVES_AFTER_RESPONSE, Restored::Unknown, "");
    assert_eq!(thread.table().len(), 0);
}

#[test]
fn base_is_remembered_too() {
    let (thread, now) = (thread(), Instant::now());
    let _base = thread.remember(&[id("a")], b"", now);
    check(&thread, &["a"], now, Restored::Context, "");
    let _gray = thread.remember(&[id("a")], b"lane.trade=gray", now);
    check(&thread, &["a"], now, Restored::Conflict, "");
}

#[test]
fn a_conflict_ends_with_one_of_its_contexts() {
    let (thread, start) = (thread(), Instant::now());
    thread.remember(&[id("a")], b"lane.trade=gray", start).finish(start);
    let later = start + Duration::from_secs(59);
    let _blue = thread.remember(&[id("a")], b"lane.trade=blue", later);
    check(&thread, &["a"], later, Restored::Conflict, "");
    check(&thread, &["a"], start + Duration::from_secs(60), Restored::Context, "lane.trade=blue");
}

#[test]
fn the_order_of_members_makes_no_difference() {
    let (thread, now) = (thread(), Instant::now());
    let _one = thread.remember(&[id("a")], b"lane.stock=blue,lane.trade=gray", now);
    let _other = thread.remember(&[id("a")], b"lane.trade=gray,lane.stock=blue", now);
    check(&thread, &["a"], now, Restored::Context, "lane.stock=blue,lane.trade=gray");
}

#[test]
fn the_first_known_id_decides() {
    let (thread, now) = (thread(), Instant::now());
    let _gray = thread.remember(&[id("trace"), id("request")], b"lane.trade=gray", now);
    let _base = thread.remember(&[id("shared")], b"", now);
    let _blue = thread.remember(&[id("shared")], b"lane.trade=blue", now);
    check(&thread, &["another trace", "request"], now, Restored::Context, "lane.trade=gray");
    check(&thread, &["shared", "request"], now, Restored::Conflict, "");
    check(&thread, &[], now, Restored::Unknown, "");
}

#[test]
fn a_request_that_is_dropped_ends_at_the_latest_time_seen() {
    let (thread, start) = (thread(), Instant::now());
    let request = thread.remember(&[id("a")], b"lane.trade=gray", start);
    thread.table().tick(start + Duration::from_secs(10));
    drop(request);
    check(&thread, &["a"], start + Duration::from_secs(69), Restored::Context, "lane.trade=gray");
    check(&thread, &["a"], start + Duration::from_secs(70), Restored::Unknown, "");
}

#[test]
fn too_long_a_context_is_not_remembered_and_a_conflict_for_others() {
    let (thread, now) = (thread(), Instant::now());
    let _gray = thread.remember(&[id("a")], b"lane.trade=gray", now);
    let _long = thread.remember(&[id("a")], &[b'x'; CONTEXT_BYTES_MAX + 1], now);
    check(&thread, &["a"], now, Restored::Conflict, "");
    let _too_long_an_id = thread.remember(&[CorrelationId::from_elem(b'x', 129)], b"", now);
    assert_eq!(thread.table().len(), 1);
}

#[test]
fn whoever_comes_to_an_id_of_which_something_is_missing_is_a_conflict_whoever_tells_of_it() {
    let (mut table, start) = (Shard::new(3), Instant::now());
    let hash = |id: &str| u64::from(id.as_bytes()[0]);
    let begin = |table: &mut Shard, id: &str, context: &str| {
        table.begin(hash(id), id.as_bytes(), context.as_bytes(), start)
    };
    let first = begin(&mut table, "a", "lane.trade=gray");
    let others = [begin(&mut table, "b", ""), begin(&mut table, "b", "lane.trade=gray")];
    let refused = begin(&mut table, "c", "");
    // The place of one that has finished, while one is refused: something may be missing beside this one.
    table.end(others[0], Some(start));
    let second = begin(&mut table, "a", "lane.trade=blue");
    table.end(refused, Some(start));
    table.end(others[1], Some(start));
    let _third = begin(&mut table, "a", "");
    table.end(first, Some(start));
    table.end(second, Some(start));

    let alone = start + LIVES_AFTER_RESPONSE;
    assert!(matches!(table.look(hash("a"), b"a", alone), Looked::Conflict));
    assert_eq!(table.len(), 1);
}

#[test]
fn one_thread_restores_what_another_remembered() {
    let (table, now) = (Arc::new(Correlation::default()), Instant::now());
    let inbound = ThreadCorrelation::new(Arc::clone(&table));
    let _gray = inbound.remember(&[id("a")], b"lane.trade=gray", now);
    let outbound = std::thread::spawn(move || {
        check(&ThreadCorrelation::new(table), &["a"], now, Restored::Context, "lane.trade=gray");
    });
    outbound.join().unwrap();
}

/// 64 requests in flight, ids reused in other lanes while they are: each call gets its own request's lane or the base.
#[track_caller]
fn check_in_flight(contexts_max: usize, ids: u64) -> HashMap<&'static str, u32> {
    const LANES: [&str; 3] = ["", "lane.trade=gray", "lane.trade=blue"];
    let thread = ThreadCorrelation::new(Arc::new(Correlation::new(contexts_max)));
    let mut random = 1_u64;
    let mut draw = |below: u64| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut in_flight = Vec::new();
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let mut now = Instant::now();
    for _ in 0..20_000 {
        now += Duration::from_millis(draw(40));
        if in_flight.len() == 64 {
            let (request, _, _): (Remembered, CorrelationId, &str) =
                in_flight.swap_remove(draw(64) as usize);
            request.finish(now);
        }
        let (id, lane) = (id(&draw(ids).to_string()), LANES[draw(3) as usize]);
        in_flight.push((
            thread.remember(std::slice::from_ref(&id), lane.as_bytes(), now),
            id,
            lane,
        ));
        let (_, id, lane) = &in_flight[draw(in_flight.len() as u64) as usize];
        let mut out = Vec::new();
        match thread.restore(std::slice::from_ref(id), now, &mut out) {
            Restored::Context => {
                assert_eq!(
                    std::str::from_utf8(&out).unwrap(),
                    *lane,
                    "id {id:?}: another request's lane"
                );
                *seen.entry("own").or_default() += 1;
            }
            Restored::Conflict => *seen.entry("conflict").or_default() += 1,
            Restored::Unknown => *seen.entry("unknown").or_default() += 1,
        }
    }
    seen
}

#[test]
fn requests_in_flight_under_reused_ids_never_get_another_lane() {
    let seen = check_in_flight(CONTEXTS_MAX, 4000);
    assert!(seen["own"] > 2000 && seen["conflict"] > 2000, "{seen:?}");
    assert!(!seen.contains_key("unknown"), "{seen:?}");
}

#[test]
fn a_full_table_leads_to_the_base_and_never_into_another_lane() {
    let seen = check_in_flight(112, 400);
    assert!(seen["own"] > 100 && seen["conflict"] > 100 && seen["unknown"] > 100, "{seen:?}");
}
