//! Figures of what passes: series, top, share, compare, calls.

mod asking;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use api::{
    resource::{LaneGroupSpec, Object},
    rest::{
        StatisticsBasis, StatisticsCall, StatisticsCalls, StatisticsCompare, StatisticsCompared,
        StatisticsFigures, StatisticsLaneShare, StatisticsLine, StatisticsProcess, StatisticsRow,
        StatisticsSeries, StatisticsShare, StatisticsTop, StatisticsVerdict,
    },
    time::unix_second,
};
use axum::{
    Json,
    extract::{Query, State},
};
use telemetry::{names::label, sketch};

use self::asking::{ask, ask_own, beside, beside_others, no_history};
use super::{
    Refused,
    objects::{Written, unknown_parameter},
};
use crate::{
    Control, judging,
    statistics::{
        cell::{CLASSES, Cell},
        prometheus,
        question::{Answer, Counted, Wanted},
        series::{Labels, Outcome, Role},
        trials::{self, Group},
        verdict::Effect,
    },
};

type Shared = State<Arc<Control>>;

/// What is asked, read.
#[derive(Debug, Default)]
struct Asked {
    /// By the names of parameters.
    texts: BTreeMap<String, String>,
    window: Option<u64>,
    step: Option<u64>,
}

/// The longest window: as long as anything is kept.
const WINDOW_MAX: u64 = 30 * 24 * 3_600;

impl Asked {
    fn read(Query(written): Written, known: &'static str) -> Result<Self, Refused> {
        let mut asked = Self::default();
        for (name, value) in written {
            if !known.split(", ").any(|it| it == name) {
                return Err(unknown_parameter(&name, known));
            }
            match name.as_str() {
                "window" => asked.window = Some(seconds(&name, &value)?),
                "step" => asked.step = Some(seconds(&name, &value)?),
                _ => drop(asked.texts.insert(name, value)),
            }
        }
        Ok(asked)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    fn required(&self, name: &str) -> Result<&str, Refused> {
        self.text(name).ok_or_else(|| {
            Refused::new(400, "bad query", format!("{name} is missing: name a lane group's"))
        })
    }

    /// Whether a label is as asked, where anything is asked of it.
    fn is(&self, name: &str, label: &str) -> bool {
        self.text(name).is_none_or(|wanted| wanted == label)
    }

    /// What Prometheus is to tell of it.
    fn of_prometheus(&self) -> prometheus::Wanted<'_> {
        let named = [("application", label::APPLICATION), ("service", label::SERVICE)];
        let named = named.into_iter().chain([("group", label::LANE_GROUP), ("lane", label::LANE)]);
        let labels = named.filter_map(|(name, label)| {
            let value = self.text(name)?;
            Some((label, if name == "lane" && value == "base" { "" } else { value }))
        });
        prometheus::Wanted { entered: false, labels: labels.collect() }
    }

    /// Whether lines are of single gateways, routes or callers, which Prometheus is not told.
    fn is_by_teller(&self, by: &str) -> bool {
        let of_teller = ["gateway", "route", "caller"];
        of_teller.contains(&by) || of_teller.iter().any(|name| self.text(name).is_some())
    }

    /// Whether a lane is, where `base` names the one that has no tag.
    fn is_lane(&self, label: &str) -> bool {
        self.text("lane").is_none_or(|wanted| (if wanted == "base" { "" } else { wanted }) == label)
    }

    fn one(&self, otherwise: u64) -> Wanted {
        Wanted { window: self.window.unwrap_or(otherwise), step: None, is_one: true }
    }
}

/// A length of time such as `90s`, `15m`, `24h` or `30d`, in seconds.
fn seconds(name: &str, text: &str) -> Result<u64, Refused> {
    let (number, unit) = text.split_at(text.trim_end_matches(char::is_alphabetic).len());
    let unit = match unit {
        "s" | "" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        "d" => Some(24 * 3_600),
        _ => None,
    };
    let seconds = number.parse::<u64>().ok().zip(unit).and_then(|(it, unit)| it.checked_mul(unit));
    seconds.filter(|seconds| (1..=WINDOW_MAX).contains(seconds)).ok_or_else(|| {
        let detail = format!("{name}: `{text}`: use 1s to 30d, a number and one of s, m, h and d");
        Refused::new(400, "bad query", detail)
    })
}

