//! What passes through the data planes: counted as they report it, second by second, and kept for 30 days.
//!
//! Reports are differences ([`Traffic`](api::discovery::v1::Traffic)), so that nobody's restart makes a rate negative. What
//! they say of the same series adds up to one, whoever reports it: memory follows the series, not the data planes. Seconds
//! are closed into runs of bytes ([`recent`]) and, with longer spans, written to disk ([`history`]). Questions are answered
//! from these ([`question`]), beside whoever reports.

use std::{
    collections::HashMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use api::discovery::v1;
use parking_lot::Mutex;

pub(crate) mod cell;
mod history;
pub(crate) mod prometheus;
pub(crate) mod question;
mod recent;
pub(crate) mod series;
#[cfg(test)]
mod tests;
pub(crate) mod trials;
pub(crate) mod verdict;

use cell::Cell;
use history::{History, Spans, Write};
use recent::{Frame, Recent};
use series::{LABEL_BYTES_MAX, Labels, Outcome, Role, TIERS, Table};

/// How often data planes report.
pub(crate) const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Reports of a stream that are counted at once: as many as come together after a stall of half a minute.
const REPORTS_AT_ONCE_MAX: f64 = 30.0;

/// Reports of a stream that are counted in a second, on average: twice as many as are asked for.
const REPORTS_PER_SECOND_MAX: f64 = 2.0;

/// Samples of one report that are counted: more than a data plane tells.
const SAMPLES_MAX: usize = 4_096;

/// Requests that one report may say have entered one lane: more than a machine can do, little enough to be added up.
const ENTERED_REQUESTS_MAX: u64 = 1 << 40;

/// Series that one stream may tell; as many as a data plane tells.
const STREAM_SERIES_MAX: usize = 8_192;

/// Lanes that one report may say requests have entered.
const ENTERED_MAX: usize = 1_024;

/// What a data plane must say it can, for its reports to be waited for.
pub(crate) const CAPABILITY: &str = "traffic";

/// Statistics of all data planes.
#[derive(Debug)]
pub(crate) struct Statistics {
    counted: Mutex<Counted>,
    history: History,
}

#[derive(Debug)]
struct Counted {
    clock: Clock,
    table: Table,
    recent: Recent,
    /// The second that is being counted.
    second: u64,
    /// Series that anything was counted of, in each tier's open span.
    touched: [Vec<u32>; TIERS.len()],
    /// Most data planes that could tell something, in each tier's open span.
    data_planes: [u32; TIERS.len()],
    /// The first second that is not written yet.
    unwritten: u64,
    streams: HashMap<u64, Open>,
    next_stream: u64,
}

/// One data plane that reports.
#[derive(Debug)]
struct Open {
    role: v1::Role,
    name: Arc<str>,
    in_flight: u32,
}

/// Seconds of Unix time that never go back, whatever the machine's clock does.
#[derive(Debug)]
struct Clock {
    started: Instant,
    unix: Duration,
}

impl Clock {
    fn new(now: Instant) -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: now, unix }
    }

    fn second(&self, now: Instant) -> u64 {
        (self.unix + now.saturating_duration_since(self.started)).as_secs()
    }
}

/// One stream of reports, as its session holds it.
#[derive(Debug)]
pub(crate) struct Stream {
    statistics: Arc<Statistics>,
    number: u64,
    /// By the numbers the data plane gives them; none of what cannot be counted.
    is_gateway: bool,
    name: Arc<str>,
    series: Vec<Option<Told>>,
    /// Reports that may be counted at once, and when that was.
    allowance: f64,
    allowed_at: Instant,
}

/// A series that a stream has told of.
#[derive(Debug)]
struct Told {
    number: u32,
    /// Of the code.
    class: usize,
    labels: Arc<Labels>,
}

impl Statistics {
    /// Goes on from what is kept beside the store.
    pub(crate) fn beside(database: &Path) -> Self {
        let directory = database.parent().unwrap_or_else(|| Path::new("."));
        Self::open(directory, Instant::now())
    }

