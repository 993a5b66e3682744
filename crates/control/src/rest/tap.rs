//! Taps: single requests of a lane as they pass, one a line, for as long as the client listens.
//!
//! That somebody watches, and who, is an event of the group, and in the audit before anything is shown: of what is shown nothing
//! is kept.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant, SystemTime},
};

use api::{
    resource::{Lane, LaneGroup},
    rest::{Action, FieldChange, Role, TapEvent, WATCH_LINES},
};
use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::watch;

use super::{
    Refused, access,
    objects::{Written, unknown_parameter},
    watch::QUIET_MAX,
};
use crate::{
    Control, audit,
    objects::Objects,
    people::Caller,
    store::Change,
    tap::{
        Crowded, LOOKED_EVERY, RATE_DEFAULT, RATE_MAX, WATCHERS_MAX, WATCHERS_OF_ONE_MAX, Wanted,
        Watching,
        seen::{TOLD_AGAIN, Tapped},
    },
};

/// How often is looked whether what is watched is still what was asked for.
const REVIEWED_EVERY: Duration = Duration::from_secs(1);

/// What base is called where a lane is asked for.
const BASE: &str = "base";

/// Requests of a lane as they pass, with their hops: one TapEvent a line. It takes operator in the namespace of the group.
#[utoipa::path(
    get, path = "/api/v1alpha1/tap", tag = "tap",
    params(
        ("group" = String, Query, description = "The lane group"),
        ("lane" = String, Query, description = "The tag of the lane; `base` is base of the group's applications"),
        ("application" = Option<String>, Query, description = "Only requests that reach this application; they are told whole"),
        ("rate" = Option<u32>, Query, description = "Requests a second, 1 to 100; default 20. Where more pass, a share of them is told, the same ones by all data planes"),
    ),
    responses(
        (status = 200, description = "Lines, until the client leaves; an empty one now and then", body = TapEvent, content_type = "application/x-ndjson"),
        (status = 404, description = "No such group or lane", body = api::rest::Problem),
        (status = 429, description = "As many watch as may, or this user in as many taps as one may have", body = api::rest::Problem),
        (status = 503, description = "That somebody taps cannot be stored: nobody taps unseen", body = api::rest::Problem),
    )
)]
pub(super) async fn tap(
    State(control): State<Arc<Control>>,
    Extension(caller): Extension<Caller>,
    written: Written,
) -> Result<Response, Refused> {
    let wanted = wanted(&control, &caller, written)?;
    let (data_planes, _) = control.hub().tapping(&wanted.group);
    let begun = control.taps().watch(wanted.clone(), data_planes, Instant::now());
    let (watching, needs_time) = begun.map_err(|crowded| {
        let detail = match crowded {
            Crowded::All => format!("{WATCHERS_MAX} watch already: end one of these taps first"),
            Crowded::OfOne => {
                format!("you watch {WATCHERS_OF_ONE_MAX} times already: end one of your taps first")
            }
        };
        Refused::new(429, "too many taps", detail)
    })?;
    let seen = Seen::begin(&control, &caller, &wanted).await?;
    if needs_time {
        tokio::spawn(let_time_pass(Arc::downgrade(&control)));
    }
    let closing = control.closing();
    // Whoever may see less from now on asks again, and is told why not.
    let other = Box::pin(async move { control.until_other(&caller).await });
    let body = Body::from_stream(lines(watching, seen, closing).take_until(other));
    Ok(([(header::CONTENT_TYPE, WATCH_LINES)], body).into_response())
}

/// What is asked for.
fn wanted(control: &Control, caller: &Caller, Query(written): Written) -> Result<Wanted, Refused> {
    let (mut group, mut lane, mut application, mut rate) = (None, None, None, RATE_DEFAULT);
    for (name, value) in written {
        match name.as_str() {
            "group" => group = Some(value),
            "lane" => lane = Some(value),
            "application" => application = Some(value),
            "rate" => rate = read_rate(&value)?,
            _ => return Err(unknown_parameter(&name, "group, lane, application, rate")),
        }
    }
    let missing = |name: &str, what: &str| {
        Refused::new(400, "bad query", format!("{name} is missing: name {what}"))
    };
    let group = group.ok_or_else(|| missing("group", "a lane group's"))?;
    let lane = lane.ok_or_else(|| missing("lane", "the tag of a lane, or base"))?;
    let no_such = |what: &str, name: &str, remedy: &str| {
        Refused::new(404, "not found", format!("{what}: `{name}`: {remedy}"))
    };
    // Of several groups of a name the oldest is in force, and the one that data planes tap: rights, lanes and the event are its.
    let objects = control.ledger().view().objects();
    let found = objects.set().lane_groups().find(|it| it.metadata.name == group);
    let found = found.ok_or_else(|| no_such("group", &group, "there is no such lane group"))?;
    access::must(caller, Role::Operator, &found.metadata.namespace)?;
    let tag = if lane == BASE { String::new() } else { lane };
    let named = lane_of(&objects, found, &tag);
    if !tag.is_empty() && named.is_none() {
        return Err(no_such("lane", &tag, "there is no such lane in the group"));
    }
    let lane = named.and_then(|it| it.metadata.uid.clone());
    let members = found.spec.applications.clone();
    if let Some(application) = application.as_ref().filter(|it| !members.contains(it)) {
        let remedy = format!("use one of group {group}: {}", members.join(", "));
        return Err(no_such("application", application, &remedy));
    }
    let key = found.key();
    let user = caller.user().map(str::to_owned);
    Ok(Wanted { group, key, tag, lane, members, application, rate, user })
}

