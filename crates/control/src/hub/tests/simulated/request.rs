//! One request: from a gateway along the chain a → b → c, each hop decided by whoever calls and looked at by whoever is
//! called, as proxies do it; then judged by what is true.

use std::{iter, net::SocketAddr};

use lanes::{
    Choice, Context, Ejections, Entrance, Snapshot,
    baggage::{self, Incoming},
};
use testkit::Call;

use super::{truth::place_of, *};

/// Instances tried for one hop.
const ATTEMPTS_MAX: usize = 3;

pub(super) enum Outcome {
    Served { in_lane: bool, fell_back: bool },
    Refused(&'static str),
    Wrong(String),
}

pub(super) struct Sent {
    pub(super) outcome: Outcome,
    pub(super) again: usize,
    pub(super) met_another: usize,
}

/// Those that failed in this request.
struct Failed(Vec<SocketAddr>);

impl Ejections for Failed {
    fn is_ejected(&self, address: SocketAddr) -> bool {
        self.0.contains(&address)
    }
}

/// What a hop came to.
struct Hop {
    /// The tag of who was called, as far as the caller knows.
    called: Option<usize>,
    /// The tag of who served it.
    tag: Option<usize>,
    /// Who calls next.
    next: usize,
}

pub(super) fn send(simulation: &mut Simulation, mark: Option<usize>, gateway: usize) -> Sent {
    let mut sent = Sent { outcome: Outcome::Refused(""), again: 0, met_another: 0 };
    let outcome = chain(simulation, mark, gateway, &mut sent);
    Sent { outcome: outcome.unwrap_or_else(|not_served| not_served), ..sent }
}

fn chain(
    simulation: &mut Simulation,
    mark: Option<usize>,
    gateway: usize,
    sent: &mut Sent,
) -> Result<Outcome, Outcome> {
    let entrance = &simulation.data_planes[gateway];
    let known_at = entrance.fresh_at;
    let carried = enter(&entrance.published.lanes, mark);
    let entered = !carried.is_empty();
    if let Some(lane) = mark {
        if !entered && simulation.truth.must_enter(lane, known_at) {
            return Err(Outcome::Wrong(format!("{mark:?} did not enter its lane at {gateway}")));
        }
        if entered && simulation.truth.is_off(lane, known_at) {
            return Err(Outcome::Wrong(format!("{mark:?} entered a disabled lane at {gateway}")));
        }
    } else if entered {
        return Err(Outcome::Wrong("an unmarked request entered a lane".to_owned()));
    }
    let (mut caller, mut in_lane, mut fell_back) = (gateway, false, false);
    for letter in 0..LETTERS.len() {
        let hop = hop(simulation, caller, letter, &carried, sent)?;
        judge(simulation, caller, letter, mark.filter(|_| entered), &hop)?;
        sent.met_another += usize::from(hop.called != hop.tag);
        in_lane |= hop.tag.is_some();
        fell_back |= hop.tag.is_none();
        caller = hop.next;
    }
    Ok(Outcome::Served { in_lane, fell_back })
}

/// The baggage that a gateway sends on.
fn enter(picture: &Snapshot, mark: Option<usize>) -> Vec<u8> {
    let headers = mark.map(|lane| ("canary".to_owned(), LANES[lane].as_bytes().to_vec()));
    let call = Call { headers: headers.into_iter().collect(), ..Call::default() };
    let mut context = Context::default();
    let entrance = Entrance::Gateway { gateway: "edge", route: Some("default/a") };
    picture.enter(entrance, &call, &mut || [0; 16], &mut context, &mut ());
    let mut carried = Vec::new();
    baggage::write(picture, &context, iter::empty(), Incoming::Strip, &mut carried);
    carried
}

/// Who serves a hop.
fn hop(
    simulation: &mut Simulation,
    caller: usize,
    letter: usize,
    carried: &[u8],
    sent: &mut Sent,
) -> Result<Hop, Outcome> {
    let Simulation { data_planes, truth, random, planted, .. } = simulation;
    let calling = &data_planes[caller];
    let picture = &calling.published.lanes;
    let has_base = truth.has(letter, None, calling.fresh_at);
    let refused = |why: &'static str| match has_base {
        true => Outcome::Wrong(format!("refused without need, caller {caller}: {why}")),
        false => Outcome::Refused(why),
    };
    let service = picture.directory().service(&service_id(LETTERS[letter]));
    let service = service.ok_or_else(|| refused("the service is not known"))?;
    let context = Context::read(picture, iter::once(carried));
    let mut failed = Failed(Vec::new());
    for attempt in 0..ATTEMPTS_MAX {
        let ticket = random.number();
        let choice = picture.choose(&context, service, None, &failed, ticket, &mut ());
        let Choice { endpoint, .. } = choice.map_err(|_nobody| refused("nobody may serve"))?;
        sent.again += usize::from(attempt > 0);
        if failed.is_ejected(endpoint.address) {
            return Err(refused("all are dead"));
        }
        let called = truth.who(endpoint.address).and_then(|(is, tag)| {
            let place = place_of(endpoint.address);
            let next = data_planes.iter().position(|it| it.place() == Some(place))?;
            let takes = is == letter && takes(&data_planes[next].published.lanes, carried, is, tag);
            let called = LANES
                .iter()
                .position(|lane| endpoint.tag.as_ref().is_some_and(|it| it.as_str() == *lane));
            (takes || *planted == Planted::NobodyRefuses).then_some((is, Hop { called, tag, next }))
        });
        match called {
            Some((is, _)) if is != letter => {
                return Err(Outcome::Wrong(format!("{} got a request of another", LETTERS[is])));
            }
            Some((_, hop)) => return Ok(hop),
            None => failed.0.push(endpoint.address),
        }
    }
    Err(Outcome::Refused("three were dead or refused"))
}