fn basis<K: Ord + Clone>(control: &Control, answer: &Answer<K>, requests: u64) -> StatisticsBasis {
    let hub = control.hub();
    let connected =
        hub.nodes().filter_map(|node| hub.data_plane(node)).filter(|it| it.is_connected()).count();
    drop(hub);
    let silent = connected.saturating_sub(control.statistics().reporting());
    StatisticsBasis {
        from: answer.span.from,
        until: answer.span.until,
        step_seconds: answer.span.step,
        requests,
        data_planes: answer.data_planes(),
        silent_data_planes: u32::try_from(silent).unwrap_or(u32::MAX),
        kept_by: answer.kept_by,
    }
}

fn quantile_ms(of: &Cell, share: f64) -> Option<f64> {
    let counts = of.sketch.map(u64::from);
    // Two digits after the point are more than a bucket tells.
    sketch::quantile(&counts, share).map(|it| (it / 1e4).round() / 1e2)
}

fn figures(of: &Counted, seconds: u64) -> StatisticsFigures {
    let (requests, errors) = (of.requests(), of.errors());
    let ratio = (requests > 0).then(|| errors as f64 / requests as f64);
    StatisticsFigures {
        requests,
        requests_per_second: requests as f64 / seconds as f64,
        errors,
        error_ratio: ratio,
        error_ratio_range: ratio.map(|ratio| wilson(ratio, requests as f64)),
        p50_ms: quantile_ms(&of.cell, 0.5),
        p95_ms: quantile_ms(&of.cell, 0.95),
        p99_ms: quantile_ms(&of.cell, 0.99),
    }
}

fn sum(all: impl Iterator<Item = u64>) -> u64 {
    all.fold(0, u64::saturating_add)
}

fn requests(of: &[Option<Box<Counted>>]) -> u64 {
    sum(of.iter().flatten().map(|counted| counted.requests()))
}

/// Between what the true share is, in 95 of 100 cases, where so many had this one (Wilson's interval).
fn wilson(ratio: f64, count: f64) -> [f64; 2] {
    const Z: f64 = 1.96;
    let middle = ratio + Z * Z / (2.0 * count);
    let half = Z * (ratio * (1.0 - ratio) / count + Z * Z / (4.0 * count * count)).sqrt();
    let scale = 1.0 + Z * Z / count;
    [f64::max((middle - half) / scale, 0.0), f64::min((middle + half) / scale, 1.0)]
}

/// Who sees what an application serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    ByItself,
    ByCallers,
}

impl Seen {
    fn of(role: Role) -> Option<Self> {
        match role {
            Role::Inbound => Some(Self::ByItself),
            Role::Gateway | Role::Outbound => Some(Self::ByCallers),
            Role::Entered | Role::Process => None,
        }
    }

    /// Whose figures are told, by the requests of both, those aside that callers know to have come nowhere: the application's own,
    /// unless only few of its sidecars report.
    fn better(by_itself: u64, by_callers: u64) -> Self {
        let is_most = by_itself > 0 && by_callers <= by_itself.saturating_mul(2);
        if is_most { Self::ByItself } else { Self::ByCallers }
    }

    fn word(self) -> String {
        match self {
            Self::ByItself => "application".to_owned(),
            Self::ByCallers => "callers".to_owned(),
        }
    }
}

/// What lines of a series are told apart by.
const BY: &str = "lane, application, service, route, gateway, caller, outcome, code";