    /// Goes on from what is kept in a directory.
    pub(crate) fn open(directory: &Path, now: Instant) -> Self {
        let clock = Clock::new(now);
        let second = clock.second(now);
        let (history, kept) = History::open(directory, second);
        let mut table = Table::default();
        table.reserve(kept.next);
        for (number, labels) in kept.series {
            table.restore(number, labels);
        }
        let mut counted = Counted {
            clock,
            table,
            recent: Recent::default(),
            second,
            touched: Default::default(),
            data_planes: [0; TIERS.len()],
            unwritten: second,
            streams: HashMap::new(),
            next_stream: 0,
        };
        for Spans { tier, cells, .. } in kept.open {
            for (number, bytes) in cells {
                counted.restore(tier, number, &bytes);
            }
        }
        for frame in kept.seconds {
            counted.see(&frame);
            // The same second may go on.
            if frame.second < second {
                counted.recent.push(frame);
            }
        }
        Self { counted: Mutex::new(counted), history }
    }

    /// A data plane has connected; `None` where it reports nothing.
    pub(crate) fn begin(self: &Arc<Self>, hello: &v1::Hello, now: Instant) -> Option<Stream> {
        if !hello.capabilities.iter().any(|it| it == CAPABILITY) || !is_label(&hello.name) {
            return None;
        }
        let mut counted = self.counted.lock();
        let number = counted.next_stream;
        counted.next_stream += 1;
        let name: Arc<str> = hello.name.as_str().into();
        let open = Open { role: hello.role(), name: Arc::clone(&name), in_flight: 0 };
        let is_gateway = hello.role() == v1::Role::Gateway;
        counted.streams.insert(number, open);
        let statistics = Arc::clone(self);
        let (series, allowance) = (Vec::new(), REPORTS_AT_ONCE_MAX);
        Some(Stream { statistics, number, is_gateway, name, series, allowance, allowed_at: now })
    }

    /// Lets time pass: for a task, every second.
    pub(crate) fn tick(&self, now: Instant) {
        self.roll(&mut self.counted.lock(), now);
    }

    fn roll(&self, counted: &mut Counted, now: Instant) {
        let Some(write) = counted.roll(now, self.history.has_lost_any()) else { return };
        if !self.history.write(write) {
            tracing::warn!("the disk is behind: ten seconds of statistics are not kept");
        }
    }

    /// Requests in flight, by application, as those data planes say that are connected.
    pub(crate) fn in_flight(&self) -> HashMap<Arc<str>, u64> {
        let counted = self.counted.lock();
        let mut sums = HashMap::new();
        let of_applications =
            counted.streams.values().filter(|open| open.role != v1::Role::Gateway);
        for open in of_applications {
            *sums.entry(Arc::clone(&open.name)).or_default() += u64::from(open.in_flight);
        }
        sums
    }

    /// How many data planes report.
    pub(crate) fn reporting(&self) -> usize {
        self.counted.lock().streams.len()
    }

    /// Writes what is not on disk yet, open spans too.
    pub(crate) fn stop(&self) {
        let mut counted = self.counted.lock();
        if self.history.has_lost_any() {
            counted.table.forget_what_is_kept();
        }
        counted.close_second();
        let second = counted.second;
        let write = counted.write_spans(second, true);
        drop(counted);
        self.history.stop(Some(write));
    }
}

impl Stream {
    /// Whether a gateway reports, and its name or that of the application.
    pub(crate) fn teller(&self) -> (bool, &str) {
        (self.is_gateway, &self.name)
    }

