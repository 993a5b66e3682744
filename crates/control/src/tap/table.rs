//! Requests of which hops are still coming: by their ids, until no more are expected.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::Told;

/// Requests that are put together at a time; some kilobytes each.
const REQUESTS_MAX: usize = 4_096;

/// What is kept of one request: beyond it something goes round, and nobody reads that far.
const RECORDS_MAX: usize = 128;

/// What is kept of all of them: some megabytes; a hundred where data planes say as much of each as they may.
const RECORDS_OF_ALL_MAX: usize = 16_384;

/// What is kept of all that one data plane tells: as much as it may tell while a request waits to be whole. Others have most of the
/// room, however much it says.
const RECORDS_OF_ONE_MAX: usize = 2_048;

/// Of one request, of one data plane: the others that it passes have as much room.
const RECORDS_OF_ONE_IN_REQUEST_MAX: usize = RECORDS_MAX / 2;

/// How long is waited for more once its gateway has told of it: that has seen it end, and everybody tells within a tenth of
/// this.
const SETTLED: Duration = Duration::from_millis(400);

/// How long without anything new is waited for a gateway.
const QUIET: Duration = Duration::from_secs(3);

/// How long is waited for all of one.
const WAITED_MAX: Duration = Duration::from_secs(15);

/// Requests that are put together.
#[derive(Debug, Default)]
pub(super) struct Table {
    pending: HashMap<u64, Pending>,
    /// By ids as they are compared.
    by_id: HashMap<String, u64>,
    next: u64,
    /// Of all of them.
    records: usize,
    /// The same by node of who has told them.
    records_of: HashMap<Box<str>, usize>,
}

/// Why a record is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// All of it is taken.
    ForAnybody,
    /// Whoever tells it has all that is one data plane's.
    ForIt,
}

#[derive(Debug)]
struct Pending {
    records: Vec<Told>,
    ids: Vec<String>,
    begun: Instant,
    latest: Instant,
    has_gateway: bool,
}

impl Table {
    /// Takes what somebody tells of a request, where there is room.
    pub(super) fn add(&mut self, told: Told, now: Instant) -> Result<(), NoRoom> {
        let node = &told.teller.node;
        if self.records_of.get(node).is_some_and(|records| *records >= RECORDS_OF_ONE_MAX) {
            return Err(NoRoom::ForIt);
        }
        if self.records >= RECORDS_OF_ALL_MAX {
            return Err(NoRoom::ForAnybody);
        }
        let ids: Vec<String> = told.request.ids.iter().map(|id| compared(id)).collect();
        let mut known: Vec<u64> = ids.iter().filter_map(|id| self.by_id.get(id)).copied().collect();
        known.sort_unstable();
        known.dedup();
        let is_full =
            |it: &u64| self.pending.get(it).is_some_and(|it| it.records.len() >= RECORDS_MAX);
        if known.iter().any(is_full) {
            return Err(NoRoom::ForAnybody);
        }
        let has_its_part = |it: &u64| {
            let records = self.pending.get(it).map_or(&[][..], |it| it.records.as_slice());
            let own = records.iter().filter(|it| it.teller.node == *node);
            own.count() >= RECORDS_OF_ONE_IN_REQUEST_MAX
        };
        if known.iter().any(has_its_part) {
            return Err(NoRoom::ForIt);
        }
        let number = match known.split_first() {
            Some((first, others)) => {
                others.iter().for_each(|other| self.join(*first, *other));
                *first
            }
            None if self.pending.len() >= REQUESTS_MAX => return Err(NoRoom::ForAnybody),
            None => self.begin(now),
        };
        for id in ids {
            if self.by_id.insert(id.clone(), number) != Some(number)
                && let Some(pending) = self.pending.get_mut(&number)
            {
                pending.ids.push(id);
            }
        }
        let Some(pending) = self.pending.get_mut(&number) else { return Ok(()) };
        pending.latest = now;
        pending.has_gateway |= told.teller.is_gateway;
        self.records += 1;
        match self.records_of.get_mut(&told.teller.node) {
            Some(records) => *records += 1,
            None => drop(self.records_of.insert(told.teller.node.clone(), 1)),
        }
        pending.records.push(told);
        Ok(())
    }

