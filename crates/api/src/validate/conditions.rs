//! Conditions that no request can meet where they are asked, or that every request meets: what an entrance hides,
//! values that requests cannot have. What they have is said by `routes::entrance`, which every entrance reads requests by.

use lanes::{
    Fault, Problem,
    condition::{Condition, Operator, Parameter},
};
use routes::{
    GatewaySpec,
    entrance::{
        Policy, Unseen,
        possible::{self, LANE_MEMBERS, Paths},
    },
};

use super::{Compiled, Report, Reported, Severity};
use crate::{
    convert::routes as convert,
    resource::{Key, LaneGroup, Set},
};

mod of_lanes;
mod of_routes;
mod remedies;

/// Where requests enter.
#[derive(Debug)]
pub(super) struct Entrance<'c> {
    /// Whom it believes.
    policy: Policy<'c>,
    /// The hosts of requests that it takes; `None` is any.
    hosts: Option<String>,
}

/// The entrances of a group.
pub(super) fn entrances<'c>(
    group: &LaneGroup,
    set: &Set,
    reported: &'c Reported,
) -> Vec<Entrance<'c>> {
    let mut entrances = Vec::new();
    for entrance in &group.spec.entrances {
        if let Some(application) = &entrance.application {
            let edge = entrance.edge.unwrap_or_default();
            let policy = Policy::of_application(edge, reported.of_application(application));
            entrances.push(Entrance { policy, hosts: None });
        }
        let named = set
            .laneway_gateways()
            .filter(|(known, _)| Some(&known.metadata.name) == entrance.gateway.as_ref());
        for gateway in named.filter_map(|(gateway, spec)| convert::gateway(gateway, spec).ok()) {
            entrances.extend(listeners(&gateway, reported));
        }
    }
    entrances
}

/// The listeners of a gateway.
pub(super) fn listeners<'c>(
    gateway: &GatewaySpec,
    reported: &'c Reported,
) -> impl Iterator<Item = Entrance<'c>> {
    let correlation = reported.of_gateway(&gateway.name);
    gateway.listeners.iter().map(move |listener| Entrance {
        policy: Policy::of_listener(listener, correlation),
        hosts: Some(possible::hosts(listener)),
    })
}

/// The conditions of one object, at the entrances where they are asked.
pub(super) struct Checked<'c> {
    pub(super) object: Key,
    pub(super) entrances: &'c [Entrance<'c>],
    pub(super) known: &'c mut Compiled,
    pub(super) report: &'c mut Report,
}

/// Where a condition is written.
struct Place<'w> {
    /// The field of all of it.
    at: String,
    /// The field of a header's name in it, and the name as written.
    name: (&'static str, &'w str),
    /// The field of its value in it.
    value: &'static str,
    /// It lets requests into a lane: not all of them, as a route may. What compiles it tells of white space around values.
    is_of_lane: bool,
}

/// What is possible at the entrances of today, though not of others.
struct Narrowed {
    values: String,
    except: &'static [&'static str],
    remedy: &'static str,
}