    /// Counts what a data plane reports.
    pub(crate) fn take(&mut self, mut traffic: v1::Traffic, now: Instant) {
        let gained = now.saturating_duration_since(self.allowed_at).as_secs_f64();
        let allowance = self.allowance + gained * REPORTS_PER_SECOND_MAX;
        (self.allowance, self.allowed_at) = (allowance.min(REPORTS_AT_ONCE_MAX), now);
        let statistics = Arc::clone(&self.statistics);
        let mut counted = statistics.counted.lock();
        let counted = &mut *counted;
        let Some(open) = counted.streams.get_mut(&self.number) else { return };
        open.in_flight = traffic.in_flight;
        let (role, name) = (open.role, Arc::clone(&open.name));
        for told in std::mem::take(&mut traffic.series) {
            if self.series.len() < STREAM_SERIES_MAX {
                let labels = labels(told, role, &name);
                self.series.push(labels.map(|(class, labels)| Told::new(counted, class, labels)));
            }
        }
        if self.allowance < 1.0 {
            return;
        }
        self.allowance -= 1.0;
        statistics.roll(counted, now);
        for sample in traffic.samples.iter().take(SAMPLES_MAX) {
            let known = self.series.get_mut(sample.series as usize);
            let Some(told) = known.and_then(Option::as_mut) else { continue };
            // Forgotten meanwhile, because nothing was heard of it.
            if counted.table.get(told.number).is_none() {
                *told = Told::new(counted, told.class, Labels::clone(&told.labels));
            }
            let class = told.class;
            counted.count(told.number, |cell| cell.count(class, sample.sum_us, &sample.buckets));
        }
        counted.take_totals(&traffic, &name);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.statistics.counted.lock().streams.remove(&self.number);
    }
}

impl Told {
    fn new(counted: &mut Counted, class: usize, labels: Labels) -> Self {
        let (number, labels) = counted.table.number(labels);
        Self { number, class, labels }
    }
}

impl Counted {
    /// Counts what is told of no series.
    fn take_totals(&mut self, traffic: &v1::Traffic, name: &str) {
        for entered in traffic.entered.iter().take(ENTERED_MAX) {
            if is_label(&entered.group) && is_label(&entered.lane) {
                let labels = of_teller(Role::Entered, name);
                let (group, lane) = (entered.group.as_str().into(), entered.lane.as_str().into());
                let (number, _) = self.table.number(Labels { group, lane, ..labels });
                let requests = entered.requests.min(ENTERED_REQUESTS_MAX);
                self.count(number, |cell| add(cell, [requests, 0, 0, 0]));
            }
        }
        let process = [
            traffic.bytes_received,
            traffic.bytes_sent,
            traffic.misrouted.into(),
            traffic.ejections.into(),
        ];
        if process != [0; 4] {
            let (number, _) = self.table.number(of_teller(Role::Process, name));
            self.count(number, |cell| add(cell, process));
        }
    }

    fn count(&mut self, number: u32, count: impl Fn(&mut Cell)) {
        let Some(series) = self.table.get_mut(number) else { return };
        series.latest = self.second;
        for (touched, open) in self.touched.iter_mut().zip(&mut series.open) {
            let was_empty = open.is_empty();
            count(open);
            if was_empty && !open.is_empty() {
                touched.push(number);
            }
        }
    }

    /// Goes on with a span of before a restart.
    fn restore(&mut self, tier: usize, number: u32, bytes: &[u8]) {
        let Some(series) = self.table.get_mut(number) else { return };
        let open = &mut series.open[tier];
        let was_empty = open.is_empty();
        if Cell::read(&mut &bytes[..], Some(open)).is_some() && was_empty && !open.is_empty() {
            self.touched[tier].push(number);
        }
        series.latest = self.second;
    }

    /// Something is told of the series of a second: they are not to be forgotten before it is.
    fn see(&mut self, frame: &Frame) {
        for number in frame.numbers() {
            if let Some(series) = self.table.get_mut(number) {
                series.latest = series.latest.max(frame.second);
            }
        }
    }

    /// Closes what has passed; what is to be written, every ten seconds.
    /// `is_lost`: something that was to be written was not.
    fn roll(&mut self, now: Instant, is_lost: bool) -> Option<Write> {
        if is_lost {
            self.table.forget_what_is_kept();
        }
        let second = self.clock.second(now);
        let planes = u32::try_from(self.streams.len()).unwrap_or(u32::MAX);
        for most in &mut self.data_planes {
            *most = planes.max(*most);
        }
        if second <= self.second {
            return None;
        }
        self.close_second();
        let before = std::mem::replace(&mut self.second, second);
        // Seconds in which nobody looked had nothing.
        let has_passed = |length: u64| second / length != before / length;
        has_passed(TIERS[1]).then(|| {
            let write = self.write_spans(before, has_passed(TIERS[2]));
            self.table.forget_before(second.saturating_sub(recent::SECONDS_MAX));
            write
        })
    }

