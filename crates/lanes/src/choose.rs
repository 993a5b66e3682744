//! The decision at every hop: which endpoint of a service may serve a request (semantics §1, §7 – §11).

use std::net::SocketAddr;

use smallvec::SmallVec;

pub use crate::service::Subset;
use crate::{
    Context, Endpoint, Group, Service, Snapshot, Tag,
    explain::{Observer, Step},
    reasons,
};

/// What a data plane has seen fail. Owned by the proxy; an argument of the choice.
pub trait Ejections {
    /// Whether connects to this address fail at the moment.
    fn is_ejected(&self, address: SocketAddr) -> bool;

    /// Whether this request must not go there, be everybody else ejected: it was there already.
    fn is_out(&self, _: SocketAddr) -> bool {
        false
    }
}

/// Nothing is ejected: for `explain` and tests.
impl Ejections for () {
    fn is_ejected(&self, _: SocketAddr) -> bool {
        false
    }
}

/// How a hop was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// By an instance of the request's own lane.
    Lane,
    /// By the base, or a lane of the fallback list, because the lane could not.
    Fallback,
    /// By the base: the request is in no lane that governs this service.
    Base,
}

/// One hop, decided.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'s> {
    /// Who serves it.
    pub endpoint: &'s Endpoint,
    /// Whom else the decision allows.
    pub subset: Subset,
    /// How it was served.
    pub outcome: Outcome,
    /// The group and lane that governed, as indices; `None` when no group did.
    pub member: Option<(u16, u16)>,
}

/// Why nobody may serve a hop: 503.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoEndpoint {
    /// No usable base instance.
    Base {
        /// The service.
        service: String,
    },
    /// The lane is strict and has none.
    Strict {
        /// The service.
        service: String,
        /// `group/tag`.
        lane: String,
    },
}

impl std::fmt::Display for NoEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Base { service } => write!(f, "no usable base instance of {service}"),
            Self::Strict { service, lane } => {
                write!(f, "no usable instance of {service} in strict lane {lane}")
            }
        }
    }
}

