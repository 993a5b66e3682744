//! Answers what was counted: from the seconds in memory, or from longer spans on disk, added up step by step.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use super::{
    Statistics,
    cell::Cell,
    history::{self, KEPT_SECONDS},
    series::{Labels, TIERS},
};

/// Figures of one answer, 25 MB while it is put together: 364 lines of 180 steps, or every series there may be in one step.
/// Lines that come later are left out, and that is told.
const CELLS_MAX: usize = 65_536;

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
    fn at(self, now: u64) -> Span {
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
        let least = u64::max(length, self.window.div_ceil(STEPS_MAX));
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
    pub(crate) fn steps(self) -> usize {
        ((self.until - self.from) / self.step) as usize
    }

    fn step_of(self, second: u64) -> Option<usize> {
        let is_within = (self.from..self.until).contains(&second);
        is_within.then(|| ((second - self.from) / self.step) as usize)
    }
}

/// What was counted.
#[derive(Debug)]
pub(crate) struct Answer<K> {
    pub(crate) span: Span,
    /// Step by step: how many data planes could tell something; `None`: nothing was recorded.
    pub(crate) recorded: Vec<Option<u32>>,
    /// Step by step; `None`: nothing was counted.
    pub(crate) lines: BTreeMap<K, Vec<Option<Box<Cell>>>>,
    /// There were more lines.
    pub(crate) is_cut: bool,
}

impl<K: Ord + Clone> Answer<K> {
    fn new(span: Span) -> Self {
        let recorded = vec![None; span.steps()];
        Self { span, recorded, lines: BTreeMap::new(), is_cut: false }
    }

    fn recorded(&mut self, second: u64, data_planes: u32) {
        if let Some(step) = self.span.step_of(second) {
            self.recorded[step] = self.recorded[step].max(Some(data_planes));
        }
    }

    fn cell(&mut self, key: &K, second: u64) -> Option<&mut Cell> {
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
        let counted = self.counted.lock();
        let span = wanted.at(counted.clock.second(now));
        let known = counted.table.all();
        let mut lines: HashMap<u32, K> =
            known.filter_map(|(number, series)| Some((number, line(&series.labels)?))).collect();
        let frames = match span.tier {
            0 => counted.recent.since(span.from),
            _ => Vec::new(),
        };
        drop(counted);
        let mut answer = Answer::new(span);
        for frame in &frames {
            answer.recorded(frame.second, frame.data_planes);
            frame.read(|number, bytes| {
                let cell = lines.get(&number).and_then(|key| answer.cell(key, frame.second));
                Cell::read(bytes, cell)
            });
        }
        if span.tier > 0 {
            let connection = history::reader(self.history.path())?;
            for (number, labels) in history::read_series(&connection)? {
                if let Some(key) = line(&labels) {
                    lines.insert(number, key);
                }
            }
            let within = (span.from, span.until);
            for (second, planes) in history::read_recorded(&connection, span.tier, within)? {
                answer.recorded(second, planes);
            }
            let numbers = lines.keys().copied();
            history::read_spans(
                &connection,
                span.tier,
                numbers,
                within,
                |second, number, bytes| {
                    let cell = lines.get(&number).and_then(|key| answer.cell(key, second));
                    // What is spoilt counts nothing.
                    let _ = Cell::read(&mut &bytes[..], cell);
                },
            )?;
        }
        Ok(answer)
    }
}
