//! Figures of what passes: series, top, share, compare, calls.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use api::{
    resource::Object,
    rest::{
        StatisticsBasis, StatisticsCall, StatisticsCalls, StatisticsCompare, StatisticsCompared,
        StatisticsFigures, StatisticsLaneShare, StatisticsLine, StatisticsProcess, StatisticsRow,
        StatisticsSeries, StatisticsShare, StatisticsTop,
    },
};
use axum::{
    Json,
    extract::{Query, State},
};
use telemetry::sketch;

use super::{
    Refused,
    objects::{Written, unknown_parameter},
};
use crate::{
    Control,
    statistics::{
        cell::{CLASSES, Cell},
        question::{Answer, Wanted},
        series::{Labels, Outcome, Role},
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

/// Asks, on a thread that may wait for the disk.
async fn ask<K: Ord + Clone + Send + 'static>(
    control: &Arc<Control>,
    wanted: Wanted,
    line: impl Fn(&Labels) -> Option<K> + Send + 'static,
) -> Result<Answer<K>, Refused> {
    let statistics = Arc::clone(control.statistics());
    let answered =
        tokio::task::spawn_blocking(move || statistics.answer(wanted, Instant::now(), line)).await;
    match answered {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the history of statistics cannot be read");
            let detail = "the history cannot be read: ask for at most 15m, which is in memory";
            Err(Refused::new(503, "no history", detail.to_owned()))
        }
        Err(_) => Err(Refused::new(500, "failed", "see the control plane's log".to_owned())),
    }
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
        is_cut: answer.is_cut,
    }
}

/// What was counted of requests, with how they ended.
#[derive(Debug, Clone, Default)]
struct Counted {
    cell: Cell,
    /// Those that did not end with an answer, whatever its code.
    broken: u64,
}

impl Counted {
    fn add(&mut self, outcome: Outcome, cell: &Cell) {
        self.cell.add(cell);
        if matches!(outcome, Outcome::Failed | Outcome::Cut) {
            // What has another code is counted by it.
            self.broken += cell.requests() - cell.classes[5] - cell.classes[0];
        }
    }

    fn errors(&self) -> u64 {
        self.cell.classes[0] + self.cell.classes[5] + self.broken
    }

    fn quantile_ms(&self, share: f64) -> Option<f64> {
        let counts = self.cell.sketch.map(u64::from);
        // Two digits after the point are more than a bucket tells.
        sketch::quantile(&counts, share).map(|it| (it / 1e4).round() / 1e2)
    }

    fn figures(&self, seconds: u64) -> StatisticsFigures {
        let (requests, errors) = (self.cell.requests(), self.errors());
        let ratio = (requests > 0).then(|| errors as f64 / requests as f64);
        StatisticsFigures {
            requests,
            requests_per_second: requests as f64 / seconds.max(1) as f64,
            errors,
            error_ratio: ratio,
            error_ratio_range: ratio.map(|ratio| wilson(ratio, requests as f64)),
            p50_ms: self.quantile_ms(0.5),
            p95_ms: self.quantile_ms(0.95),
            p99_ms: self.quantile_ms(0.99),
        }
    }
}

/// Between what the true share is, in 95 of 100 cases, where so many had this one (Wilson's interval).
fn wilson(ratio: f64, count: f64) -> [f64; 2] {
    const Z: f64 = 1.96;
    let middle = ratio + Z * Z / (2.0 * count);
    let half = Z * (ratio * (1.0 - ratio) / count + Z * Z / (4.0 * count * count)).sqrt();
    let scale = 1.0 + Z * Z / count;
    [f64::max((middle - half) / scale, 0.0), f64::min((middle + half) / scale, 1.0)]
}