/// The lane of a tag.
fn lane_of<'o>(objects: &'o Objects, group: &'o LaneGroup, tag: &str) -> Option<&'o Lane> {
    objects.set().lanes_of(group).find(|lane| lane.tag_text() == tag)
}

/// The applications of the group that somebody watches, where that and the lane are those he began with; else why it is over:
/// what their names mean by now may be what he has no right to.
fn still(control: &Control, wanted: &Wanted) -> Result<Vec<String>, String> {
    let Wanted { group, key, tag, lane, .. } = wanted;
    let objects = control.ledger().view().objects();
    let found = objects.set().lane_groups().find(|it| it.metadata.name == *group);
    let Some(found) = found.filter(|it| it.key() == *key) else {
        return Err(format!("lane group {group} is gone, or another one by now"));
    };
    let is_there =
        tag.is_empty() || lane_of(&objects, found, tag).is_some_and(|it| it.metadata.uid == *lane);
    if !is_there {
        return Err(format!("lane {group}/{tag} is gone, or another one by now"));
    }
    Ok(found.spec.applications.clone())
}

fn read_rate(text: &str) -> Result<u32, Refused> {
    text.parse().ok().filter(|rate| (1..=RATE_MAX).contains(rate)).ok_or_else(|| {
        let detail = format!("rate: `{text}`: use requests a second, 1 to {RATE_MAX}");
        Refused::new(400, "bad query", detail)
    })
}

/// An entry of the audit and an event when somebody begins to watch, and an event when he has ended.
struct Seen {
    control: Weak<Control>,
    what: Tapped,
}

impl Seen {
    async fn begin(
        control: &Arc<Control>,
        caller: &Caller,
        wanted: &Wanted,
    ) -> Result<Self, Refused> {
        let who = &caller.by().author;
        let lane =
            if wanted.tag.is_empty() { BASE.to_owned() } else { format!("lane {}", wanted.tag) };
        let application = wanted.application.as_ref();
        let application = application.map(|it| format!(", requests that reach {it}"));
        let what =
            (wanted.key.clone(), format!("{who}: {lane}{}", application.unwrap_or_default()));
        let (all, now) = (control.taps().seen(), Instant::now());
        if all.is_to_enter(&what, now) {
            control.ledger().journal(entry(caller, wanted)).await?;
            all.entered(&what, now);
        }
        let is_only = all.begin(&what);
        let seen = Self { control: Arc::downgrade(control), what };
        if is_only {
            // An end that was told is not the last word.
            let (group, what) = &seen.what;
            let is_told =
                control.hub().events_mut().of_object_otherwise(group, "Tapped", what, TOLD_AGAIN);
            if is_told {
                control.nudge();
            }
        }
        Ok(seen)
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        let Some(control) = self.control.upgrade() else { return };
        if !control.taps().seen().end(&self.what) {
            return;
        }
        let (group, what) = &self.what;
        if control.hub().events_mut().of_object_anew(group, "TapEnded", what, TOLD_AGAIN) {
            control.nudge();
        }
    }
}

/// What the audit is told of a tap that begins.
fn entry(caller: &Caller, wanted: &Wanted) -> Change {
    let tag = if wanted.tag.is_empty() { BASE } else { &wanted.tag };
    let about = format!("tap of {}/{tag}", wanted.group);
    let application = wanted.application.as_ref().map(|it| FieldChange {
        field: "application".to_owned(),
        before: None,
        after: Some(it.as_str().into()),
        taken_back: false,
    });
    let told = application.into_iter().collect();
    let (group, now) = (Some(wanted.key.clone()), SystemTime::now());
    audit::of_action(group, about, Action::Created, told, caller.by(), now)
}

fn lines(
    watching: Watching,
    seen: Seen,
    closing: watch::Receiver<bool>,
) -> impl Stream<Item = Result<Bytes, serde_json::Error>> {
    stream::try_unfold((watching, seen, closing), |(mut watching, seen, mut closing)| async move {
        let line = tokio::select! {
            event = watching.lines.recv() => match event {
                Some(event) => line(&event)?,
                None => return Ok(None),
            },
            _ = closing.wait_for(|closing| *closing) => return Ok(None),
            () = tokio::time::sleep(QUIET_MAX) => Bytes::from_static(b"\n"),
        };
        Ok(Some((line, (watching, seen, closing))))
    })
}

fn line(event: &TapEvent) -> Result<Bytes, serde_json::Error> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    Ok(line.into())
}

/// Puts requests together, and looks whether they are still what was asked for, for as long as somebody watches.
async fn let_time_pass(control: Weak<Control>) {
    let mut looks = tokio::time::interval(LOOKED_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut reviewed = Instant::now();
    loop {
        looks.tick().await;
        let Some(control) = control.upgrade() else { return };
        if reviewed.elapsed() >= REVIEWED_EVERY {
            reviewed = Instant::now();
            control.taps().review(|wanted| still(&control, wanted));
        }
        let can_tell = |group: &str| control.hub().tapping(group);
        if !control.taps().advance(Instant::now(), can_tell) {
            return;
        }
    }
}