/// Figures step by step.
#[utoipa::path(
    get, path = "/api/v1alpha1/statistics/series", tag = "statistics",
    params(
        ("group" = Option<String>, Query, description = "Of this lane group"),
        ("lane" = Option<String>, Query, description = "Of the lane of this tag; `base` is base"),
        ("application" = Option<String>, Query, description = "Served by this application"),
        ("service" = Option<String>, Query, description = "Of this service"),
        ("gateway" = Option<String>, Query, description = "As this gateway counted"),
        ("route" = Option<String>, Query, description = "Of this route of gateways"),
        ("caller" = Option<String>, Query, description = "Called by this application"),
        ("by" = Option<String>, Query, description = "What is told apart: lane (the default), application, service, route, gateway, caller, outcome or code"),
        ("window" = Option<String>, Query, description = "How long until now: 1s to 30d; default 15m"),
        ("step" = Option<String>, Query, description = "Of what time each figure is; default: one that gives at most 180"),
    ),
    responses((status = 200, description = "Lines by name", body = StatisticsSeries))
)]
pub(super) async fn series(
    State(control): Shared,
    written: Written,
) -> Result<Json<StatisticsSeries>, Refused> {
    let known = "group, lane, application, service, gateway, route, caller, by, window, step";
    let asked = Asked::read(written, known)?;
    let by = asked.text("by").unwrap_or("lane").to_owned();
    if !BY.split(", ").any(|it| it == by) {
        let detail = format!("by: `{by}`: use one of {BY}");
        return Err(Refused::new(400, "bad query", detail));
    }
    let wanted = Wanted { window: asked.window.unwrap_or(900), step: asked.step, is_one: false };
    if wanted.step.is_some_and(|step| step > wanted.window) {
        let detail = "step: it is longer than the window: use a shorter one".to_owned();
        return Err(Refused::new(400, "bad query", detail));
    }
    let is_own = asked.is_by_teller(&by);
    let answering = move |control: &Control| {
        let key = |labels: &Labels| line_of(&asked, &by, labels);
        let answer = match is_own {
            true => ask_own(control, wanted, key)?,
            false => ask(control, wanted, &asked.of_prometheus(), key)?,
        };
        let lines: Vec<_> = lines(&answer, by == "code")
            .into_iter()
            .map(|(name, counted)| line(name, &counted, &answer.recorded))
            .collect();
        let requests = sum(lines.iter().flat_map(|line| line.requests.iter().flatten().copied()));
        Ok(StatisticsSeries { basis: basis(control, &answer, requests), lines })
    };
    match is_own {
        true => beside(control, answering).await,
        false => beside_others(control, wanted, answering).await,
    }
}

/// Lines by name, of each application as those tell it that see the most.
fn lines(answer: &Answer<LineKey>, is_by_code: bool) -> BTreeMap<String, Vec<Option<Counted>>> {
    let mut seen: BTreeMap<(&str, &str), [u64; 2]> = BTreeMap::new();
    for (key, counted) in &answer.lines {
        let came = counted.iter().flatten().map(|it| it.requests().saturating_sub(it.failed));
        let of_both = seen.entry((&key.name, &key.application)).or_default();
        of_both[key.seen as usize] = of_both[key.seen as usize].saturating_add(sum(came));
    }
    let mut lines: BTreeMap<String, Vec<Option<Counted>>> = BTreeMap::new();
    for (key, counted) in &answer.lines {
        let both = &seen[&(&*key.name, &*key.application)];
        if Seen::better(both[0], both[1]) != key.seen {
            continue;
        }
        for (step, counted) in counted.iter().enumerate() {
            let Some(counted) = counted else { continue };
            for (name, counted) in named(&key.name, counted, is_by_code) {
                let line = lines.entry(name);
                let line = line.or_insert_with(|| vec![None; answer.span.steps()]);
                line[step].get_or_insert_default().merge(&counted);
            }
        }
    }
    lines
}

/// One line, with nothing where nothing was recorded, and 0 where nothing passed.
fn line(name: String, counted: &[Option<Counted>], recorded: &[Option<u32>]) -> StatisticsLine {
    let mut line = StatisticsLine { name, ..StatisticsLine::default() };
    for (counted, recorded) in counted.iter().zip(recorded) {
        let nothing = recorded.map(|_| 0);
        let counted = counted.as_ref();
        line.requests.push(counted.map(Counted::requests).or(nothing));
        line.errors.push(counted.map(Counted::errors).or(nothing));
        line.p50_ms.push(counted.and_then(|it| quantile_ms(&it.cell, 0.5)));
        line.p99_ms.push(counted.and_then(|it| quantile_ms(&it.cell, 0.99)));
    }
    line
}

/// What is told apart for lines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct LineKey {
    name: String,
    application: Box<str>,
    seen: Seen,
}

