//! Puts a [`Matcher`] together: numbers questions, chooses keys and columns.

use std::collections::{BTreeMap, HashMap};

use regex::bytes::RegexSetBuilder;

use super::{Column, Hit, Lane, Matcher, Question, RegexesOfParameter};
use crate::{
    condition::{Condition, REGEX_BYTES_MAX},
    group::Meet,
    hash::FastMap,
    lane_set::{LaneList, LaneSet},
    predicate::Predicate,
};

/// Columns a matcher may have: each costs a pass over the bits of all lanes when candidates are many.
const COLUMNS_MAX: usize = 32;

/// Lanes that must ask a parameter before it is worth a column.
const COLUMN_LANES_MIN: usize = 16;

/// Regular expressions on one parameter that are worth a set.
const REGEXES_PER_SET_MIN: usize = 4;

/// Bytes a set of regular expressions, and its cache, may take: some of the largest single ones.
const REGEX_SET_BYTES_MAX: usize = 4 * REGEX_BYTES_MAX;

/// Takes lanes in rule-2 order.
#[derive(Debug, Default)]
pub(crate) struct Builder<'s> {
    matcher: Matcher,
    numbers: FastMap<&'s Condition, u32>,
    meets: Vec<Meet>,
}

/// What is gathered for one value of one parameter.
#[derive(Debug, Default)]
struct Draft {
    /// How many `all` lanes ask for it.
    asked: usize,
    keyed: Vec<u16>,
    /// By column, in order.
    columns: Vec<(u16, Vec<u16>)>,
    first_any: Option<u16>,
}

impl<'s> Builder<'s> {
    /// Adds a lane after those already there. `index` is its index among the group's lanes.
    pub(crate) fn add(
        &mut self,
        index: u16,
        meet: Meet,
        conditions: &'s [Condition],
        predicates: Vec<Predicate>,
    ) {
        let written = conditions
            .iter()
            .zip(predicates)
            .map(|(condition, predicate)| self.question(condition, predicate))
            .collect();
        self.meets.push(meet);
        self.matcher.lanes.push(Lane { index, written, ordered: Box::default(), uncovered: 0 });
    }

    fn question(&mut self, condition: &'s Condition, predicate: Predicate) -> u32 {
        let matcher = &mut self.matcher;
        *self.numbers.entry(condition).or_insert_with(|| {
            let parameter = matcher.parameters.number(&condition.parameter);
            matcher.questions.push(Question {
                parameter,
                predicate,
                lanes: LaneList::default(),
                memo: None,
                set: None,
            });
            matcher.questions.len() as u32 - 1
        })
    }

    pub(crate) fn finish(self) -> Matcher {
        let Self { mut matcher, meets, .. } = self;
        let count = matcher.lanes.len();
        let all: Vec<u16> = lanes_that_meet(&meets, Meet::All);
        let any: Vec<u16> = lanes_that_meet(&meets, Meet::Any);
        let mut drafts = enter_askers(&mut matcher, &all);
        remember_costly(&mut matcher);
        let covered = enter_columns(&mut matcher, &all, &mut drafts);
        enter_keys(&mut matcher, &all, &mut drafts);
        enter_any(&mut matcher, &any, &mut drafts);
        matcher.values = drafts
            .into_iter()
            .map(|by_value| {
                by_value.into_iter().map(|(value, draft)| (value, draft.finish(count))).collect()
            })
            .collect();
        for lane in all {
            order_questions(&mut matcher, usize::from(lane), &covered[usize::from(lane)]);
        }
        matcher
    }
}

/// Which lanes ask each question; and, by value, how many do.
fn enter_askers(matcher: &mut Matcher, all: &[u16]) -> Drafts {
    let mut askers: Vec<Vec<u16>> = vec![Vec::new(); matcher.questions.len()];
    for lane in all {
        for question in distinct(&matcher.lanes[usize::from(*lane)].written) {
            askers[question as usize].push(*lane);
        }
    }
    let mut drafts: Drafts = (0..matcher.parameters.count()).map(|_| FastMap::default()).collect();
    for (question, askers) in matcher.questions.iter_mut().zip(&askers) {
        question.lanes = LaneList::new(askers, matcher.lanes.len());
        change_drafts(question, &mut drafts, |draft| draft.asked += askers.len());
    }
    drafts
}

