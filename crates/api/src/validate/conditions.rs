//! Conditions that no request can meet where they are asked, or that every request meets: what an entrance hides,
//! values in a form that is never compared. What is seen is said by `routes::entrance`, which every entrance reads requests by.

use lanes::{
    Fault, Problem, baggage,
    condition::{Condition, Operator, Parameter},
    group::Entry,
    is_token,
};
use routes::entrance::{
    Policy, Unseen, may_be_host, may_be_path, may_begin_normal_path, may_begin_path, may_match_path,
};

use super::{Report, Reported, Severity};
use crate::{
    convert::routes as convert,
    resource::{Lane, LaneGroup, Set},
};

/// Whom the entrances of a group believe.
pub(super) fn entrances<'c>(
    group: &LaneGroup,
    set: &Set,
    reported: &'c Reported,
) -> Vec<Policy<'c>> {
    let mut policies = Vec::new();
    for entrance in &group.spec.entrances {
        if let Some(application) = &entrance.application {
            let edge = entrance.edge.unwrap_or_default();
            policies.push(Policy::of_application(edge, reported.of_application(application)));
        }
        let named = set
            .laneway_gateways()
            .filter(|(known, _)| Some(&known.metadata.name) == entrance.gateway.as_ref());
        for gateway in named.filter_map(|(gateway, spec)| convert::gateway(gateway, spec).ok()) {
            let listeners = gateway.listeners.iter();
            let correlation = reported.of_gateway(&gateway.name);
            policies.extend(listeners.map(|listener| Policy::of_listener(listener, correlation)));
        }
    }
    policies
}

/// A lane at the entrances of its group.
pub(super) struct Checked<'c> {
    pub(super) lane: &'c Lane,
    pub(super) entrances: &'c [Policy<'c>],
    pub(super) report: &'c mut Report,
}

impl Checked<'_> {
    /// Checks how the lane is entered.
    pub(super) fn check(&mut self, entry: &Entry) {
        match entry {
            Entry::Content { conditions, .. } => {
                let written = self.lane.spec.entry.content.iter().flat_map(|it| &it.conditions);
                for (index, (condition, written)) in conditions.iter().zip(written).enumerate() {
                    let at = format!("spec.entry.content.conditions[{index}]");
                    let header = written.header.as_deref();
                    self.check_parameter(&condition.parameter, header, is_negative(condition), &at);
                    self.check_presence(condition, &at);
                    self.check_values(condition, &at);
                }
            }
            Entry::Ratio { sticky_by: Some(parameter), .. } => {
                let written = self.lane.spec.entry.ratio.as_ref();
                let header = written.and_then(|it| it.sticky_by.as_ref()?.header.as_deref());
                self.check_parameter(parameter, header, false, "spec.entry.ratio.stickyBy");
            }
            Entry::Ratio { sticky_by: None, .. } => {}
        }
    }

    /// A condition that holds in spite of what it asks is doubtful; one that cannot hold is wrong.
    fn tell(&mut self, holds: bool, severity: Severity, problem: Problem) {
        let (severity, fault) = if holds {
            (Severity::Warning, Fault::HoldsTooOften)
        } else {
            (severity, Fault::NeverHolds)
        };
        self.report.add(severity, &self.lane.key(), problem.of(fault));
    }

    /// Looks for what the entrances hide. `header`: its name as written.
    fn check_parameter(
        &mut self,
        parameter: &Parameter,
        header: Option<&str>,
        is_negative: bool,
        at: &str,
    ) {
        match parameter {
            Parameter::Claim(name) => {
                let remedy = "use a header, cookie, query or attribute: no entrance authenticates callers yet, so that nobody has a claim";
                let problem = Problem::new(format!("{at}.claim"), name, remedy);
                self.tell(false, Severity::Error, problem);
            }
            Parameter::Header(name) => {
                let unseen: Option<Vec<Unseen>> =
                    self.entrances.iter().map(|entrance| entrance.unseen(name)).collect();
                let Some(why) = unseen.as_ref().and_then(|all| {
                    all.iter().find(|why| why.depends_on_entrance()).or(all.first())
                }) else {
                    return;
                };
                let severity =
                    if why.depends_on_entrance() { Severity::Warning } else { Severity::Error };
                let shown = header.unwrap_or(name);
                let problem = Problem::new(format!("{at}.header"), shown, remedy(*why));
                self.tell(is_negative, severity, problem);
            }
            _ => {}
        }
    }

    /// Every request has its attributes.
    fn check_presence(&mut self, condition: &Condition, at: &str) {
        let is_attribute = matches!(
            condition.parameter,
            Parameter::Path | Parameter::Method | Parameter::Host | Parameter::ClientIp
        );
        if is_attribute && condition.operator == Operator::NotExists {
            let remedy = format!("ask for a value: every request has its {}", condition.parameter);
            let operator = condition.operator.name();
            let problem = Problem::new(format!("{at}.operator"), operator, remedy);
            self.tell(false, Severity::Error, problem);
        }
    }

    /// Looks for values that no request has.
    fn check_values(&mut self, condition: &Condition, at: &str) {
        let as_written = self.entrances.iter().any(|entrance| !entrance.is_gateway());
        let is_prefix = matches!(condition.operator, Operator::Prefix(_));
        let form = match &condition.operator {
            Operator::Regex(_) => Form::of_regex(&condition.parameter),
            _ if self.hides_lanes(&condition.parameter) => Some(Form::WITHOUT_LANES),
            _ => Form::of(&condition.parameter, is_prefix, as_written),
        };
        let Some(form) = form else { return };
        let values: Vec<(String, &String)> = match &condition.operator {
            Operator::Equal(text)
            | Operator::NotEqual(text)
            | Operator::Prefix(text)
            | Operator::Regex(text) => vec![("value".to_owned(), text)],
            Operator::In(list) | Operator::NotIn(list) => list
                .iter()
                .enumerate()
                .map(|(index, text)| (format!("values[{index}]"), text))
                .collect(),
            _ => return,
        };
        // Everything begins with nothing.
        let is_wrong = |text: &str| !((form.may_be)(text) || is_prefix && text.is_empty());
        for (field, text) in values.into_iter().filter(|(_, text)| is_wrong(text)) {
            let problem = Problem::new(format!("{at}.{field}"), text, (form.remedy)(text));
            self.tell(is_negative(condition), form.severity, problem);
        }
    }

    /// Whether it reads the baggage where no entrance believes the lanes in it.
    fn hides_lanes(&self, parameter: &Parameter) -> bool {
        matches!(parameter, Parameter::Header(name) if name == "baggage")
            && !self.entrances.is_empty()
            && self.entrances.iter().all(|entrance| !entrance.is_trusted)
    }
}