/// Who sees what an application serves: its own sidecars where there are any that report, else its callers.
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
    let is_by_code = by == "code";
    let answer = ask(&control, wanted, move |labels| line_of(&asked, &by, labels)).await?;
    let mut seen_by: BTreeMap<String, Seen> = BTreeMap::new();
    let mut lines: BTreeMap<(Seen, String), Vec<Option<Counted>>> = BTreeMap::new();
    for ((name, seen, outcome), cells) in &answer.lines {
        for (step, cell) in cells.iter().enumerate() {
            let Some(cell) = cell else { continue };
            for (name, cell) in named(name, cell, is_by_code) {
                // What its own sidecars saw goes before what its callers did.
                let best = seen_by.entry(name.clone()).or_insert(*seen);
                *best = Seen::min(*best, *seen);
                let line = lines.entry((*seen, name));
                let line = line.or_insert_with(|| vec![None; answer.span.steps()]);
                line[step].get_or_insert_default().add(*outcome, &cell);
            }
        }
    }
    let lines: Vec<StatisticsLine> = seen_by
        .into_iter()
        .filter_map(|(name, seen)| {
            let counted = lines.remove(&(seen, name.clone()))?;
            Some(line(name, &counted, &answer.recorded))
        })
        .collect();
    let requests = lines.iter().flat_map(|line| line.requests.iter().flatten()).sum();
    Ok(Json(StatisticsSeries { basis: basis(&control, &answer, requests), lines }))
}

/// One line, with nothing where nothing was recorded, and 0 where nothing passed.
fn line(name: String, counted: &[Option<Counted>], recorded: &[Option<u32>]) -> StatisticsLine {
    let mut line = StatisticsLine { name, ..StatisticsLine::default() };
    for (counted, recorded) in counted.iter().zip(recorded) {
        let nothing = recorded.map(|_| 0);
        let counted = counted.as_ref();
        line.requests.push(counted.map(|it| it.cell.requests()).or(nothing));
        line.errors.push(counted.map(Counted::errors).or(nothing));
        line.p50_ms.push(counted.and_then(|it| it.quantile_ms(0.5)));
        line.p99_ms.push(counted.and_then(|it| it.quantile_ms(0.99)));
    }
    line
}

/// A line's name, who saw it, and how requests of it end.
type LineKey = (String, Seen, Outcome);

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
    is_asked.then_some((name, seen, labels.outcome))
}