/// Gives the questions that most lanes ask a column each. By lane: the questions that columns answer.
fn enter_columns(matcher: &mut Matcher, all: &[u16], drafts: &mut Drafts) -> Vec<Vec<u32>> {
    let count = matcher.lanes.len();
    let mut covered: Vec<Vec<u32>> = vec![Vec::new(); count];
    for (number, column) in (0_u16..).zip(choose_columns(matcher, all)) {
        let mut free = LaneSet::empty(count);
        (0..count).for_each(|lane| free.insert(lane));
        for (lane, question) in &column.askers {
            free.remove(usize::from(*lane));
            covered[usize::from(*lane)].push(*question);
            change_drafts(&matcher.questions[*question as usize], drafts, |draft| {
                match draft.columns.last_mut() {
                    Some((last, lanes)) if *last == number => lanes.push(*lane),
                    _ => draft.columns.push((number, vec![*lane])),
                }
            });
        }
        matcher.columns.push(Column { parameter: column.parameter, free });
    }
    covered
}

/// Enters each lane that all its conditions must let in under the value that the fewest lanes share.
fn enter_keys(matcher: &mut Matcher, all: &[u16], drafts: &mut Drafts) {
    let mut keyless = Vec::new();
    let commonness = commonness(matcher, drafts);
    for lane in all {
        let key = distinct(&matcher.lanes[usize::from(*lane)].written)
            .filter(|question| is_indexed(&matcher.questions[*question as usize]))
            .min_by_key(|question| commonness[*question as usize]);
        match key {
            Some(key) => change_drafts(&matcher.questions[key as usize], drafts, |draft| {
                draft.keyed.push(*lane);
            }),
            None => keyless.push(*lane),
        }
    }
    matcher.keyless = LaneList::new(&keyless, matcher.lanes.len());
}

/// For lanes that one condition lets in: the first lane of each value, and of each question that has no values.
fn enter_any(matcher: &mut Matcher, any: &[u16], drafts: &mut Drafts) {
    let mut first_any: BTreeMap<u32, u16> = BTreeMap::new();
    for lane in any {
        for question in distinct(&matcher.lanes[usize::from(*lane)].written) {
            let asked = &matcher.questions[question as usize];
            if is_indexed(asked) {
                change_drafts(asked, drafts, |draft| {
                    draft.first_any.get_or_insert(*lane);
                });
            } else {
                first_any.entry(question).or_insert(*lane);
            }
        }
    }
    matcher.any_questions =
        first_any.into_iter().map(|(question, lane)| (lane, question)).collect();
    matcher.any_questions.sort_unstable();
}

/// By parameter, then value.
type Drafts = Vec<FastMap<Box<[u8]>, Draft>>;

impl Draft {
    fn finish(self, lanes: usize) -> Hit {
        let columns =
            self.columns.into_iter().map(|(column, list)| (column, LaneList::new(&list, lanes)));
        Hit {
            keyed: LaneList::new(&self.keyed, lanes),
            columns: columns.collect(),
            first_any: self.first_any,
        }
    }
}

/// Gives costly questions a place to be remembered, and groups the regular expressions of each parameter.
fn remember_costly(matcher: &mut Matcher) {
    let mut by_parameter: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    let mut memos = 0..;
    for (number, question) in matcher.questions.iter_mut().enumerate() {
        if question.predicate.is_costly() {
            question.memo = memos.next();
        }
        if matches!(question.predicate, Predicate::Regex(_)) {
            by_parameter.entry(question.parameter).or_default().push(number);
        }
    }
    for numbers in by_parameter.into_values().filter(|numbers| numbers.len() >= REGEXES_PER_SET_MIN)
    {
        let questions = numbers.iter().map(|number| &matcher.questions[*number]);
        let patterns = questions.clone().filter_map(|question| match &question.predicate {
            Predicate::Regex(regex) => Some(regex.as_str()),
            _ => None,
        });
        let built = RegexSetBuilder::new(patterns)
            .size_limit(REGEX_SET_BYTES_MAX)
            .dfa_size_limit(REGEX_SET_BYTES_MAX)
            .build();
        // Too large together: they stay as they are, one by one.
        let Ok(regexes) = built else { continue };
        let memos = questions.filter_map(|question| question.memo).collect();
        let set = matcher.sets.len() as u32;
        matcher.sets.push(RegexesOfParameter { regexes, memos });
        numbers.iter().for_each(|number| matcher.questions[*number].set = Some(set));
    }
}

