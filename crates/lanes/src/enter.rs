//! The decision at an entrance: which lane of each group a request belongs to (semantics §2 – §5).

use crate::{
    Affinity, Context, Group, Member, Request, Snapshot,
    content::Matcher,
    explain::{Observer, Step},
    group::EntryMatcher,
    reasons,
};

/// Where a request is first matched.
#[derive(Debug, Clone, Copy)]
pub enum Entrance<'a> {
    /// A gateway and the name of the route that matched.
    Gateway {
        /// The gateway's name.
        gateway: &'a str,
        /// The route's name; `None` when no route matched.
        route: Option<&'a str>,
    },
    /// An application's sidecar or agent, for inbound requests.
    Application(&'a str),
}

impl Snapshot {
    /// Decides for every group that has `entrance` and no member in `context` yet, and adds the members.
    /// A gateway starts with an empty context. `random` gives 16 bytes and is called once per ratio group
    /// whose key is absent, and once for all whose key is issued as a cookie: what the answer owes its client then is
    /// returned, of a gateway alone. `observer` sees every step; [`()`](Observer) sees nothing and costs nothing.
    pub fn enter<R: Request, O: Observer>(
        &self,
        entrance: Entrance<'_>,
        request: &R,
        random: &mut impl FnMut() -> [u8; 16],
        context: &mut Context,
        observer: &mut O,
    ) -> Affinity {
        let mut affinity = Affinity::default();
        match entrance {
            Entrance::Gateway { gateway, route } => {
                for here in self.gateway_entrances(gateway) {
                    if here.covers(route) {
                        let affinity = Some(&mut affinity);
                        self.enter_group(here.group, request, random, affinity, context, observer);
                    } else {
                        let group = &self.groups()[usize::from(here.group)];
                        let lane = context.member(here.group).and_then(|member| member.lane);
                        tell_member(observer, group, lane, || reasons::route_is_no_entrance(route));
                    }
                }
            }
            Entrance::Application(application) => {
                let groups = self.application_entrances(application).map(|(_, groups)| &groups[..]);
                for group in groups.unwrap_or_default() {
                    self.enter_group(*group, request, random, None, context, observer);
                }
            }
        }
        affinity
    }

    fn enter_group<R: Request, O: Observer>(
        &self,
        index: u16,
        request: &R,
        random: &mut impl FnMut() -> [u8; 16],
        affinity: Option<&mut Affinity>,
        context: &mut Context,
        observer: &mut O,
    ) {
        let group = &*self.groups()[usize::from(index)];
        if let Some(carried) = context.member(index) {
            tell_member(observer, group, carried.lane, || "the request carries it already".into());
            return;
        }
        // `fell`: the lane as far as whoever observes is told, also where that is paused and the request base.
        let (lane, fell) = match group.entry() {
            EntryMatcher::Content(matcher) => {
                let lane = matcher.first(request);
                if O::ON {
                    tell_content(observer, group, matcher, lane, request);
                }
                (lane, lane)
            }
            EntryMatcher::Ratio(draw) => {
                let (mut steps, mut fell) = (Vec::new(), None);
                let lane = draw.first(request, random, affinity, |tried| {
                    if O::ON {
                        fell = tried.took.then_some(tried.lane);
                        steps.push((tried.lane, reasons::tried(&tried)));
                    }
                });
                if O::ON {
                    tell_ratio(observer, group, (lane, fell), steps);
                }
                (lane, fell)
            }
        };
        context.add(Member { group: index, lane });
        tell_member(observer, group, lane, || reasons::decided(group, fell));
    }
}

fn tell_member<O: Observer>(
    observer: &mut O,
    group: &Group,
    lane: Option<u16>,
    because: impl FnOnce() -> String,
) {
    if O::ON {
        observer.step(Step::Member {
            group: group.name().to_string(),
            tag: lane.map(|lane| group.tag(lane).to_string()),
            because: because(),
        });
    }
}

fn tell_lane(
    observer: &mut impl Observer,
    group: &Group,
    lane: u16,
    matched: bool,
    because: String,
) {
    observer.step(Step::Lane {
        group: group.name().to_string(),
        tag: group.tag(lane).to_string(),
        matched,
        because,
    });
}

/// Says of every lane, in the order they are tried, why the request is or is not in it.
fn tell_content(
    observer: &mut impl Observer,
    group: &Group,
    matcher: &Matcher,
    taken: Option<u16>,
    request: &impl Request,
) {
    for lane in 0..group.spec().lanes.len() as u16 {
        let because = reasons::not_tried(group, lane, taken).unwrap_or_else(|| {
            let answers = matcher.answers(lane, request);
            reasons::content(group, lane, taken == Some(lane), &answers, request)
        });
        tell_lane(observer, group, lane, taken == Some(lane), because);
    }
}

/// `fell`: the lane that the request fell to; where it is paused nobody has taken the request.
fn tell_ratio(
    observer: &mut impl Observer,
    group: &Group,
    (taken, fell): (Option<u16>, Option<u16>),
    steps: Vec<(u16, String)>,
) {
    let mut steps = steps.into_iter().peekable();
    for lane in 0..group.spec().lanes.len() as u16 {
        let tried = steps.next_if(|(tried, _)| *tried == lane).map(|(_, because)| because);
        let because = tried.or_else(|| reasons::not_tried(group, lane, fell)).unwrap_or_default();
        tell_lane(observer, group, lane, taken == Some(lane), because);
    }
}