    /// Those of which no more is expected.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Vec<Told>> {
        let is_due = |pending: &Pending| {
            let wait = if pending.has_gateway { SETTLED } else { QUIET };
            now >= pending.latest + wait || now >= pending.begun + WAITED_MAX
        };
        let due = self.pending.iter().filter(|(_, pending)| is_due(pending));
        let mut due: Vec<(Instant, u64)> = due.map(|(it, pending)| (pending.begun, *it)).collect();
        due.sort_unstable();
        due.into_iter().filter_map(|(_, number)| self.take(number)).collect()
    }

    pub(super) fn clear(&mut self) {
        self.pending.clear();
        self.by_id.clear();
        self.records_of.clear();
        self.records = 0;
    }

    fn begin(&mut self, now: Instant) -> u64 {
        self.next += 1;
        let pending = Pending {
            records: Vec::new(),
            ids: Vec::new(),
            begun: now,
            latest: now,
            has_gateway: false,
        };
        self.pending.insert(self.next, pending);
        self.next
    }

    /// Two turn out to be one.
    fn join(&mut self, number: u64, other: u64) {
        let Some(other) = self.pending.remove(&other) else { return };
        let Some(pending) = self.pending.get_mut(&number) else { return };
        let room = RECORDS_MAX.saturating_sub(pending.records.len());
        let mut records = other.records;
        let beyond = records.split_off(room.min(records.len()));
        pending.records.extend(records);
        pending.begun = pending.begun.min(other.begun);
        pending.has_gateway |= other.has_gateway;
        for id in &other.ids {
            self.by_id.insert(id.clone(), number);
        }
        pending.ids.extend(other.ids);
        self.forget(&beyond);
    }

    /// So many are kept no more.
    fn forget(&mut self, records: &[Told]) {
        self.records -= records.len();
        for told in records {
            let node = &told.teller.node;
            let Some(own) = self.records_of.get_mut(node) else { continue };
            *own -= 1;
            if *own == 0 {
                self.records_of.remove(node);
            }
        }
    }

    fn take(&mut self, number: u64) -> Option<Vec<Told>> {
        let pending = self.pending.remove(&number)?;
        for id in &pending.ids {
            self.by_id.remove(id);
        }
        self.forget(&pending.records);
        Some(pending.records)
    }
}

