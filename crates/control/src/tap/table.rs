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
    /// Takes what somebody tells of a request; `false`: there is no room.
    pub(super) fn add(&mut self, told: Told, now: Instant) -> bool {
        if self.records >= RECORDS_OF_ALL_MAX {
            return false;
        }
        let ids: Vec<String> = told.request.ids.iter().map(|id| compared(id)).collect();
        let mut known: Vec<u64> = ids.iter().filter_map(|id| self.by_id.get(id)).copied().collect();
        known.sort_unstable();
        known.dedup();
        let is_full =
            |it: &u64| self.pending.get(it).is_some_and(|it| it.records.len() >= RECORDS_MAX);
        if known.iter().any(is_full) {
            return false;
        }
        let number = match known.split_first() {
            Some((first, others)) => {
                others.iter().for_each(|other| self.join(*first, *other));
                *first
            }
            None if self.pending.len() >= REQUESTS_MAX => return false,
            None => self.begin(now),
        };
        for id in ids {
            if self.by_id.insert(id.clone(), number) != Some(number)
                && let Some(pending) = self.pending.get_mut(&number)
            {
                pending.ids.push(id);
            }
        }
        let Some(pending) = self.pending.get_mut(&number) else { return false };
        pending.latest = now;
        pending.has_gateway |= told.teller.is_gateway;
        pending.records.push(told);
        self.records += 1;
        true
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
        self.records -= other.records.len().saturating_sub(room);
        pending.records.extend(other.records.into_iter().take(room));
        pending.begun = pending.begun.min(other.begun);
        pending.has_gateway |= other.has_gateway;
        for id in &other.ids {
            self.by_id.insert(id.clone(), number);
        }
        pending.ids.extend(other.ids);
    }

    fn take(&mut self, number: u64) -> Option<Vec<Told>> {
        let pending = self.pending.remove(&number)?;
        for id in &pending.ids {
            self.by_id.remove(id);
        }
        self.records -= pending.records.len();
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
        let teller = Teller {
            is_gateway,
            name: "a".into(),
            tag: "".into(),
            node: "n".into(),
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
        assert!(table.add(told(false, &["r-1"]), start));
        assert!(table.add(told(false, &[TRACE]), start));
        assert!(table.add(told(false, &["other"]), start));
        assert_eq!(table.take_due(start + QUIET / 2).len(), 0);
        // What joins the two comes last.
        assert!(table.add(told(true, &[TRACE, "r-1"]), start + QUIET / 2));
        assert_eq!(sizes(&table.take_due(start + QUIET / 2 + SETTLED)), [3]);
        assert_eq!(sizes(&table.take_due(start + QUIET)), [1], "nobody came in at a gateway");
        assert!(table.by_id.is_empty() && table.pending.is_empty());
    }

    #[test]
    fn an_entrance_s_two_ids_are_one() {
        let (mut table, start) = (Table::default(), Instant::now());
        assert!(table.add(told(false, &[TRACE]), start));
        assert!(table.add(told(false, &["0AF76519-16cd-e3dd-b448-eb211c80319c"]), start));
        assert!(table.add(told(false, &["0af76519-16cd-e3dd-b448-eb211c80319d"]), start));
        let mut due = sizes(&table.take_due(start + QUIET));
        due.sort_unstable();
        assert_eq!(due, [1, 2]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let (mut table, start) = (Table::default(), Instant::now());
        let added =
            (0..REQUESTS_MAX + 9).filter(|it| table.add(told(false, &[&it.to_string()]), start));
        assert_eq!(added.count(), REQUESTS_MAX);
        let added = (0..RECORDS_MAX + 9).filter(|_| table.add(told(false, &["0"]), start)).count();
        assert_eq!(added, RECORDS_MAX - 1);
        // One that never ends is told as far as it is known.
        let mut now = start;
        while now < start + WAITED_MAX {
            now += QUIET / 2;
            table.add(told(false, &["1"]), now);
        }
        assert!(!table.by_id.is_empty());
        assert!(table.take_due(now).len() >= REQUESTS_MAX - 1);
        assert!(table.by_id.is_empty() && table.pending.is_empty());
        assert_eq!(table.records, 0);
        table.clear();
        // Of what is not kept no ids are.
        let told_by_all =
            |table: &mut Table, of: usize| table.add(told(false, &["one", &of.to_string()]), now);
        let added = (0..RECORDS_MAX * 9).filter(|of| told_by_all(&mut table, *of)).count();
        assert_eq!((added, table.by_id.len()), (RECORDS_MAX, RECORDS_MAX + 1));
        table.clear();
        let ids = (0..RECORDS_OF_ALL_MAX + 9).map(|it| (it / 100).to_string());
        let added = ids.filter(|id| table.add(told(false, &[id]), now)).count();
        assert_eq!(added, RECORDS_OF_ALL_MAX);
    }
}