fn line_of(asked: &Asked, by: &str, labels: &Labels) -> Option<LineKey> {
    let seen = Seen::of(labels.role)?;
    // A gateway's figures are those that it counted, not those of whom it asked.
    let at_gateway = asked.text("gateway").is_some()
        || asked.text("route").is_some()
        || ["route", "gateway"].contains(&by);
    let of_caller = asked.text("caller").is_some() || by == "caller";
    let is_role = match labels.role {
        Role::Gateway => asked.text("caller").is_none(),
        Role::Outbound => !at_gateway,
        _ => !at_gateway && !of_caller,
    };
    let is_asked = is_role
        && asked.is("group", &labels.group)
        && asked.is_lane(&labels.lane)
        && asked.is("application", &labels.application)
        && asked.is("service", &labels.service)
        && asked.is("route", &labels.route)
        && asked.is("gateway", &labels.teller)
        && asked.is("caller", &labels.teller);
    let name = match by {
        "lane" if labels.lane.is_empty() => "base".to_owned(),
        "lane" => format!("{}/{}", labels.group, labels.lane),
        "application" => labels.application.to_string(),
        "service" => labels.service.to_string(),
        "route" => labels.route.to_string(),
        "gateway" | "caller" => labels.teller.to_string(),
        "outcome" => labels.outcome.as_str().to_owned(),
        _ => String::new(),
    };
    is_asked.then(|| LineKey { name, application: labels.application.clone(), seen })
}

/// What was counted under its line's name; or what of it is of each class of codes, under that. Of durations the classes are not
/// told apart.
fn named(name: &str, counted: &Counted, is_by_code: bool) -> Vec<(String, Counted)> {
    if !is_by_code {
        return vec![(name.to_owned(), counted.clone())];
    }
    let classes = counted.cell.classes.iter().enumerate().filter(|(_, count)| **count > 0);
    classes
        .map(|(class, count)| {
            let mut classes = [0; CLASSES];
            classes[class] = *count;
            let name = if class == 0 { "none".to_owned() } else { format!("{class}xx") };
            let cell = Cell { classes, ..Cell::default() };
            (name, Counted { cell, ..Counted::default() })
        })
        .collect()
}

/// What passes now, by lane and application.
#[utoipa::path(
    get, path = "/api/v1alpha1/statistics/top", tag = "statistics",
    params(
        ("group" = Option<String>, Query, description = "Of this lane group: its lanes, and base of its applications"),
        ("application" = Option<String>, Query, description = "Served by this application"),
        ("window" = Option<String>, Query, description = "How long until now: 1s to 30d; default 10s"),
    ),
    responses(
        (status = 200, description = "By group, lane and application", body = StatisticsTop),
        (status = 404, description = "No such lane group", body = api::rest::Problem),
    )
)]
pub(super) async fn top(
    State(control): Shared,
    written: Written,
) -> Result<Json<StatisticsTop>, Refused> {
    let asked = Asked::read(written, "group, application, window")?;
    let group = asked.text("group").map(str::to_owned);
    let (members, entrances) = match &group {
        None => (None, Vec::new()),
        Some(group) => {
            let LaneGroupSpec { applications, entrances } = spec_of(&control, group)?;
            let at = entrances.into_iter().filter_map(|it| it.gateway.or(it.application));
            (Some(applications), at.collect::<Vec<_>>())
        }
    };
    let wanted = asked.one(10);
    beside_others(control, wanted, move |control| {
        let mut of = asked.of_prometheus();
        // Base is of no group, and lanes may have had applications that are no members any more.
        of.labels.retain(|(label, _)| *label != label::LANE_GROUP);
        let is_member =
            |name: &str| members.as_ref().is_none_or(|all| all.iter().any(|it| it == name));
        let answer = ask(control, wanted, &of, |labels| {
            let seen = Seen::of(labels.role);
            let is_base = labels.lane.is_empty();
            // Of base, what applications of the group serve.
            let is_within = group.as_deref().is_none_or(|group| *labels.group == *group)
                || is_base && is_member(&labels.application);
            let is_entrance = || entrances.iter().any(|it| **it == *labels.teller);
            let is_process = labels.role == Role::Process
                && (is_member(&labels.teller) || is_entrance())
                && asked.is("application", &labels.teller);
            let is_row =
                seen.is_some() && is_within && asked.is("application", &labels.application);
            (is_process || is_row).then(|| TopKey {
                is_base,
                group: labels.group.clone(),
                lane: labels.lane.clone(),
                application: labels.application.clone(),
                seen,
                teller: if is_process { labels.teller.clone() } else { Box::default() },
            })
        })?;
        Ok(rows(control, &answer))
    })
    .await
}

/// What is told apart for rows; base comes last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct TopKey {
    is_base: bool,
    group: Box<str>,
    lane: Box<str>,
    application: Box<str>,
    /// `None`: a process's own.
    seen: Option<Seen>,
    /// Of a process.
    teller: Box<str>,
}

