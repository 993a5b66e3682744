//! Answers what was counted: from the seconds in memory, or from longer spans on disk, added up step by step.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use api::rest::StatisticsKeeper;
use rusqlite::Connection;

use super::{
    Statistics,
    cell::Cell,
    history::{self, KEPT_SECONDS},
    recent::Frame,
    series::{Labels, Outcome, TIERS},
};

/// Figures of one answer, 9 MB while it is put together: 111 lines of 180 steps, or every series there may be in one step.
/// Whoever asks for more is told to ask for less.
const CELLS_MAX: usize = 20_480;

/// Steps of one answer: more than a screen has pixels for.
pub(crate) const STEPS_MAX: u64 = 1_000;

/// Seconds after which what was closed is on disk.
const WRITTEN_WITHIN: u64 = 2;

/// Lengths of steps that people can read off an axis, in seconds.
const STEPS: [u64; 14] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 14_400, 86_400];

/// Which time is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Its place in [`TIERS`].
    tier: usize,
    /// Its first second.
    pub(crate) from: u64,
    /// The second after its last.
    pub(crate) until: u64,
    /// Seconds that one figure is of.
    pub(crate) step: u64,
}

/// Which time, before it is known when now is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Seconds until now.
    pub(crate) window: u64,
    /// Seconds of a step; `None`: one that gives at most 180 of them.
    pub(crate) step: Option<u64>,
    /// One figure for all of it.
    pub(crate) is_one: bool,
}

impl Wanted {
    /// Whether it is of a longer time than what is in memory.
    pub(crate) fn is_long(self) -> bool {
        self.window > KEPT_SECONDS[0]
    }

    /// `least_step`: the shortest step, in seconds, that whoever answers can tell anything of.
    fn at(self, now: u64, least_step: u64) -> Span {
        let kept = KEPT_SECONDS.iter().position(|kept| self.window <= *kept);
        let tier = kept.unwrap_or(TIERS.len() - 1);
        let length = TIERS[tier];
        // What is not closed yet, or not written, is told when it is.
        let written = if tier == 0 { now } else { now.saturating_sub(WRITTEN_WITHIN) };
        let closed = written - written % length;
        if self.is_one {
            let window = self.window.next_multiple_of(length);
            return Span { tier, from: closed.saturating_sub(window), until: closed, step: window };
        }
        let least = least_step.max(length).max(self.window.div_ceil(STEPS_MAX));
        let step = self.step.unwrap_or_else(|| {
            let fits = |step: &&u64| self.window.div_ceil(**step) <= 180;
            STEPS.iter().find(fits).copied().unwrap_or(STEPS[STEPS.len() - 1])
        });
        let step = u64::max(step, least).next_multiple_of(length);
        // The same second is of the same step, however often is asked.
        let until = closed - closed % step;
        let window = self.window.next_multiple_of(step);
        Span { tier, from: until.saturating_sub(window), until, step }
    }
}

impl Span {
    /// Steps one after the other from a second on, of which memory tells (`tier` 0), or the disk.
    pub(crate) fn steps_from(tier: usize, from: u64, step: u64, steps: u64) -> Self {
        Self { tier, from, until: from + step * steps, step }
    }

    pub(crate) fn steps(self) -> usize {
        ((self.until - self.from) / self.step) as usize
    }

    fn step_of(self, second: u64) -> Option<usize> {
        let is_within = (self.from..self.until).contains(&second);
        is_within.then(|| ((second - self.from) / self.step) as usize)
    }
}

/// Requests, with how they ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted {
    pub(crate) cell: Cell,
    /// Those that did not end with a whole answer, and have a code that is no error.
    pub(crate) broken: u64,
    /// Those that something else than the lane served.
    pub(crate) fallback: u64,
    /// Those that nobody answered: who serves has not seen them, or not to their end.
    pub(crate) failed: u64,
}