impl Snapshot {
    /// Chooses an endpoint of `service` for a request with `context`.
    ///
    /// `caller_pick`: the address the application chose itself; kept when the decision allows it and it is
    /// not ejected. `ticket`: uniformly random, spreads by weight.
    pub fn choose<'s, O: Observer>(
        &self,
        context: &Context,
        service: &'s Service,
        caller_pick: Option<SocketAddr>,
        ejections: &impl Ejections,
        ticket: u64,
        observer: &mut O,
    ) -> Result<Choice<'s>, NoEndpoint> {
        let order = self.order(context, service.application(), observer);
        let is_ejected = |endpoint: &Endpoint| ejections.is_ejected(endpoint.address);
        let found = order.first(|tag| {
            let subset = service.subset(tag)?;
            let kept = caller_pick
                .and_then(|address| service.endpoint_at(subset, address))
                .filter(|kept| kept.health.takes_requests() && !is_ejected(kept));
            let endpoint = kept.or_else(|| service.pick(subset, is_ejected, ticket))?;
            Some((subset, endpoint))
        });
        // Ejection alone never fails a request: what else is allowed is tried all the same.
        let is_out = |endpoint: &Endpoint| ejections.is_out(endpoint.address);
        let found = found.or_else(|| {
            order.first(|tag| {
                let subset = service.subset(tag)?;
                Some((subset, service.pick(subset, is_out, ticket)?))
            })
        });
        if O::ON {
            let (turn, subset, endpoint) = match &found {
                Some((turn, (subset, endpoint))) => (Some(turn), Some(*subset), Some(*endpoint)),
                None => (None, None, None),
            };
            self.tell_subsets(&order, turn, service, &is_ejected, observer);
            tell_instances(service, subset, endpoint, caller_pick, &is_ejected, observer);
        }
        let Some((turn, (subset, endpoint))) = found else {
            return Err(self.no_endpoint(&order, service));
        };
        Ok(Choice { endpoint, subset, outcome: turn.outcome, member: turn.member })
    }

    /// Another endpoint of the same tag, not `not_again` and not ejected, or none: for a retry after bytes were sent,
    /// which stays within the lane that was chosen. `service`: as it is now, which may be otherwise than it was.
    pub fn choose_again<'s>(
        &self,
        choice: &Choice<'_>,
        service: &'s Service,
        not_again: &[SocketAddr],
        ejections: &impl Ejections,
        ticket: u64,
    ) -> Option<Choice<'s>> {
        let is_out = |endpoint: &Endpoint| {
            not_again.contains(&endpoint.address) || ejections.is_ejected(endpoint.address)
        };
        let subset = service.subset(choice.endpoint.tag.as_ref())?;
        let endpoint = service.pick(subset, is_out, ticket)?;
        Some(Choice { endpoint, subset, outcome: choice.outcome, member: choice.member })
    }

    /// Whether an instance with `tag` of `application` may serve a request with `context` at all, whoever is
    /// usable: what an inbound sidecar checks to count and name misrouted arrivals (semantics §11).
    pub fn allows(&self, context: &Context, application: &str, tag: Option<&Tag>) -> bool {
        let order = self.order(context, application, &mut ());
        order.first(|allowed| (allowed == tag).then_some(())).is_some()
    }

    /// The tags that may serve, in the order they are tried.
    fn order<O: Observer>(
        &self,
        context: &Context,
        application: &str,
        observer: &mut O,
    ) -> Order<'_> {
        let mut order = Order { lanes: SmallVec::new(), strict: None, base: Turn::base() };
        for member in context.members() {
            let Some(index) = member.lane else { continue };
            let group = &*self.groups()[usize::from(member.group)];
            let Some(application) = group.application(application) else {
                tell_passed_over(observer, group, index, || {
                    format!("application `{application}` is not in group `{}`", group.name())
                });
                continue;
            };
            if !group.is_enabled(index) {
                tell_passed_over(observer, group, index, || {
                    "the lane is disabled: who carries it is base".to_owned()
                });
                continue;
            }
            let governs = Some((member.group, index));
            if order.base.member.is_none() {
                order.base = Turn { tag: None, member: governs, outcome: Outcome::Fallback };
            }
            if group.is_strict(index) && order.strict.is_none() {
                order.strict = governs;
            }
            if group.is_switched_off(index, application) {
                tell_passed_over(observer, group, index, || {
                    "the application is switched off in this lane".to_owned()
                });
            } else {
                let tag = Some(group.tag(index));
                order.lanes.push(Turn { tag, member: governs, outcome: Outcome::Lane });
            }
            for listed in group.fallback(index) {
                if !group.is_enabled(*listed) {
                    tell_passed_over(observer, group, *listed, || {
                        "in the fallback list, but disabled".to_owned()
                    });
                } else if group.is_switched_off(*listed, application) {
                    tell_passed_over(observer, group, *listed, || {
                        "in the fallback list, but the application is switched off in it".to_owned()
                    });
                } else {
                    let tag = Some(group.tag(*listed));
                    order.lanes.push(Turn { tag, member: governs, outcome: Outcome::Fallback });
                }
            }
        }
        order
    }

    fn no_endpoint(&self, order: &Order<'_>, service: &Service) -> NoEndpoint {
        let service = service.name().to_string();
        match order.strict {
            Some((group, lane)) => {
                let group = &self.groups()[usize::from(group)];
                NoEndpoint::Strict {
                    service,
                    lane: format!("{}/{}", group.name(), group.tag(lane)),
                }
            }
            None => NoEndpoint::Base { service },
        }
    }

    /// Says of every set of instances, in the order they are tried, why it serves the hop or not.
    fn tell_subsets(
        &self,
        order: &Order<'_>,
        chosen: Option<&Turn<'_>>,
        service: &Service,
        is_ejected: &impl Fn(&Endpoint) -> bool,
        observer: &mut impl Observer,
    ) {
        let mut is_over = false;
        let base = order.strict.is_none().then_some(&order.base);
        for turn in order.lanes.iter().chain(base) {
            let is_chosen = !is_over && chosen == Some(turn);
            let because = match () {
                () if is_chosen => "the first with a usable instance".to_owned(),
                () if is_over => "not needed".to_owned(),
                () => reasons::subset_is_out(service, turn.tag, is_ejected),
            };
            is_over |= is_chosen;
            observer.step(Step::Subset {
                group: turn
                    .member
                    .map(|(group, _)| self.groups()[usize::from(group)].name().to_string()),
                tag: turn.tag.map(Tag::to_string),
                chosen: is_chosen,
                because,
            });
        }
        if let Some((group, lane)) = order.strict {
            let group = &self.groups()[usize::from(group)];
            let because = format!("not allowed: {}/{} is strict", group.name(), group.tag(lane));
            let group = Some(group.name().to_string());
            observer.step(Step::Subset { group, tag: None, chosen: false, because });
        }
    }
}