impl Checked<'_> {
    /// A condition that holds in spite of what it asks is doubtful; one that cannot hold is wrong.
    fn tell(&mut self, holds: bool, severity: Severity, problem: Problem) {
        let (severity, fault) = if holds {
            (Severity::Warning, Fault::HoldsTooOften)
        } else {
            (severity, Fault::NeverHolds)
        };
        self.report.add(severity, &self.object, problem.of(fault));
    }

    /// Checks one condition by itself. False when it never holds, or nearly always.
    fn check_condition(&mut self, condition: &Condition, place: &Place<'_>) -> bool {
        let before = self.report.findings.len();
        self.check_parameter(&condition.parameter, is_negative(condition), place);
        self.check_presence(condition, place);
        self.check_values(condition, place);
        self.report.findings.len() == before
    }

    /// Looks for what the entrances hide.
    fn check_parameter(&mut self, parameter: &Parameter, is_negative: bool, place: &Place<'_>) {
        let (field, written) = place.name;
        match parameter {
            Parameter::Claim(name) => {
                let remedy = "use a header, cookie, query or attribute: no entrance authenticates callers yet, so that nobody has a claim";
                let problem = Problem::new(format!("{}.claim", place.at), name, remedy);
                self.tell(false, Severity::Error, problem);
            }
            Parameter::Header(name) => {
                let entrances = self.entrances.iter();
                let unseen: Option<Vec<Unseen>> =
                    entrances.map(|entrance| entrance.policy.unseen(name)).collect();
                let Some(why) = unseen.as_ref().and_then(|all| {
                    all.iter().find(|why| why.depends_on_entrance()).or(all.first())
                }) else {
                    return;
                };
                let severity =
                    if why.depends_on_entrance() { Severity::Warning } else { Severity::Error };
                let field = format!("{}.{field}", place.at);
                let problem = Problem::new(field, written, remedies::of_unseen(*why));
                self.tell(is_negative, severity, problem);
            }
            _ => {}
        }
    }

    /// Every request has its attributes, and nothing is among the first 0 of 100.
    fn check_presence(&mut self, condition: &Condition, place: &Place<'_>) {
        let Condition { parameter, operator } = condition;
        let problem = |field: &str, remedy: String| {
            let value = match operator {
                Operator::Percentage(percent) => percent.to_string(),
                _ => operator.name().to_owned(),
            };
            Problem::new(format!("{}.{field}", place.at), value, remedy)
        };
        let is_attribute = is_attribute(parameter);
        let had = || format!("ask for a value: every request has its {parameter}");
        match operator {
            Operator::NotExists if is_attribute => {
                self.tell(false, Severity::Error, problem("operator", had()));
            }
            Operator::Exists if is_attribute => {
                self.tell(true, Severity::Warning, problem("operator", had()));
            }
            Operator::Percentage(0) => {
                let remedy = "use 1 to 100, or disable the lane: 0 takes no request".to_owned();
                self.tell(false, Severity::Warning, problem(place.value, remedy));
            }
            Operator::Percentage(100) if is_attribute => {
                let remedy = "use 1 to 99: 100 takes every request".to_owned();
                self.tell(true, Severity::Warning, problem(place.value, remedy));
            }
            _ => {}
        }
    }

    /// Looks for values that no request has, and for what every request has.
    fn check_values(&mut self, condition: &Condition, place: &Place<'_>) {
        let parameter = &condition.parameter;
        let values = possible::values(parameter, self.paths());
        let narrowed = self.narrowed(parameter);
        for (field, operator, text) in named_values(condition, place) {
            let field = format!("{}.{field}", place.at);
            if !self.may_be(values, &[], parameter, &operator) {
                let remedy = remedies::of_value(parameter, &operator);
                let problem = Problem::new(field, text, remedy);
                self.tell(is_negative(condition), Severity::Error, problem);
            } else if let Some(Narrowed { values, except, remedy }) = &narrowed
                && !self.may_be(values, except, parameter, &operator)
            {
                let problem = Problem::new(field, text, *remedy);
                self.tell(is_negative(condition), Severity::Warning, problem);
            } else if place.is_of_lane
                && is_attribute(parameter)
                && let Operator::Prefix(_) | Operator::Regex(_) = operator
                && let Some(asked) = possible::named(parameter, &operator)
                && !self.known.may_meet(&[values, USUAL], &[&asked])
            {
                let remedy = format!("ask for less: every {parameter} is so");
                self.tell(true, Severity::Warning, Problem::new(field, text, remedy));
            }
        }
    }

    /// Whether what an operator asks for may be among some values. Nearly all ask for a text: that is said quickly.
    fn may_be(
        &mut self,
        values: &str,
        except: &[&str],
        parameter: &Parameter,
        operator: &Operator,
    ) -> bool {
        let languages = &mut self.known.languages;
        match operator {
            Operator::Equal(text) | Operator::NotEqual(text) => {
                let Some(text) = possible::compared(parameter, text) else { return true };
                languages.may_have(values, &text)
                    && !except.iter().any(|pattern| languages.may_have(pattern, &text))
            }
            Operator::Prefix(text) if except.is_empty() => {
                languages.may_have_beginning(values, &possible::begun(parameter, text))
            }
            _ => possible::named(parameter, operator)
                .is_none_or(|asked| self.known.may_meet(&[values, &asked], except)),
        }
    }

    /// What its entrances leave of paths as they were written.
    fn paths(&self) -> Paths {
        self.entrances.iter().map(|entrance| entrance.policy.paths()).max().unwrap_or(Paths::Merged)
    }

    fn narrowed(&self, parameter: &Parameter) -> Option<Narrowed> {
        let values = possible::values(parameter, Paths::Merged);
        match parameter {
            Parameter::Header(name)
                if name == "baggage"
                    && !self.entrances.is_empty()
                    && self.entrances.iter().all(|entrance| !entrance.policy.is_trusted) =>
            {
                Some(Narrowed {
                    values: values.to_owned(),
                    except: &[LANE_MEMBERS],
                    remedy: "ask for another member, or use an entrance that trusts its clients: those here hide lane members of `baggage` before conditions see it",
                })
            }
            Parameter::Host => {
                let entrances = self.entrances.iter();
                let mut hosts: Vec<&str> =
                    entrances.map(|entrance| entrance.hosts.as_deref()).collect::<Option<_>>()?;
                hosts.sort_unstable();
                hosts.dedup();
                (!hosts.is_empty()).then(|| Narrowed {
                    values: hosts.join("|"),
                    except: &[],
                    remedy: "ask for a host that the listeners of the gateways have: no other request reaches one",
                })
            }
            Parameter::Method => Some(Narrowed {
                values: values.to_owned(),
                except: &["CONNECT"],
                remedy: "use another method: CONNECT is refused where requests enter",
            }),
            _ => None,
        }
    }
}