    fn close_second(&mut self) {
        let mut numbers = std::mem::take(&mut self.touched[0]);
        numbers.sort_unstable();
        let mut frame = Frame {
            second: self.second,
            data_planes: std::mem::take(&mut self.data_planes[0]),
            cells: Vec::new(),
        };
        let mut last = 0;
        for number in &numbers {
            if let Some(series) = self.table.get_mut(*number) {
                frame.write(&mut last, *number, &std::mem::take(&mut series.open[0]));
            }
        }
        frame.cells.shrink_to_fit();
        if !frame.cells.is_empty() || frame.data_planes > 0 {
            self.recent.push(frame);
        }
        numbers.clear();
        self.touched[0] = numbers;
    }

    /// What is to be written of the spans that a second is of.
    fn write_spans(&mut self, second: u64, with_longest: bool) -> Write {
        let seconds = self.recent.since(self.unwritten);
        self.unwritten = second + 1;
        let mut write = Write { seconds, now: self.second, ..Write::default() };
        let tiers = if with_longest { 1..TIERS.len() } else { 1..2 };
        for tier in tiers {
            let spans = self.close_span(tier, second);
            let new = spans.cells.iter().filter_map(|(number, _)| {
                let series = self.table.get_mut(*number)?;
                let is_kept = std::mem::replace(&mut series.is_kept, true);
                (!is_kept).then(|| (*number, Arc::clone(&series.labels)))
            });
            write.series.extend(new);
            write.spans.push(spans);
        }
        write
    }

    fn close_span(&mut self, tier: usize, second: u64) -> Spans {
        let length = TIERS[tier];
        let mut spans = Spans {
            tier,
            time: second - second % length,
            data_planes: std::mem::take(&mut self.data_planes[tier]),
            cells: Vec::new(),
        };
        for number in std::mem::take(&mut self.touched[tier]) {
            let Some(series) = self.table.get_mut(number) else { continue };
            let mut bytes = Vec::new();
            std::mem::take(&mut series.open[tier]).write(&mut bytes);
            spans.cells.push((number, bytes));
        }
        spans
    }
}

/// Whether a text may be shown to people: neither endless, nor what a terminal acts on.
fn is_label(text: &str) -> bool {
    text.len() <= LABEL_BYTES_MAX && !text.chars().any(char::is_control)
}

/// Adds numbers in the places of classes.
fn add(cell: &mut Cell, numbers: [u64; 4]) {
    for (sum, number) in cell.classes.iter_mut().zip(numbers) {
        *sum = sum.saturating_add(number);
    }
}

fn of_teller(role: Role, name: &str) -> Labels {
    Labels {
        role,
        teller: name.into(),
        application: Box::default(),
        service: Box::default(),
        route: Box::default(),
        group: Box::default(),
        lane: Box::default(),
        outcome: Outcome::Unknown,
    }
}

/// Under what a data plane's series is counted, and as which class; `None`: it cannot be. Nobody counts for others what
/// their applications served, nor is a sidecar a gateway.
fn labels(told: v1::TrafficSeries, role: v1::Role, name: &str) -> Option<(usize, Labels)> {
    let of_gateway = role == v1::Role::Gateway;
    let role = match told.role() {
        v1::TrafficRole::Gateway if of_gateway => Role::Gateway,
        v1::TrafficRole::Inbound if !of_gateway => Role::Inbound,
        v1::TrafficRole::Outbound if !of_gateway => Role::Outbound,
        _ => return None,
    };
    let class = usize::try_from(told.code_class).ok().filter(|class| *class < cell::CLASSES)?;
    let outcome = Outcome::of(told.outcome);
    let v1::TrafficSeries { application, service, route, group, lane, .. } = told;
    let application = if role == Role::Inbound { name.to_owned() } else { application };
    let texts = [&application, &service, &route, &group, &lane];
    if !texts.iter().all(|text| is_label(text)) {
        return None;
    }
    let labels = Labels {
        role,
        teller: name.into(),
        application: application.into(),
        service: service.into(),
        route: route.into(),
        group: group.into(),
        lane: lane.into(),
        outcome,
    };
    Some((class, labels))
}