/// An id as it is compared: entrances write the digits of one number as a trace's id and, with other digits where a UUID has
/// its version and variant, as a request's.
fn compared(id: &str) -> String {
    let digits: String = id.chars().filter(|letter| *letter != '-').collect();
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return id.to_owned();
    }
    let masked = |(at, digit): (usize, char)| match at {
        12 | 16 => '.',
        _ => digit.to_ascii_lowercase(),
    };
    digits.chars().enumerate().map(masked).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use api::discovery::v1;

    use super::{super::Teller, *};

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn told(is_gateway: bool, ids: &[&str]) -> Told {
        told_by("n", is_gateway, ids)
    }

    fn told_by(node: &str, is_gateway: bool, ids: &[&str]) -> Told {
        let teller = Teller {
            is_gateway,
            name: "a".into(),
            tag: "".into(),
            node: node.into(),
            addresses: Box::default(),
        };
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let request = v1::TappedRequest { ids, ..v1::TappedRequest::default() };
        Told { teller: Arc::new(teller), taps: Arc::default(), request }
    }

    fn sizes(due: &[Vec<Told>]) -> Vec<usize> {
        due.iter().map(Vec::len).collect()
    }

    #[test]
    fn hops_come_together_by_any_id_and_are_whole_soon_after_the_gateway() {
        let (mut table, start) = (Table::default(), Instant::now());
        assert_eq!(table.add(told(false, &["r-1"]), start), Ok(()));
        assert_eq!(table.add(told(false, &[TRACE]), start), Ok(()));
        assert_eq!(table.add(told(false, &["other"]), start), Ok(()));
        assert_eq!(table.take_due(start + QUIET / 2).len(), 0);
        // What joins the two comes last.
        assert_eq!(table.add(told(true, &[TRACE, "r-1"]), start + QUIET / 2), Ok(()));
        assert_eq!(sizes(&table.take_due(start + QUIET / 2 + SETTLED)), [3]);
        assert_eq!(sizes(&table.take_due(start + QUIET)), [1], "nobody came in at a gateway");
        assert!(table.by_id.is_empty() && table.pending.is_empty());
    }

    #[test]
    fn an_entrance_s_two_ids_are_one() {
        let (mut table, start) = (Table::default(), Instant::now());
        assert_eq!(table.add(told(false, &[TRACE]), start), Ok(()));
        assert_eq!(
            table.add(told(false, &["0AF76519-16cd-e3dd-b448-eb211c80319c"]), start),
            Ok(())
        );
        assert_eq!(
            table.add(told(false, &["0af76519-16cd-e3dd-b448-eb211c80319d"]), start),
            Ok(())
        );
        let mut due = sizes(&table.take_due(start + QUIET));
        due.sort_unstable();
        assert_eq!(due, [1, 2]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let (mut table, start) = (Table::default(), Instant::now());
        // Each tells a few.
        let node = |number: usize| format!("n{}", number % 64);
        let add = |table: &mut Table, number: usize, ids: &[&str], now| {
            table.add(told_by(&node(number), false, ids), now).is_ok()
        };
        let added = (0..REQUESTS_MAX + 9)
            .filter(|it| add(&mut table, *it, &[&it.to_string()], start))
            .count();
        assert_eq!(added, REQUESTS_MAX);
        let added = (0..RECORDS_MAX + 9).filter(|it| add(&mut table, *it, &["0"], start)).count();
        assert_eq!(added, RECORDS_MAX - 1);
        // One that never ends is told as far as it is known.
        let mut now = start;
        while now < start + WAITED_MAX {
            now += QUIET / 2;
            let _ = table.add(told(false, &["1"]), now);
        }
        assert!(!table.by_id.is_empty());
        assert!(table.take_due(now).len() >= REQUESTS_MAX - 1);
        assert!(table.by_id.is_empty() && table.pending.is_empty());
        assert!(table.records == 0 && table.records_of.is_empty());
        // Of what is not kept no ids are.
        let added = (0..RECORDS_MAX * 9)
            .filter(|of| add(&mut table, *of, &["one", &of.to_string()], now))
            .count();
        assert_eq!((added, table.by_id.len()), (RECORDS_MAX, RECORDS_MAX + 1));
        table.clear();
        let added = (0..RECORDS_OF_ALL_MAX + 9)
            .filter(|it| add(&mut table, *it, &[&(it / 100).to_string()], now))
            .count();
        assert_eq!(added, RECORDS_OF_ALL_MAX);
        assert_eq!(table.add(told_by("new", false, &["new"]), now), Err(NoRoom::ForAnybody));
    }

    #[test]
    fn whoever_tells_too_much_takes_no_room_of_others() {
        let (mut table, start) = (Table::default(), Instant::now());
        let flood = |table: &mut Table| {
            (0..9 * RECORDS_OF_ONE_MAX)
                .filter(|it| table.add(told(false, &[&format!("x{it}")]), start).is_ok())
                .count()
        };
        assert_eq!(flood(&mut table), RECORDS_OF_ONE_MAX);
        assert_eq!(table.add(told(false, &["x0"]), start), Err(NoRoom::ForIt));
        assert_eq!(table.add(told_by("other", false, &["x0"]), start), Ok(()));
        let others = (0..RECORDS_OF_ONE_MAX)
            .filter(|it| table.add(told_by("other", false, &[&it.to_string()]), start).is_ok());
        assert_eq!(others.count(), RECORDS_OF_ONE_MAX - 1);
        // What is whole makes room again.
        table.take_due(start + QUIET);
        assert_eq!(flood(&mut table), RECORDS_OF_ONE_MAX);
        table.clear();
        // Nor does it take all of a request that others pass.
        let own = (0..RECORDS_MAX).filter(|_| table.add(told(false, &["one"]), start).is_ok());
        assert_eq!(own.count(), RECORDS_OF_ONE_IN_REQUEST_MAX);
        assert_eq!(table.add(told_by("other", true, &["one"]), start), Ok(()));
        assert_eq!(sizes(&table.take_due(start + QUIET)), [RECORDS_OF_ONE_IN_REQUEST_MAX + 1]);
        assert!(table.records == 0 && table.records_of.is_empty());
        // Two requests that are one have no more of it.
        for ids in [&["a"], &["b"]] {
            for _ in 0..RECORDS_MAX / 2 {
                assert_eq!(table.add(told(false, ids), start), Ok(()));
                assert!(table.add(told_by("other", false, ids), start).is_ok());
            }
        }
        assert_eq!(table.add(told_by("third", false, &["a", "b"]), start), Err(NoRoom::ForAnybody));
    }
}