/// Rows of what was counted in one step.
fn rows(control: &Control, answer: &Answer<TopKey>) -> StatisticsTop {
    let mut by_lane: BTreeMap<(bool, &str, &str, &str), [Counted; 2]> = BTreeMap::new();
    let mut processes = Vec::new();
    for (key, counted) in &answer.lines {
        let Some(counted) = counted.iter().flatten().next() else { continue };
        let Some(seen) = key.seen else {
            let [bytes_received, bytes_sent, misrouted, ejections, ..] = counted.cell.classes;
            let name = key.teller.to_string();
            let process =
                StatisticsProcess { name, bytes_received, bytes_sent, misrouted, ejections };
            processes.push(process);
            continue;
        };
        let of = (key.is_base, &*key.group, &*key.lane, &*key.application);
        by_lane.entry(of).or_default()[seen as usize].merge(counted);
    }
    let in_flight = control.statistics().in_flight();
    let rows: Vec<StatisticsRow> = by_lane
        .into_iter()
        .map(|((_, group, lane, application), both)| {
            let [by_itself, by_callers] = &both;
            let came = by_callers.requests().saturating_sub(by_callers.failed);
            let seen = Seen::better(by_itself.requests(), came);
            let counted = &both[seen as usize];
            StatisticsRow {
                group: group.to_owned(),
                lane: lane.to_owned(),
                application: application.to_owned(),
                counted_by: seen.word(),
                figures: figures(counted, answer.seconds()),
                fallback: counted.fallback,
                unserved: by_callers.failed,
                in_flight: in_flight.get(application).copied(),
            }
        })
        .collect();
    let requests = sum(rows.iter().map(|row| row.figures.requests));
    StatisticsTop { basis: basis(control, answer, requests), rows, processes }
}

/// The applications of a lane group, in its order.
fn applications(control: &Control, group: &str) -> Result<Vec<String>, Refused> {
    spec_of(control, group).map(|spec| spec.applications)
}

fn spec_of(control: &Control, group: &str) -> Result<LaneGroupSpec, Refused> {
    let groups = control.ledger().view().list(api::resource::Kind::LaneGroup, None);
    let found = groups.iter().find_map(|stored| match &*stored.object {
        Object::LaneGroup(it) if it.metadata.name == group => Some(it.spec.clone()),
        _ => None,
    });
    found.ok_or_else(|| {
        Refused::new(404, "not found", format!("group: `{group}`: there is no such lane group"))
    })
}

/// How requests were spread over lanes where they entered.
#[utoipa::path(
    get, path = "/api/v1alpha1/statistics/share", tag = "statistics",
    params(
        ("group" = Option<String>, Query, description = "Of this lane group; default: of all"),
        ("window" = Option<String>, Query, description = "How long until now: 1s to 30d; default 1m"),
    ),
    responses((status = 200, description = "By group and lane", body = StatisticsShare))
)]
pub(super) async fn share(
    State(control): Shared,
    written: Written,
) -> Result<Json<StatisticsShare>, Refused> {
    let asked = Asked::read(written, "group, window")?;
    let wanted = asked.one(60);
    beside_others(control, wanted, move |control| {
        let of = prometheus::Wanted { entered: true, ..asked.of_prometheus() };
        let answer = ask(control, wanted, &of, |labels| {
            let is_asked = labels.role == Role::Entered && asked.is("group", &labels.group);
            // Base is told last.
            let key =
                || (labels.group.to_string(), labels.lane.is_empty(), labels.lane.to_string());
            is_asked.then(key)
        })?;
        let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
        for ((group, ..), counted) in &answer.lines {
            let total = totals.entry(group).or_default();
            *total = total.saturating_add(requests(counted));
        }
        let lanes = answer
            .lines
            .iter()
            .map(|((group, _, lane), counted)| {
                let requests = requests(counted);
                StatisticsLaneShare {
                    group: group.clone(),
                    lane: lane.clone(),
                    requests,
                    share: requests as f64 / totals[group.as_str()].max(1) as f64,
                    expected: expected(control, group, lane),
                }
            })
            .collect();
        let requests = sum(totals.values().copied());
        Ok(StatisticsShare { basis: basis(control, &answer, requests), lanes })
    })
    .await
}