/// Whether the sidecar of an instance hands a request to its application.
fn takes(picture: &Snapshot, carried: &[u8], letter: usize, tag: Option<usize>) -> bool {
    let context = Context::read(picture, iter::once(carried));
    let application = format!("app-{}", LETTERS[letter]);
    let own = tag.and_then(|tag| Tag::parse(LANES[tag]).unwrap());
    picture.allows(&context, &application, own.as_ref())
        || tag.is_some_and(|tag| carried.ends_with(format!("={}", LANES[tag]).as_bytes()))
}

/// Judges who served a hop of a request that is in this lane, or base.
fn judge(
    simulation: &Simulation,
    caller: usize,
    letter: usize,
    lane: Option<usize>,
    hop: &Hop,
) -> Result<(), Outcome> {
    let Simulation { data_planes, truth, .. } = simulation;
    let known_at = data_planes[caller].fresh_at;
    let wrong = |what: &str| {
        let (called, lane) = (LETTERS[letter], lane.map(|lane| LANES[lane]));
        let by = hop.tag.map_or("base", |tag| LANES[tag]);
        let when = format!("caller {caller} knew all at {known_at}");
        Err(Outcome::Wrong(format!("{what}: {lane:?} at {called} served by {by}, {when}")))
    };
    match (lane, hop.tag) {
        (None, Some(_)) => wrong("base on a tagged instance"),
        (Some(lane), Some(tag)) if lane != tag => wrong("another lane"),
        // What a caller does not know of is no choice of its: another may have taken the address, whom the request
        // allows.
        (Some(lane), Some(_)) if hop.called.is_some() && truth.is_off(lane, known_at) => {
            wrong("a disabled lane")
        }
        (Some(lane), None)
            if hop.called.is_none()
                && truth.is_on(lane, known_at)
                && truth.has(letter, Some(lane), known_at) =>
        {
            wrong("left its lane")
        }
        _ => Ok(()),
    }
}