/// A cell under its line's name; or what of it is of each class of codes, under that. Of durations the classes are not told
/// apart.
fn named(name: &str, cell: &Cell, is_by_code: bool) -> Vec<(String, Cell)> {
    if !is_by_code {
        return vec![(name.to_owned(), cell.clone())];
    }
    let classes = cell.classes.iter().enumerate().filter(|(_, count)| **count > 0);
    classes
        .map(|(class, count)| {
            let mut classes = [0; CLASSES];
            classes[class] = *count;
            let name = if class == 0 { "none".to_owned() } else { format!("{class}xx") };
            (name, Cell { classes, ..Cell::default() })
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
    responses((status = 200, description = "By group, lane and application", body = StatisticsTop))
)]
pub(super) async fn top(
    State(control): Shared,
    written: Written,
) -> Result<Json<StatisticsTop>, Refused> {
    let asked = Asked::read(written, "group, application, window")?;
    let group = asked.text("group").map(str::to_owned);
    let members = match &group {
        Some(group) => Some(applications(&control, group)?),
        None => None,
    };
    let wanted = asked.one(10);
    let answer = ask(&control, wanted, move |labels| {
        let seen = Seen::of(labels.role);
        // Of base, what applications of the group serve.
        let is_within = match (&group, &members) {
            (Some(group), Some(members)) => {
                *labels.group == **group
                    || labels.lane.is_empty()
                        && members.iter().any(|it| **it == *labels.application)
            }
            _ => true,
        };
        let is_process = labels.role == Role::Process;
        let is_asked = is_process
            || seen.is_some() && is_within && asked.is("application", &labels.application);
        let teller = if is_process { labels.teller.clone() } else { Box::default() };
        let key = || TopKey {
            is_base: labels.lane.is_empty(),
            group: labels.group.clone(),
            lane: labels.lane.clone(),
            application: labels.application.clone(),
            seen,
            outcome: labels.outcome,
            teller,
        };
        is_asked.then(key)
    })
    .await?;
    Ok(Json(rows(&control, &answer)))
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
    outcome: Outcome,
    /// Of a process.
    teller: Box<str>,
}

/// Rows of what was counted in one step.
fn rows(control: &Control, answer: &Answer<TopKey>) -> StatisticsTop {
    #[derive(Default)]
    struct Row {
        seen: [Counted; 2],
        fallback: [u64; 2],
        unserved: u64,
    }
    let mut by_lane: BTreeMap<(bool, &str, &str, &str), Row> = BTreeMap::new();
    let mut processes: BTreeMap<&str, StatisticsProcess> = BTreeMap::new();
    for (labels, cells) in &answer.lines {
        let Some(cell) = cells.iter().flatten().next() else { continue };
        let Some(seen) = labels.seen else {
            let of_name = processes.entry(&labels.teller).or_default();
            let [received, sent, misrouted, ejections, ..] = cell.classes;
            of_name.name = labels.teller.to_string();
            of_name.bytes_received += received;
            of_name.bytes_sent += sent;
            of_name.misrouted += misrouted;
            of_name.ejections += ejections;
            continue;
        };
        let of = (labels.is_base, &*labels.group, &*labels.lane, &*labels.application);
        let row = by_lane.entry(of).or_default();
        row.seen[seen as usize].add(labels.outcome, cell);
        if labels.outcome == Outcome::Fallback {
            row.fallback[seen as usize] += cell.requests();
        }
        if seen == Seen::ByCallers && labels.outcome == Outcome::Failed {
            row.unserved += cell.requests();
        }
    }
    let in_flight = control.statistics().in_flight();
    let seconds = answer.span.until - answer.span.from;
    let rows: Vec<StatisticsRow> = by_lane
        .into_iter()
        .map(|((_, group, lane, application), row)| {
            let is_by_itself = !row.seen[Seen::ByItself as usize].cell.is_empty();
            let seen = if is_by_itself { Seen::ByItself } else { Seen::ByCallers };
            StatisticsRow {
                group: group.to_owned(),
                lane: lane.to_owned(),
                application: application.to_owned(),
                counted_by: seen.word(),
                figures: row.seen[seen as usize].figures(seconds),
                fallback: row.fallback[seen as usize],
                unserved: row.unserved,
                in_flight: in_flight.get(application).copied(),
            }
        })
        .collect();
    let requests = rows.iter().map(|row| row.figures.requests).sum();
    let processes = processes.into_values().collect();
    StatisticsTop { basis: basis(control, answer, requests), rows, processes }
}

/// The applications of a lane group, in its order.
fn applications(control: &Control, group: &str) -> Result<Vec<String>, Refused> {
    let groups = control.ledger().view().list(api::resource::Kind::LaneGroup, None);
    let found = groups.iter().find_map(|stored| match &*stored.object {
        Object::LaneGroup(it) if it.metadata.name == group => Some(it.spec.applications.clone()),
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
    let answer = ask(&control, asked.one(60), move |labels| {
        let is_asked = labels.role == Role::Entered && asked.is("group", &labels.group);
        // Base is told last.
        is_asked
            .then(|| (labels.group.to_string(), labels.lane.is_empty(), labels.lane.to_string()))
    })
    .await?;
    let count = |cells: &[Option<Box<Cell>>]| cells.iter().flatten().map(|it| it.requests()).sum();
    let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
    for ((group, ..), cells) in &answer.lines {
        *totals.entry(group).or_default() += count(cells);
    }
    let lanes = answer
        .lines
        .iter()
        .map(|((group, _, lane), cells)| {
            let requests = count(cells);
            StatisticsLaneShare {
                group: group.clone(),
                lane: lane.clone(),
                requests,
                share: requests as f64 / totals[group.as_str()].max(1) as f64,
                expected: expected(&control, group, lane),
            }
        })
        .collect();
    let requests = totals.values().sum();
    Ok(Json(StatisticsShare { basis: basis(&control, &answer, requests), lanes }))
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
            let ratio = lane.spec.entry.ratio.as_ref()?;
            Some((lane.tag_text().to_owned(), ratio.percent / 100.0))
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
    responses((status = 200, description = "In the order of the group", body = StatisticsCompare))
)]
pub(super) async fn compare(
    State(control): Shared,
    written: Written,
) -> Result<Json<StatisticsCompare>, Refused> {
    let asked = Asked::read(written, "group, lane, window")?;
    let (group, lane) = (asked.required("group")?.to_owned(), asked.required("lane")?.to_owned());
    let members = applications(&control, &group)?;
    let wanted = asked.one(900);
    let known = members.clone();
    let answer = ask(&control, wanted, move |labels| {
        let is_base = labels.lane.is_empty();
        let is_lane = *labels.group == *group && *labels.lane == *lane;
        let is_member = known.iter().any(|it| **it == *labels.application);
        let seen = Seen::of(labels.role)?;
        let key = || (labels.application.to_string(), is_base, seen, labels.outcome);
        (is_member && (is_base || is_lane)).then(key)
    })
    .await?;
    let seconds = answer.span.until - answer.span.from;
    let compared = |application: &String| {
        // Both by the same: what callers see is longer than what the application does.
        let of = |is_base, seen| counted(&answer, application, is_base, seen);
        let both_by = |seen| (of(false, seen), of(true, seen));
        let by_itself = both_by(Seen::ByItself);
        let has_any = !by_itself.0.0.cell.is_empty() || !by_itself.1.0.cell.is_empty();
        let ((lane, fallback), (base, _)) =
            if has_any { by_itself } else { both_by(Seen::ByCallers) };
        StatisticsCompared {
            application: application.clone(),
            lane: lane.figures(seconds),
            base: base.figures(seconds),
            fallback,
        }
    };
    let applications: Vec<StatisticsCompared> = members.iter().map(compared).collect();
    let requests =
        applications.iter().map(|it| it.lane.requests + it.base.requests + it.fallback).sum();
    Ok(Json(StatisticsCompare { basis: basis(&control, &answer, requests), applications }))
}

/// What was counted of an application in a lane, or in base; and what others served for it.
fn counted(
    answer: &Answer<(String, bool, Seen, Outcome)>,
    application: &str,
    is_base: bool,
    seen: Seen,
) -> (Counted, u64) {
    let (mut counted, mut fallback) = (Counted::default(), 0);
    for ((of, of_base, by, outcome), cells) in &answer.lines {
        if of != application || *of_base != is_base || *by != seen {
            continue;
        }
        for cell in cells.iter().flatten() {
            match outcome {
                Outcome::Fallback => fallback += cell.requests(),
                outcome => counted.add(*outcome, cell),
            }
        }
    }
    (counted, fallback)
}

/// Who calls whom.
#[utoipa::path(
    get, path = "/api/v1alpha1/statistics/calls", tag = "statistics",
    params(
        ("group" = Option<String>, Query, description = "To the applications of this lane group; default: to all"),
        ("window" = Option<String>, Query, description = "How long until now: 1s to 30d; default 15m"),
    ),
    responses((status = 200, description = "By caller and application", body = StatisticsCalls))
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
    let answer = ask(&control, asked.one(900), move |labels| {
        let is_call = matches!(labels.role, Role::Gateway | Role::Outbound);
        let is_member =
            members.as_ref().is_none_or(|all| all.iter().any(|it| **it == *labels.application));
        let is_gateway = labels.role == Role::Gateway;
        let key = || (labels.teller.to_string(), is_gateway, labels.application.to_string());
        (is_call && is_member && !labels.application.is_empty()).then(key)
    })
    .await?;
    let calls: Vec<StatisticsCall> = answer
        .lines
        .iter()
        .map(|((caller, is_gateway, application), cells)| StatisticsCall {
            caller: caller.clone(),
            is_gateway: *is_gateway,
            application: application.clone(),
            requests: cells.iter().flatten().map(|cell| cell.requests()).sum(),
        })
        .collect();
    let requests = calls.iter().map(|call| call.requests).sum();
    Ok(Json(StatisticsCalls { basis: basis(&control, &answer, requests), calls }))
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
    }
}