/// The share that a lane should have, of a group by ratio: base has what is left.
fn expected(control: &Control, group: &str, tag: &str) -> Option<f64> {
    let lanes = control.ledger().view().list(api::resource::Kind::Lane, None);
    let of_group = lanes.iter().filter_map(|stored| match &*stored.object {
        Object::Lane(lane) if lane.spec.group == group && lane.spec.enabled => Some(lane),
        _ => None,
    });
    let ratios: Vec<(String, f64)> = of_group
        .filter_map(|lane| {
            let percent = lane.spec.entry.ratio.as_ref()?.percent;
            let percent = if lane.spec.entry.paused { 0.0 } else { percent };
            Some((lane.tag_text().to_owned(), percent / 100.0))
        })
        .collect();
    match tag {
        "" if !ratios.is_empty() => Some(1.0 - ratios.iter().map(|(_, it)| it).sum::<f64>()),
        tag => ratios.into_iter().find(|(it, _)| it == tag).map(|(_, it)| it),
    }
}

/// A lane beside base, application by application.
#[utoipa::path(
    get, path = "/api/v1alpha1/statistics/compare", tag = "statistics",
    params(
        ("group" = String, Query, description = "The lane group"),
        ("lane" = String, Query, description = "The tag of the lane"),
        ("window" = Option<String>, Query, description = "How long until now: 1s to 30d; default 15m"),
    ),
    responses(
        (status = 200, description = "In the order of the group", body = StatisticsCompare),
        (status = 404, description = "No such lane group", body = api::rest::Problem),
    )
)]
pub(super) async fn compare(
    State(control): Shared,
    written: Written,
) -> Result<Json<StatisticsCompare>, Refused> {
    let asked = Asked::read(written, "group, lane, window")?;
    let (group, lane) = (asked.required("group")?.to_owned(), asked.required("lane")?.to_owned());
    let members = applications(&control, &group)?;
    let wanted = asked.one(900);
    beside(control, move |control| {
        let answer = ask_own(control, wanted, |labels| {
            let is_base = labels.lane.is_empty();
            let is_lane = *labels.group == *group && *labels.lane == *lane;
            let is_member = members.iter().any(|it| **it == *labels.application);
            let is_fallback = labels.outcome == Outcome::Fallback;
            let seen = Seen::of(labels.role)?;
            let key = || (labels.application.to_string(), is_base, seen, is_fallback);
            (is_member && (is_base || is_lane)).then(key)
        })?;
        let of = |application: &str, is_base, seen, is_fallback| {
            let key = (application.to_owned(), is_base, seen, is_fallback);
            let counted = answer.lines.get(&key).and_then(|it| it[0].clone());
            counted.map(|it| *it).unwrap_or_default()
        };
        let compared = |application: &String| {
            let both_by =
                |seen| (of(application, false, seen, false), of(application, true, seen, false));
            let seen = fairly(both_by(Seen::ByItself), both_by(Seen::ByCallers));
            let (lane, base) = both_by(seen);
            StatisticsCompared {
                application: application.clone(),
                lane: figures(&lane, answer.seconds()),
                base: figures(&base, answer.seconds()),
                fallback: of(application, false, seen, true).requests(),
            }
        };
        let applications: Vec<StatisticsCompared> = members.iter().map(compared).collect();
        let all =
            applications.iter().flat_map(|it| [it.lane.requests, it.base.requests, it.fallback]);
        let requests = sum(all);
        Ok(StatisticsCompare { basis: basis(control, &answer, requests), applications })
    })
    .await
}

