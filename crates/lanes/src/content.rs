//! Content lanes of one group, compiled: which of them takes a request, without trying one after the other.
//!
//! What is equal is asked once. A *question* is one distinct condition, whatever the number of lanes that
//! ask it. Three steps leave few lanes to look at, whatever the lanes have in common:
//! 1. Each `all` lane has one *key*, the rarest of its `==` and `in` conditions. The values of the request
//!    lead to the lanes whose key they satisfy; no other lane with a key can match.
//! 2. If many are left, their conditions on common parameters are intersected, 64 lanes at a time
//!    (*columns*).
//! 3. Those still left are asked in order. An answer of no takes every lane with that question out.
//!
//! An `any` lane matches with the first yes, so each question only needs to know the first lane that asks it.

mod build;
mod parameters;

use std::net::IpAddr;

use regex::bytes::RegexSet;
use smallvec::SmallVec;

pub(crate) use self::build::Builder;
use self::parameters::{Parameters, Read};
use crate::{
    Request,
    hash::FastMap,
    lane_set::{LaneList, LaneSet},
    predicate::Predicate,
};

/// All content lanes of a group that entrances may match, in rule-2 order. Lanes are counted within it.
#[derive(Debug, Default)]
pub(crate) struct Matcher {
    parameters: Parameters,
    /// By parameter: what each value that occurs in `==` and `in` conditions leads to.
    values: Vec<FastMap<Box<[u8]>, Hit>>,
    questions: Vec<Question>,
    sets: Vec<RegexesOfParameter>,
    lanes: Vec<Lane>,
    /// `all` lanes without `==` or `in`: always looked at.
    keyless: LaneList,
    columns: Vec<Column>,
    /// Questions of `any` lanes that `values` does not answer, and the first lane that asks each; by lane.
    any_questions: Vec<(u16, u32)>,
}

/// One distinct condition.
#[derive(Debug)]
struct Question {
    /// Index into [`Parameters`].
    parameter: u32,
    predicate: Predicate,
    /// `all` lanes that ask it.
    lanes: LaneList,
    /// Where its answer is remembered, if it is worth that.
    memo: Option<u32>,
    /// Index into [`Matcher::sets`], for a regular expression that has many beside it.
    set: Option<u32>,
}

/// Regular expressions that read one parameter, to be asked in one pass.
#[derive(Debug)]
struct RegexesOfParameter {
    regexes: RegexSet,
    /// By expression: where its answer is remembered.
    memos: Vec<u32>,
}

#[derive(Debug)]
struct Lane {
    /// Index into the group's lanes.
    index: u16,
    /// Indices into [`Matcher::questions`], as written.
    written: Box<[u32]>,
    /// The same for `all` lanes, cheapest first, those that columns answer last.
    ordered: Box<[u32]>,
    /// How many of `ordered` no column answers.
    uncovered: u32,
}

/// What one value of one parameter leads to.
#[derive(Debug)]
struct Hit {
    /// `all` lanes whose key it satisfies.
    keyed: LaneList,
    /// By column of this parameter: the lanes whose condition there it satisfies.
    columns: Vec<(u16, LaneList)>,
    /// The first `any` lane it satisfies a condition of.
    first_any: Option<u16>,
}

/// A parameter that many lanes ask by `==` or `in`. A lane with two such conditions on one parameter is in
/// two columns.
#[derive(Debug)]
struct Column {
    parameter: u32,
    /// Lanes that do not ask it.
    free: LaneSet,
}

/// With fewer candidates than this they are asked at once: columns would cost more than they save.
const CANDIDATES_FEW: u32 = 8;

impl Matcher {
    /// The first lane that takes the request, as an index into the group's lanes.
    pub(crate) fn first(&self, request: &impl Request) -> Option<u16> {
        if self.lanes.is_empty() {
            return None;
        }
        let mut asking = Asking::new(self, request);
        self.parameters.read(request, &mut asking.read);
        let mut hits = SmallVec::<[_; 16]>::new();
        hits.extend(self.hits(&asking.read));
        let first_any = hits.iter().filter_map(|(_, hit)| hit.first_any).min();
        let mut bound = first_any.map_or(self.lanes.len(), usize::from);
        if let Some(found) = self.first_all(&hits, &mut asking, bound) {
            bound = found;
        }
        for (lane, question) in &self.any_questions {
            if usize::from(*lane) >= bound {
                break;
            }
            if asking.holds(*question) {
                bound = usize::from(*lane);
            }
        }
        self.lanes.get(bound).map(|lane| lane.index)
    }

    /// Whether each condition of a lane holds, as written. `lane` is an index into the group's lanes.
    pub(crate) fn answers(&self, lane: u16, request: &impl Request) -> Vec<bool> {
        let mut asking = Asking::new(self, request);
        self.parameters.read(request, &mut asking.read);
        self.lanes
            .iter()
            .filter(|candidate| candidate.index == lane)
            .flat_map(|candidate| candidate.written.iter())
            .map(|question| asking.holds(*question))
            .collect()
    }