/// How values look that some request may have.
struct Form {
    may_be: fn(&str) -> bool,
    remedy: fn(&str) -> &'static str,
    severity: Severity,
}

impl Form {
    /// Of baggage where nobody is believed; an entrance that trusts its clients would show it whole.
    const WITHOUT_LANES: Self = Self {
        may_be: |text| !baggage::has_lane_members(text.as_bytes()),
        remedy: |_| "ask for another member, or use an entrance that trusts its clients: those of this group hide lane members of `baggage` before conditions see it",
        severity: Severity::Warning,
    };

    const fn new(may_be: fn(&str) -> bool, remedy: fn(&str) -> &'static str) -> Self {
        Self { may_be, remedy, severity: Severity::Error }
    }

    /// Of whole values, or of what they begin with. `as_written`: an entrance sees paths that are not normalised.
    fn of(parameter: &Parameter, is_prefix: bool, as_written: bool) -> Option<Self> {
        Some(match (parameter, is_prefix) {
            (Parameter::Host, false) => Self::new(may_be_host, remedy_of_host),
            (Parameter::Host, true) => {
                Self::new(|text| text.starts_with('[') || may_be_host(text), remedy_of_host)
            }
            (Parameter::Path, false) if !as_written => Self::new(
                may_be_path,
                |_| "write a normalised path that begins with `/`, without query: it is compared so",
            ),
            (Parameter::Path, true) if !as_written => Self::new(
                may_begin_normal_path,
                |_| "write how a normalised path begins, from its first `/`, without query: it is compared so",
            ),
            (Parameter::Path, _) => Self::new(
                may_begin_path,
                |_| "begin with `/` and leave the query out: a path is compared without",
            ),
            (Parameter::Method, _) => Self::new(
                is_token,
                |_| "write a method such as GET: letters, digits and any of !#$%&'*+-.^_`|~",
            ),
            _ => return None,
        })
    }

    /// Of regular expressions, which match whole values.
    fn of_regex(parameter: &Parameter) -> Option<Self> {
        (*parameter == Parameter::Path).then(|| {
            Self::new(may_match_path, |_| {
                "match the whole path, from its first `/`, e.g. `/beta.*`: no path begins otherwise"
            })
        })
    }
}

/// Whether it holds for a request that has nothing of what it names.
fn is_negative(condition: &Condition) -> bool {
    matches!(condition.operator, Operator::NotEqual(_) | Operator::NotIn(_) | Operator::NotExists)
}

fn remedy_of_host(text: &str) -> &'static str {
    if text.contains('*') {
        "use the operator regex, e.g. `.*[.]example[.]com`: a host is compared letter by letter, without wildcards"
    } else if !text.starts_with('[') && text.matches(':').count() > 1 {
        "put the address in brackets, e.g. `[::1]`: so a host says it"
    } else {
        "write a host name or address, or how it begins, without port: it is compared without"
    }
}

fn remedy(why: Unseen) -> &'static str {
    match why {
        Unseen::OneHop => {
            "use another header: this one is for one connection alone, and no condition sees it"
        }
        Unseen::Underscored => {
            "use a name with `-`: gateways drop headers with `_` in the name before conditions see them"
        }
        Unseen::NotTrusted => {
            "use another header, or an entrance that trusts its clients: the entrances of this group replace it before conditions see it"
        }
        Unseen::NoTrustedHops => {
            "use clientIp or another header, or set laneway.io/trusted-hops: without proxies in front that are trusted it is dropped before conditions see it"
        }
    }
}