/// One set of instances that may serve a hop, when its turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn<'a> {
    /// `None` is the base.
    tag: Option<&'a Tag>,
    /// Group and lane that put it into the order.
    member: Option<(u16, u16)>,
    outcome: Outcome,
}

impl Turn<'_> {
    fn base() -> Self {
        Self { tag: None, member: None, outcome: Outcome::Base }
    }
}

/// All sets of instances that may serve a hop.
#[derive(Debug)]
struct Order<'a> {
    lanes: SmallVec<[Turn<'a>; 8]>,
    /// The first strict lane that governs; with one the base is not allowed.
    strict: Option<(u16, u16)>,
    base: Turn<'a>,
}

impl<'a> Order<'a> {
    /// The first turn for which `serve` has something, with it.
    fn first<T>(
        &self,
        mut serve: impl FnMut(Option<&'a Tag>) -> Option<T>,
    ) -> Option<(Turn<'a>, T)> {
        let base = self.strict.is_none().then_some(&self.base);
        self.lanes.iter().chain(base).find_map(|turn| Some((*turn, serve(turn.tag)?)))
    }
}

fn tell_passed_over<O: Observer>(
    observer: &mut O,
    group: &Group,
    lane: u16,
    because: impl FnOnce() -> String,
) {
    if O::ON {
        observer.step(Step::Subset {
            group: Some(group.name().to_string()),
            tag: Some(group.tag(lane).to_string()),
            chosen: false,
            because: because(),
        });
    }
}

/// Says of every instance why it is a candidate or not.
fn tell_instances(
    service: &Service,
    subset: Option<Subset>,
    chosen: Option<&Endpoint>,
    caller_pick: Option<SocketAddr>,
    is_ejected: &impl Fn(&Endpoint) -> bool,
    observer: &mut impl Observer,
) {
    let kept = |endpoint: &Endpoint| {
        caller_pick.is_some_and(|address| endpoint.all_addresses().any(|it| it == address))
    };
    let is_forced = chosen.is_some_and(is_ejected);
    for (endpoint, index) in service.endpoints().iter().zip(0..) {
        let is_inside = subset.is_some_and(|subset| subset.range().contains(&index));
        let out = reasons::instance_is_out(endpoint, is_inside, subset.is_some()).or_else(|| {
            (!is_forced && is_ejected(endpoint)).then(|| "ejected: connects fail".to_owned())
        });
        let because = match &out {
            Some(because) => because.clone(),
            None if chosen != Some(endpoint) => "could have been chosen".to_owned(),
            None if is_forced => "chosen, though ejected: all that are allowed are".to_owned(),
            None if kept(endpoint) => "kept: the application chose it itself".to_owned(),
            None => "chosen".to_owned(),
        };
        observer.step(Step::Instance {
            address: endpoint.address.to_string(),
            tag: endpoint.tag.as_ref().map(Tag::to_string),
            candidate: out.is_none(),
            because,
        });
    }
}