impl Counted {
    pub(crate) fn add(&mut self, outcome: Outcome, cell: &Cell) {
        self.cell.add(cell);
        let requests = cell.requests();
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        match outcome {
            // Whoever leaves before the answer is no error of anybody: 4xx.
            Outcome::Failed => {
                add(
                    &mut self.broken,
                    cell.classes[1..4].iter().fold(0, |a, b| a.saturating_add(*b)),
                );
                add(&mut self.failed, requests);
            }
            Outcome::Cut => {
                let whole = cell.classes[0].saturating_add(cell.classes[5]);
                add(&mut self.broken, requests.saturating_sub(whole));
            }
            Outcome::Fallback => add(&mut self.fallback, requests),
            Outcome::Lane | Outcome::Base | Outcome::Denied | Outcome::Unknown => {}
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.cell.add(&other.cell);
        for (sum, more) in [
            (&mut self.broken, other.broken),
            (&mut self.fallback, other.fallback),
            (&mut self.failed, other.failed),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.cell.requests()
    }

    /// Those that failed: answered with a 5xx, not answered, or not to the end.
    pub(crate) fn errors(&self) -> u64 {
        let of_code = self.cell.classes[0].saturating_add(self.cell.classes[5]);
        of_code.saturating_add(self.broken)
    }
}

/// What was counted.
#[derive(Debug)]
pub(crate) struct Answer<K> {
    pub(crate) span: Span,
    /// Step by step: how many data planes could tell something; `None`: nothing was recorded.
    pub(crate) recorded: Vec<Option<u32>>,
    /// Step by step; `None`: nothing was counted.
    pub(crate) lines: BTreeMap<K, Vec<Option<Box<Counted>>>>,
    /// There were more lines than fit.
    pub(crate) is_cut: bool,
    pub(crate) kept_by: StatisticsKeeper,
    /// The first second that anything was recorded in.
    since: Option<u64>,
}

impl<K: Ord + Clone> Answer<K> {
    fn new(span: Span, kept_by: StatisticsKeeper) -> Self {
        let recorded = vec![None; span.steps()];
        Self { span, recorded, lines: BTreeMap::new(), is_cut: false, kept_by, since: None }
    }

    pub(super) fn recorded(&mut self, second: u64, data_planes: u32) {
        if let Some(step) = self.span.step_of(second) {
            self.recorded[step] = self.recorded[step].max(Some(data_planes));
            self.since = Some(self.since.map_or(second, |since| since.min(second)));
        }
    }

    /// Seconds of which anything is known.
    pub(crate) fn seconds(&self) -> u64 {
        (self.span.until - self.since.unwrap_or(self.span.from).min(self.span.until)).max(1)
    }

    /// Reads a cell off the front, and counts it.
    fn take(&mut self, of: Option<&(K, Outcome)>, second: u64, bytes: &mut &[u8]) -> Option<()> {
        let counted = of.and_then(|(key, _)| self.counted(key, second));
        let (Some((_, outcome)), Some(counted)) = (of, counted) else {
            return Cell::read(bytes, None);
        };
        let mut cell = Cell::default();
        Cell::read(bytes, Some(&mut cell))?;
        counted.add(*outcome, &cell);
        Some(())
    }

    pub(super) fn counted(&mut self, key: &K, second: u64) -> Option<&mut Counted> {
        let step = self.span.step_of(second)?;
        if !self.lines.contains_key(key) {
            if (self.lines.len() + 1) * self.span.steps() > CELLS_MAX {
                self.is_cut = true;
                return None;
            }
            self.lines.insert(key.clone(), vec![None; self.span.steps()]);
        }
        let line = self.lines.get_mut(key)?;
        Some(line[step].get_or_insert_default())
    }

    /// Lines of which only durations are known say nothing.
    pub(super) fn leave_out_without_requests(&mut self) {
        let has_requests = |line: &mut Vec<Option<Box<Counted>>>| {
            line.iter().flatten().any(|counted| counted.requests() > 0)
        };
        self.lines.retain(|_, line| has_requests(line));
    }

    /// Adds lines that somebody else has counted in the same time.
    pub(crate) fn add_lines(&mut self, other: Self) {
        self.lines.extend(other.lines);
    }

    /// Most data planes that could tell something at a time.
    pub(crate) fn data_planes(&self) -> u32 {
        self.recorded.iter().flatten().copied().max().unwrap_or(0)
    }
}

impl Statistics {
    /// What was counted of those series that `line` names, added up by what it names them. Reads the disk where the window is
    /// longer than seconds are kept: for threads that may wait.
    pub(crate) fn answer<K: Ord + Clone>(
        &self,
        wanted: Wanted,
        now: Instant,
        line: impl Fn(&Labels) -> Option<K>,
    ) -> Result<Answer<K>, rusqlite::Error> {
        self.tick(now);
        let span = wanted.at(self.second(now), 1);
        self.answer_of(span, line)
    }

    /// An answer to be filled by Prometheus, where it is of a longer time than what is in memory.
    pub(crate) fn long_answer<K: Ord + Clone>(
        &self,
        wanted: Wanted,
        now: Instant,
        least_step: u64,
    ) -> Option<Answer<K>> {
        let span = wanted.at(self.second(now), least_step);
        (span.tier > 0).then(|| Answer::new(span, StatisticsKeeper::Prometheus))
    }

    /// The second that is being counted.
    pub(crate) fn second(&self, now: Instant) -> u64 {
        self.counted.lock().clock.second(now)
    }

    /// As [`Self::answer`], of a time that has passed.
    fn answer_of<K: Ord + Clone>(
        &self,
        span: Span,
        line: impl Fn(&Labels) -> Option<K>,
    ) -> Result<Answer<K>, rusqlite::Error> {
        self.reading(span, line)?.answer(span)
    }

    /// Begins to read a time that has passed, to be answered part by part.
    pub(crate) fn reading<K: Ord + Clone>(
        &self,
        span: Span,
        line: impl Fn(&Labels) -> Option<K>,
    ) -> Result<Reading<K>, rusqlite::Error> {
        let counted = self.counted.lock();
        let known = counted.table.all();
        let of = |labels: &Labels| Some((line(labels)?, labels.outcome));
        let mut lines: HashMap<u32, (K, Outcome)> =
            known.filter_map(|(number, series)| Some((number, of(&series.labels)?))).collect();
        let frames = match span.tier {
            0 => counted.recent.between(span.from, span.until),
            _ => Vec::new(),
        };
        drop(counted);
        let mut disk = None;
        if span.tier > 0 {
            let connection = history::reader(self.history.path())?;
            for (number, labels) in history::read_series(&connection)? {
                if let Some(key) = of(&labels) {
                    lines.insert(number, key);
                }
            }
            disk = Some(connection);
        }
        Ok(Reading { lines, frames, disk })
    }
}

/// A time that is read part by part: which series are asked for, and where what was counted of them is, are looked at once.
pub(crate) struct Reading<K> {
    lines: HashMap<u32, (K, Outcome)>,
    frames: Vec<Arc<Frame>>,
    disk: Option<Connection>,
}

impl<K: Ord + Clone> Reading<K> {
    /// What was counted in a part of it.
    pub(crate) fn answer(&self, span: Span) -> Result<Answer<K>, rusqlite::Error> {
        let Self { lines, frames, disk } = self;
        let mut answer = Answer::new(span, StatisticsKeeper::ControlPlane);
        for frame in frames.iter().filter(|it| (span.from..span.until).contains(&it.second)) {
            answer.recorded(frame.second, frame.data_planes);
            frame.read(|number, bytes| answer.take(lines.get(&number), frame.second, bytes));
        }
        if let Some(connection) = disk {
            let within = (span.from, span.until);
            for (second, planes) in history::read_recorded(connection, span.tier, within)? {
                answer.recorded(second, planes);
            }
            let numbers = lines.keys().copied();
            history::read_spans(
                connection,
                span.tier,
                numbers,
                within,
                |second, number, bytes| {
                    // What is spoilt counts nothing.
                    let _ = answer.take(lines.get(&number), second, &mut &bytes[..]);
                },
            )?;
        }
        Ok(answer)
    }
}