/// Whether a lane is worse than base, and because of which application.
#[utoipa::path(
    get, path = "/api/v1alpha1/statistics/verdict", tag = "statistics",
    params(
        ("group" = String, Query, description = "The lane group"),
        ("lane" = String, Query, description = "The tag of the lane"),
        ("since" = Option<String>, Query, description = "How long ago to begin, 1s to 24h, or when: a time in RFC 3339, or `now`; default: since the lane was enabled, or 15 minutes before the control plane started"),
        ("errors" = Option<String>, Query, description = "How many more errors matter, in percent of requests, 0.1 to 100; default 1"),
        ("slow" = Option<String>, Query, description = "How many more answers slower than 95 % of base's matter, in percent, 0.1 to 100; default 10"),
    ),
    responses(
        (status = 200, description = "The verdict, with what it rests on", body = StatisticsVerdict),
        (status = 404, description = "No such lane group, or no such lane in it", body = api::rest::Problem),
    )
)]
pub(super) async fn verdict(
    State(control): Shared,
    written: Written,
) -> Result<Json<StatisticsVerdict>, Refused> {
    let asked = Asked::read(written, "group, lane, since, errors, slow")?;
    let (name, lane) = (asked.required("group")?.to_owned(), asked.required("lane")?.to_owned());
    let applications = applications(&control, &name)?;
    if judging::lane_of(control.ledger().view().objects().set(), &name, &lane).is_none() {
        let detail = format!("lane: `{lane}`: there is no such lane in group {name}");
        return Err(Refused::new(404, "not found", detail));
    }
    let since = match asked.text("since") {
        Some(text) => Some(begin(text, control.statistics().second(Instant::now()))?),
        None => None,
    };
    let effect = effect(&asked)?;
    let group = Group { name, applications, lanes: vec![lane.clone()] };
    beside(control, move |control| {
        let now = Instant::now();
        let look_back =
            |since| trials::look_back(control.statistics(), &group, &lane, since, &effect, now);
        let judged = match since {
            Some(since) => look_back(since).map(Some),
            None => judging::follow(control)
                .map(|()| control.trials().judge(&group.name, &lane, &effect)),
        };
        let judged = judged.and_then(|it| match it {
            Some(judgement) => Ok(judgement),
            // A disabled lane is on no trial.
            None => look_back(control.statistics().second(now).saturating_sub(trials::IN_MEMORY)),
        });
        judged.map(|judgement| judging::told(&group, &lane, &judgement)).map_err(no_history)
    })
    .await
}

/// The second that a verdict's time begins with.
fn begin(text: &str, now: u64) -> Result<u64, Refused> {
    let begin = match text {
        "now" => Some(now),
        // A clock may be ahead of this one: nothing was counted since.
        text => unix_second(text)
            .or_else(|| seconds("since", text).ok().map(|it| now.saturating_sub(it))),
    };
    // Who waits for a verdict of the last 24 hours asks again with the time that these began at.
    let back_max = trials::BACK_MAX + if unix_second(text).is_some() { 3_600 } else { 0 };
    begin.filter(|it| now.saturating_sub(*it) <= back_max).ok_or_else(|| {
        let detail = format!(
            "since: `{text}`: use 1s to 24h, a number and one of s, m and h; or a time of the last 24 hours, such as 2026-11-24T06:30:00Z, or now"
        );
        Refused::new(400, "bad query", detail)
    })
}

/// What matters, where it is asked for otherwise.
fn effect(asked: &Asked) -> Result<Effect, Refused> {
    let percent = |name: &str, otherwise: f64| {
        let Some(text) = asked.text(name) else { return Ok(otherwise) };
        let number = text.trim_end_matches('%').trim().parse::<f64>().ok();
        number.filter(|it| (0.1..=100.0).contains(it)).map(|it| it / 100.0).ok_or_else(|| {
            let detail = format!("{name}: `{text}`: use percent of requests, 0.1 to 100");
            Refused::new(400, "bad query", detail)
        })
    };
    let Effect { errors, slow } = Effect::default();
    Ok(Effect { errors: percent("errors", errors)?, slow: percent("slow", slow)? })
}

/// By whom a lane and base are compared: both by the same, because what callers see takes longer than what the application does.
fn fairly(by_itself: (Counted, Counted), by_callers: (Counted, Counted)) -> Seen {
    let has_both = |(lane, base): &(Counted, Counted)| lane.requests() > 0 && base.requests() > 0;
    let all =
        |(lane, base): &(Counted, Counted)| sum([lane.requests(), base.requests()].into_iter());
    match (has_both(&by_itself), has_both(&by_callers)) {
        (false, true) => Seen::ByCallers,
        _ => Seen::better(all(&by_itself), all(&by_callers)),
    }
}