/// Each value that a condition names: its field, an operator that asks for it alone, and the value as written.
fn named_values<'c>(
    condition: &'c Condition,
    place: &Place<'_>,
) -> impl Iterator<Item = (String, Operator, &'c String)> {
    let is_of_lane = place.is_of_lane;
    let (one, list) = match &condition.operator {
        Operator::Equal(text)
        | Operator::NotEqual(text)
        | Operator::Prefix(text)
        | Operator::Regex(text) => {
            (Some((place.value.to_owned(), condition.operator.clone(), text)), None)
        }
        Operator::In(list) | Operator::NotIn(list) => (None, Some(list)),
        _ => (None, None),
    };
    let list = list.into_iter().flatten().enumerate();
    let list =
        list.map(|(index, text)| (format!("values[{index}]"), Operator::Equal(text.clone()), text));
    one.into_iter().chain(list).filter(move |(_, operator, text)| {
        let begin = text.trim_start_matches([' ', '\t']);
        let is_told = match operator {
            Operator::Regex(_) => false,
            Operator::Prefix(_) => begin != *text,
            _ => begin.trim_end_matches([' ', '\t']) != *text,
        };
        !(is_of_lane && is_told)
    })
}

/// What attributes usually are: not the path of `OPTIONS *`, nor the host of a client that names none.
const USUAL: &str = "(?s-u:[^*].*)";

/// Whether it holds for a request that has nothing of what it names.
fn is_negative(condition: &Condition) -> bool {
    matches!(condition.operator, Operator::NotEqual(_) | Operator::NotIn(_) | Operator::NotExists)
}

/// Whether every request has it, and only one.
fn is_attribute(parameter: &Parameter) -> bool {
    matches!(parameter, Parameter::Path | Parameter::Method | Parameter::Host | Parameter::ClientIp)
}