/// A column before its lanes are entered.
struct ColumnDraft {
    parameter: u32,
    /// Lanes that ask it, and by which question.
    askers: Vec<(u16, u32)>,
}

/// Those most lanes ask.
fn choose_columns(matcher: &Matcher, all: &[u16]) -> Vec<ColumnDraft> {
    let mut by_place: BTreeMap<(u32, usize), Vec<(u16, u32)>> = BTreeMap::new();
    for lane in all {
        let mut seen: HashMap<u32, usize> = HashMap::new();
        for number in distinct(&matcher.lanes[usize::from(*lane)].written) {
            let question = &matcher.questions[number as usize];
            if is_indexed(question) {
                let ordinal = seen.entry(question.parameter).or_default();
                by_place.entry((question.parameter, *ordinal)).or_default().push((*lane, number));
                *ordinal += 1;
            }
        }
    }
    let mut columns: Vec<ColumnDraft> = by_place
        .into_iter()
        .filter(|(_, askers)| askers.len() >= COLUMN_LANES_MIN)
        .map(|((parameter, _), askers)| ColumnDraft { parameter, askers })
        .collect();
    columns.sort_by_key(|column| std::cmp::Reverse(column.askers.len()));
    columns.truncate(COLUMNS_MAX);
    columns
}

/// By question: how many lanes its commonest value leads to. The rarest of a lane's is its key.
fn commonness(matcher: &Matcher, drafts: &Drafts) -> Vec<usize> {
    let asked = |question: &Question, word| {
        drafts[question.parameter as usize].get(word).map(|draft| draft.asked)
    };
    matcher
        .questions
        .iter()
        .map(|question| {
            words(question).filter_map(|word| asked(question, word)).max().unwrap_or_default()
        })
        .collect()
}

fn order_questions(matcher: &mut Matcher, lane: usize, covered: &[u32]) {
    let mut ordered: Vec<u32> = distinct(&matcher.lanes[lane].written).collect();
    let is_covered = |question: &u32| covered.contains(question);
    ordered.sort_by_key(|question| {
        (is_covered(question), matcher.questions[*question as usize].predicate.is_costly())
    });
    let uncovered = ordered.iter().filter(|question| !is_covered(question)).count() as u32;
    matcher.lanes[lane].ordered = ordered.into();
    matcher.lanes[lane].uncovered = uncovered;
}

fn lanes_that_meet(meets: &[Meet], wanted: Meet) -> Vec<u16> {
    meets.iter().zip(0..).filter(|(meet, _)| **meet == wanted).map(|(_, lane)| lane).collect()
}

/// Without repetitions, in order: a lane may be written with one condition twice.
fn distinct(questions: &[u32]) -> impl Iterator<Item = u32> {
    questions
        .iter()
        .enumerate()
        .filter(|(index, question)| !questions[..*index].contains(question))
        .map(|(_, question)| *question)
}

/// Whether values lead to the lanes that ask it.
fn is_indexed(question: &Question) -> bool {
    matches!(question.predicate, Predicate::Among(_))
}

fn words(question: &Question) -> impl Iterator<Item = &[u8]> {
    let words = match &question.predicate {
        Predicate::Among(words) => &**words,
        _ => &[],
    };
    words.iter().map(|word| &**word)
}

/// Calls `change` with the draft of every value that satisfies an indexed question.
fn change_drafts(question: &Question, drafts: &mut Drafts, mut change: impl FnMut(&mut Draft)) {
    let by_value = &mut drafts[question.parameter as usize];
    for word in words(question) {
        match by_value.get_mut(word) {
            Some(draft) => change(draft),
            None => change(by_value.entry(word.into()).or_default()),
        }
    }
}