    /// What the values of the request lead to, by parameter.
    fn hits(&self, read: &Read<'_>) -> impl Iterator<Item = (u32, &Hit)> {
        read.all().filter_map(|(parameter, value)| {
            Some((parameter, self.values[parameter as usize].get(value)?))
        })
    }

    /// The first `all` lane before `bound` that takes the request.
    fn first_all(
        &self,
        hits: &[(u32, &Hit)],
        asking: &mut Asking<'_, '_>,
        bound: usize,
    ) -> Option<usize> {
        let mut alive = LaneSet::empty(self.lanes.len());
        self.keyless.add_to(&mut alive);
        hits.iter().for_each(|(_, hit)| hit.keyed.add_to(&mut alive));
        let use_columns = !self.columns.is_empty() && alive.count() > CANDIDATES_FEW;
        if use_columns {
            self.intersect(hits, &mut alive);
        }
        let mut from = 0;
        while let Some(lane) = alive.next(from).filter(|lane| *lane < bound) {
            let candidate = &self.lanes[lane];
            let count =
                if use_columns { candidate.uncovered as usize } else { candidate.ordered.len() };
            let Some(no) =
                candidate.ordered[..count].iter().find(|question| !asking.holds(**question))
            else {
                return Some(lane);
            };
            // Its own lane is among those that ask it.
            self.questions[*no as usize].lanes.remove_from(&mut alive);
            from = lane;
        }
        None
    }

    fn intersect(&self, hits: &[(u32, &Hit)], alive: &mut LaneSet) {
        for (column, number) in self.columns.iter().zip(0_u16..) {
            let mut satisfied = column.free.copy();
            let here = hits.iter().filter(|(parameter, _)| *parameter == column.parameter);
            for (_, hit) in here {
                if let Some((_, lanes)) = hit.columns.iter().find(|(have, _)| *have == number) {
                    lanes.add_to(&mut satisfied);
                }
            }
            alive.keep(&satisfied);
        }
    }
}

/// One request being asked.
struct Asking<'m, 'r> {
    matcher: &'m Matcher,
    read: Read<'r>,
    client_ip: IpAddr,
    memory: Memory,
}

/// Answers that were costly to find. By [`Question::memo`] as bits; empty until the first.
#[derive(Debug, Default)]
struct Memory {
    asked: SmallVec<[u64; 2]>,
    yes: SmallVec<[u64; 2]>,
    /// Regular expressions asked one by one so far.
    alone: u32,
}

/// Regular expressions of one parameter that a request may be asked one by one. With more, all of that
/// parameter are asked in one pass, which costs about as much as these.
const REGEXES_ALONE_MAX: u32 = 2;

impl<'m, 'r> Asking<'m, 'r> {
    /// Nothing is read yet.
    fn new(matcher: &'m Matcher, request: &'r impl Request) -> Self {
        Self {
            matcher,
            read: Read::default(),
            client_ip: request.client_ip(),
            memory: Memory::default(),
        }
    }

    fn holds(&mut self, index: u32) -> bool {
        let question = &self.matcher.questions[index as usize];
        let Some(memo) = question.memo else { return self.ask(question) };
        if let Some(answer) = self.memory.get(memo) {
            return answer;
        }
        if let Some(set) = question.set {
            if self.memory.alone >= REGEXES_ALONE_MAX {
                self.ask_set(&self.matcher.sets[set as usize], question.parameter);
                return self.memory.get(memo).unwrap_or_default();
            }
            self.memory.alone += 1;
        }
        let answer = self.ask(question);
        self.memory.set(memo, answer);
        answer
    }

    fn ask(&self, question: &Question) -> bool {
        question.predicate.holds(self.read.values(question.parameter), self.client_ip)
    }

    fn ask_set(&mut self, set: &RegexesOfParameter, parameter: u32) {
        set.memos.iter().for_each(|memo| self.memory.set(*memo, false));
        for value in self.read.values(parameter) {
            set.regexes.matches(value).iter().for_each(|at| self.memory.set(set.memos[at], true));
        }
    }
}

impl Memory {
    fn get(&self, memo: u32) -> Option<bool> {
        let (word, bit) = (memo as usize / 64, 1 << (memo % 64));
        let asked = self.asked.get(word)? & bit != 0;
        asked.then(|| self.yes[word] & bit != 0)
    }

    fn set(&mut self, memo: u32, answer: bool) {
        let (word, bit) = (memo as usize / 64, 1 << (memo % 64));
        if self.asked.len() <= word {
            self.asked.resize(word + 1, 0);
            self.yes.resize(word + 1, 0);
        }
        self.asked[word] |= bit;
        self.yes[word] |= if answer { bit } else { 0 };
    }
}
