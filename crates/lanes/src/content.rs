//! Content lanes of one group, compiled: equal conditions are asked once per request, whatever the number of
//! lanes that share them.

use std::{collections::HashMap, net::IpAddr};

use smallvec::SmallVec;

use crate::{
    Request,
    condition::{Condition, Parameter},
    group::Meet,
    predicate::Predicate,
    values::{self, Values},
};

/// All content lanes of a group that entrances may match, in rule-2 order.
#[derive(Debug, Default)]
pub(crate) struct Matcher {
    parameters: Vec<Parameter>,
    questions: Vec<Question>,
    lanes: Vec<Lane>,
}

/// One distinct condition.
#[derive(Debug)]
struct Question {
    /// Index into [`Matcher::parameters`].
    parameter: usize,
    predicate: Predicate,
}

#[derive(Debug)]
struct Lane {
    /// Index into the group's lanes.
    index: u16,
    meet: Meet,
    /// Indices into [`Matcher::questions`].
    questions: Vec<usize>,
}

/// Puts a [`Matcher`] together.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    matcher: Matcher,
    parameters: HashMap<Parameter, usize>,
    questions: HashMap<Condition, usize>,
}

impl Builder {
    /// Adds a lane after those already there.
    pub(crate) fn add(
        &mut self,
        index: u16,
        meet: Meet,
        conditions: &[Condition],
        predicates: Vec<Predicate>,
    ) {
        let questions = conditions
            .iter()
            .zip(predicates)
            .map(|(condition, predicate)| self.question(condition, predicate))
            .collect();
        self.matcher.lanes.push(Lane { index, meet, questions });
    }

    pub(crate) fn finish(self) -> Matcher {
        self.matcher
    }

    fn question(&mut self, condition: &Condition, predicate: Predicate) -> usize {
        let parameters = &mut self.matcher.parameters;
        let parameter = *self.parameters.entry(condition.parameter.clone()).or_insert_with(|| {
            parameters.push(condition.parameter.clone());
            parameters.len() - 1
        });
        let questions = &mut self.matcher.questions;
        *self.questions.entry(condition.clone()).or_insert_with(|| {
            questions.push(Question { parameter, predicate });
            questions.len() - 1
        })
    }
}

impl Matcher {
    /// The first lane that takes the request, as an index into the group's lanes.
    pub(crate) fn first(&self, request: &impl Request) -> Option<u16> {
        let mut asked = Asked {
            values: self.parameters.iter().map(|_| None).collect(),
            answers: self.questions.iter().map(|_| None).collect(),
            client_ip: request.client_ip(),
        };
        self.lanes
            .iter()
            .find(|lane| {
                let mut holds = |question: &usize| self.holds(*question, request, &mut asked);
                match lane.meet {
                    Meet::All => lane.questions.iter().all(&mut holds),
                    Meet::Any => lane.questions.iter().any(&mut holds),
                }
            })
            .map(|lane| lane.index)
    }

    fn holds<'r>(&self, index: usize, request: &'r impl Request, asked: &mut Asked<'r>) -> bool {
        if let Some(answer) = asked.answers[index] {
            return answer;
        }
        let question = &self.questions[index];
        let parameter = &self.parameters[question.parameter];
        let values = asked.values[question.parameter]
            .get_or_insert_with(|| values::read(parameter, request));
        let answer = question.predicate.holds(values, asked.client_ip);
        asked.answers[index] = Some(answer);
        answer
    }
}

/// What one request has already been asked.
struct Asked<'r> {
    values: SmallVec<[Option<Values<'r>>; 8]>,
    answers: SmallVec<[Option<bool>; 64]>,
    client_ip: IpAddr,
}