/// Who calls whom.
#[utoipa::path(
    get, path = "/api/v1alpha1/statistics/calls", tag = "statistics",
    params(
        ("group" = Option<String>, Query, description = "To the applications of this lane group; default: to all"),
        ("window" = Option<String>, Query, description = "How long until now: 1s to 30d; default 15m"),
    ),
    responses(
        (status = 200, description = "By caller and application", body = StatisticsCalls),
        (status = 404, description = "No such lane group", body = api::rest::Problem),
    )
)]
pub(super) async fn calls(
    State(control): Shared,
    written: Written,
) -> Result<Json<StatisticsCalls>, Refused> {
    let asked = Asked::read(written, "group, window")?;
    let members = match asked.text("group") {
        Some(group) => Some(applications(&control, group)?),
        None => None,
    };
    beside(control, move |control| {
        let answer = ask_own(control, asked.one(900), |labels| {
            let is_call = matches!(labels.role, Role::Gateway | Role::Outbound);
            let is_member =
                members.as_ref().is_none_or(|all| all.iter().any(|it| **it == *labels.application));
            let is_gateway = labels.role == Role::Gateway;
            let key = || (labels.teller.to_string(), is_gateway, labels.application.to_string());
            (is_call && is_member && !labels.application.is_empty()).then(key)
        })?;
        let calls: Vec<StatisticsCall> = answer
            .lines
            .iter()
            .map(|((caller, is_gateway, application), counted)| StatisticsCall {
                caller: caller.clone(),
                is_gateway: *is_gateway,
                application: application.clone(),
                requests: requests(counted),
            })
            .collect();
        let requests = sum(calls.iter().map(|call| call.requests));
        Ok(StatisticsCalls { basis: basis(control, &answer, requests), calls })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        for (text, expected) in
            [("10s", 10), ("15m", 900), ("24h", 86_400), ("30d", WINDOW_MAX), ("7", 7)]
        {
            assert_eq!(seconds("window", text).ok(), Some(expected), "{text}");
        }
        for text in ["", "0s", "m", "-1m", "1.5m", "31d", "1w", "99999999999999999999s"] {
            assert!(seconds("window", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_of_few_is_told_with_a_wide_range() {
        let [low, high] = wilson(0.0, 10.0);
        assert!(low == 0.0 && (0.25..0.30).contains(&high), "{high}");
        let [low, high] = wilson(0.5, 10_000.0);
        assert!((0.489..0.491).contains(&low) && (0.509..0.511).contains(&high));
    }

    #[test]
    fn what_was_cut_is_an_error_whatever_its_code() {
        let mut cell = Cell::default();
        cell.count(2, 100, &[5, 3]);
        cell.count(5, 100, &[5, 2]);
        let mut counted = Counted::default();
        counted.add(Outcome::Lane, &cell);
        assert_eq!(counted.errors(), 2);
        counted.add(Outcome::Cut, &cell);
        assert_eq!(counted.errors(), 7);
        let mut left = Cell::default();
        left.count(4, 100, &[5, 9]);
        counted.add(Outcome::Failed, &left);
        assert_eq!((counted.errors(), counted.failed), (7, 9), "whoever leaves is no error");
    }

    #[test]
    fn a_verdict_begins_at_a_time_that_may_be_told_in_three_ways() {
        let now = 1_795_501_800;
        for (text, expected) in [
            ("now", Some(now)),
            ("10m", Some(now - 600)),
            ("24h", Some(now - 86_400)),
            ("2026-11-24T06:20:00Z", Some(now - 600)),
            // A day ago when it was first asked for.
            ("2026-11-23T06:00:00Z", Some(now - 88_200)),
            ("25h", None),
            ("2026-11-20T06:00:00Z", None),
            ("yesterday", None),
        ] {
            assert_eq!(begin(text, now).ok(), expected, "{text}");
        }
    }

    #[test]
    fn lane_and_base_are_compared_by_the_same() {
        let of = |requests| {
            let mut counted = Counted::default();
            let mut cell = Cell::default();
            cell.count(2, 0, &[5, requests]);
            counted.add(Outcome::Base, &cell);
            counted
        };
        let fairly = |itself: (u32, u32), callers: (u32, u32)| {
            super::fairly((of(itself.0), of(itself.1)), (of(callers.0), of(callers.1)))
        };
        assert_eq!(fairly((5, 90), (5, 90)), Seen::ByItself);
        assert_eq!(fairly((5, 0), (5, 90)), Seen::ByCallers, "base has no sidecar that reports");
        assert_eq!(fairly((5, 90), (0, 0)), Seen::ByItself);
        assert_eq!(fairly((5, 0), (0, 0)), Seen::ByItself);
        assert_eq!(fairly((5, 9), (50, 90)), Seen::ByCallers, "one of ten reports");
    }
}
