//! Whole-set validation, the same for every writer: the control plane, `laneway check`, Kubernetes.
//!
//! Shapes are checked by [`crate::convert`], rules by the compilers of `lanes` and `routes`; here their problems
//! get the object they belong to, and what only the whole set shows is added: names, references, conflicts.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::resource::{Key, Kind, Object, Set};

mod backend_policies;
mod certificates;
mod compiled;
mod conditions;
mod in_use;
mod judged;
mod lanes;
mod reported;
mod routes;
mod sources;
pub mod spread;

use compiled::Compiled;

pub use reported::Reported;

/// One thing that is wrong or doubtful with an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Finding {
    /// The object.
    pub object: Key,
    /// What, with the path in the object.
    pub problem: ::lanes::Problem,
    /// How bad it is.
    pub severity: Severity,
}

impl Finding {
    /// Whether this one, known before, excuses `later`.
    fn excuses(&self, later: &Self) -> bool {
        self.object == later.object
            && self.severity == later.severity
            && self.problem.excuses(&later.problem)
    }
}

/// How bad a finding is.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Not written.
    #[default]
    Error,
    /// Written, but without effect while another object says otherwise: it gets a `Conflicted` condition.
    Conflict,
    /// Written.
    Warning,
}

/// Everything that is wrong or doubtful with a set of objects, errors first.
pub fn validate(set: &Set) -> Vec<Finding> {
    let mut findings = Validator::default().validate(set);
    findings.extend(spread::check(set));
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// Validates one set after the other, and remembers of the last what is costly to find: a set that differs in one
/// lane costs the compilation of one group.
#[derive(Debug, Default)]
pub struct Validator {
    compiled: Compiled,
    reported: Arc<Reported>,
}

impl Validator {
    /// From now on judges by what entrances tell of themselves. Whether that is not what they told before.
    pub fn entrances_report(&mut self, reported: Arc<Reported>) -> bool {
        let is_news = self.reported != reported;
        self.reported = reported;
        is_news
    }

    /// As [`validate`], without [`spread`]: who validates again and again knows the live services.
    pub fn validate(&mut self, set: &Set) -> Vec<Finding> {
        let mut report = Report::default();
        for object in set.iter_shared() {
            names(object, &mut report);
            report.errors(&object.key(), self.compiled.certificates.problems(object));
        }
        lanes::check(set, &self.reported, &mut self.compiled, &mut report);
        sources::check(set, &mut report);
        backend_policies::check(set, &mut report);
        routes::check(set, &self.reported, &mut self.compiled, &mut report);
        self.compiled.forget_unused();
        report.findings.sort_by_key(|finding| finding.severity);
        report.findings
    }
}

/// Errors of `after` that `before` did not have: what a write may not bring in. What was wrong already, say by an
/// older version's rules, does not stand in the way of other writes.
pub fn introduced(before: &[Finding], after: &[Finding]) -> Vec<Finding> {
    let errors = after.iter().filter(|finding| finding.severity == Severity::Error);
    errors.filter(|finding| !before.iter().any(|known| known.excuses(finding))).cloned().collect()
}

/// Why `removed` objects may not go: what of `after`, the set without them, refers to them.
pub fn removals<'o>(after: &Set, removed: impl IntoIterator<Item = &'o Object>) -> Vec<Finding> {
    let mut report = Report::default();
    for object in removed {
        match object {
            Object::LaneGroup(group) => lanes::group_removed(after, group, &mut report),
            Object::Lane(lane) => lanes::lane_removed(after, lane, &mut report),
            _ => in_use::removed(after, object, &mut report),
        }
    }
    report.findings
}

/// Findings as they come.
#[derive(Debug, Default)]
struct Report {
    findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, severity: Severity, object: &Key, problem: ::lanes::Problem) {
        self.findings.push(Finding { object: object.clone(), problem, severity });
    }

    fn error(&mut self, object: &Key, problem: ::lanes::Problem) {
        self.add(Severity::Error, object, problem);
    }

    fn errors(&mut self, object: &Key, problems: impl IntoIterator<Item = ::lanes::Problem>) {
        problems.into_iter().for_each(|problem| self.error(object, problem));
    }

    fn conflict(&mut self, object: &Key, problem: ::lanes::Problem) {
        self.add(Severity::Conflict, object, problem);
    }

    fn warning(&mut self, object: &Key, problem: ::lanes::Problem) {
        self.add(Severity::Warning, object, problem);
    }
}

/// Characters of an object's name (RFC 1123 subdomain), and of a namespace (RFC 1123 label).
const NAME_LENGTH_MAX: usize = 253;
const LABEL_LENGTH_MAX: usize = 63;

fn names(object: &Object, report: &mut Report) {
    let metadata = object.metadata();
    let is_name = |name: &str| name.len() <= NAME_LENGTH_MAX && name.split('.').all(is_label);
    // A group's name travels, and is checked by what reads it.
    if object.kind() != Kind::LaneGroup && !is_name(&metadata.name) {
        let remedy = "use lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit, at most 253";
        report.error(&object.key(), ::lanes::Problem::new("metadata.name", &metadata.name, remedy));
    }
    if let Some(problem) = no_namespace(&metadata.namespace) {
        report.error(&object.key(), problem.under("metadata"));
    }
}

/// What is wrong with the name of a namespace, if it can be none's.
pub fn no_namespace(name: &str) -> Option<::lanes::Problem> {
    let remedy = "use lower-case letters, digits and `-`, beginning and ending with a letter or digit, at most 63";
    (!is_label(name)).then(|| ::lanes::Problem::new("namespace", name, remedy))
}

fn is_label(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= LABEL_LENGTH_MAX
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
}
