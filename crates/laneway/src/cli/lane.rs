//! `laneway lane`: switches lanes on and off, pauses them, changes their ratio, shows how they stand.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::bail;
use api::{
    client::Client,
    convert::lanes::percent_hundredths,
    resource::{self, DISCONNECTED, Kind, Live, Object},
    write,
};
use clap::Subcommand;
use serde_json::{Value, json};

mod promote;
mod verdict;

use super::{
    EXIT_FAILED, confirm, output,
    output::Meant,
    server::{Actions, Format, LaneName, Output, find_lane},
};

/// What to do with the lane.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Let requests in
    Enable {
        /// The lane
        #[arg(value_name = "GROUP/TAG")]
        lane: LaneName,
    },
    /// Let no requests in; those that carry it are base at their next hop
    Disable {
        /// The lane
        #[arg(value_name = "GROUP/TAG")]
        lane: LaneName,
    },
    /// Put no more requests into the lane at the entrances; those that are in it stay. A lane by ratio keeps its percent,
    /// which goes to base meanwhile
    Pause {
        /// The lane
        #[arg(value_name = "GROUP/TAG")]
        lane: LaneName,
    },
    /// Put requests into a paused lane again
    Resume {
        /// The lane
        #[arg(value_name = "GROUP/TAG")]
        lane: LaneName,
    },
    /// What the lane matches, and how far data planes know it
    Status {
        /// The lane
        #[arg(value_name = "GROUP/TAG")]
        lane: LaneName,
        #[command(flatten)]
        output: Output,
    },
    /// Whether the lane is worse than base, and because of which application. Exit code 0: no worse; 3: worse; 4: too little
    /// traffic to say
    Verdict(verdict::Verdict),
    /// Make a lane's version that of base, step by step: begins, or shows how it stands and what must hold before the next
    /// step. Changes no workload: of the lane it changes entry.paused, and at the end deletes it
    Promote(promote::Promote),
    /// Change the share of requests of a lane by ratio
    Ratio {
        /// The lane
        #[arg(value_name = "GROUP/TAG")]
        lane: LaneName,
        /// 0 to 100, two decimals
        #[arg(value_parser = percent, allow_negative_numbers = true)]
        percent: f64,
    },
}

fn percent(text: &str) -> Result<f64, &'static str> {
    let percent = text.trim_end_matches('%').parse().map_err(|_| "use a number from 0 to 100")?;
    percent_hundredths(percent).map(|_| percent)
}

/// Runs the verb.
pub(crate) async fn run(verb: Actions<Action>) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    let patience = verb.server.patience.limit();
    let namespace = verb.namespace.name();
    match verb.action {
        Action::Enable { lane } => {
            let patch = json!({"spec": {"enabled": true}});
            change(&client, &lane, namespace, &patch, "enabled", patience).await
        }
        Action::Disable { lane } => {
            let patch = json!({"spec": {"enabled": false}});
            change(&client, &lane, namespace, &patch, "disabled", patience).await
        }
        Action::Pause { lane } => {
            let patch = json!({"spec": {"entry": {"paused": true}}});
            change(&client, &lane, namespace, &patch, "paused", patience).await
        }
        Action::Resume { lane } => {
            let patch = json!({"spec": {"entry": {"paused": false}}});
            change(&client, &lane, namespace, &patch, "not paused", patience).await
        }
        Action::Ratio { lane, percent } => {
            let now = find_lane(&client, &lane, namespace).await?;
            if now.spec.entry.ratio.is_none() {
                bail!("lane {lane} is entered by content: {}; it has no ratio", now.spec.entry);
            }
            let patch = json!({"spec": {"entry": {"ratio": {"percent": percent}}}});
            let what = format!("at {percent}%");
            change(&client, &lane, namespace, &patch, &what, patience).await
        }
        Action::Promote(promote) => promote::run(&client, &promote, namespace).await,
        Action::Verdict(verdict) => verdict::run(&client, &verdict, namespace).await,
        Action::Status { lane, output } => {
            let lane = find_lane(&client, &lane, namespace).await?;
            let unreachable = unreachable(&client, &lane).await?;
            show(lane, output.output, &unreachable);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Changes a lane, and waits until the change is live.
async fn change(
    client: &Client,
    name: &LaneName,
    namespace: &str,
    patch: &Value,
    what: &str,
    patience: Duration,
) -> anyhow::Result<ExitCode> {
    let before = find_lane(client, name, namespace).await?;
    let started = Instant::now();
    let Object::Lane(after) = client.patch(&before.key(), patch).await? else {
        bail!("the control plane answered with another kind of object");
    };
    if after.spec == before.spec {
        output::line(format_args!("lane {name} is {what} already"));
        return Ok(ExitCode::SUCCESS);
    }
    match tokio::time::timeout(patience, live(client, &before, &after)).await {
        Ok(reached) => {
            let reached = reached?;
            let milliseconds = started.elapsed().as_millis();
            let planes = if reached.acknowledged == 1 { "data plane" } else { "data planes" };
            output::line(format_args!(
                "lane {name} is {what}; {} {planes} confirmed it within {milliseconds} ms",
                reached.acknowledged
            ));
            if reached.disconnected > 0 {
                let (absent, all) = (reached.disconnected as usize, reached.data_planes as usize);
                output::warning(confirm::absent_of(absent, all));
            }
        }
        Err(_) => {
            let why = match progress(&before, &now(client, &before).await?) {
                Progress::Live(_) => "it took longer".to_owned(),
                Progress::Waiting(why) => why,
            };
            output::line(format_args!("lane {name} is {what}"));
            output::error(&format_args!(
                "not live everywhere after {} s: {why}",
                patience.as_secs()
            ));
            for who in confirm::behind_now(client).await? {
                output::error(&format_args!("not confirmed by {who}"));
            }
            return Ok(ExitCode::from(EXIT_FAILED));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits until a change is live; says on which data planes.
async fn live(
    client: &Client,
    before: &resource::Lane,
    after: &resource::Lane,
) -> anyhow::Result<Live> {
    // The watch first, so that nothing is missed between it and the first look.
    let version = after.metadata.resource_version.as_deref().unwrap_or_default();
    let namespace = before.metadata.namespace.as_str();
    let mut watch = client.watch_after(Kind::Lane, Some(namespace), version).await?;
    let mut lane = now(client, before).await?;
    loop {
        if let Progress::Live(reached) = progress(before, &lane) {
            return Ok(reached);
        }
        let Some(event) = watch.next().await? else { bail!("the control plane ended the watch") };
        if let Some(Object::Lane(told)) = event.object
            && told.key() == before.key()
        {
            lane = told;
        }
    }
}

/// The lane as it is now.
async fn now(client: &Client, lane: &resource::Lane) -> anyhow::Result<resource::Lane> {
    match client.get(&lane.key()).await? {
        Object::Lane(lane) => Ok(lane),
        _ => bail!("the control plane answered with another kind of object"),
    }
}

/// How far a change has got.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// All connected data planes that need it have it. One whose stream is closed is most likely gone, and is not waited
    /// for.
    Live(Live),
    /// Not yet everywhere, and why.
    Waiting(String),
}

/// `before` and `now` are the lane as the control plane shows it: the distribution follows the write.
fn progress(before: &resource::Lane, now: &resource::Lane) -> Progress {
    let live = |lane: &resource::Lane| lane.status.as_ref().and_then(|status| status.live.clone());
    let Some(reached) = live(now) else {
        return Progress::Waiting(
            reason(now).unwrap_or_else(|| "the lane is not in force".to_owned()),
        );
    };
    if live(before).is_some_and(|before| before.generation == reached.generation) {
        return Progress::Waiting("the control plane has not distributed it yet".to_owned());
    }
    let (acknowledged, data_planes) = (reached.acknowledged, reached.data_planes);
    if acknowledged + reached.disconnected < data_planes {
        return Progress::Waiting(format!(
            "{acknowledged} of {data_planes} data planes have confirmed it"
        ));
    }
    let is_ready = ready(now)
        .is_none_or(|condition| condition.status == "True" || condition.reason == DISCONNECTED);
    // A disabled lane is never ready, and that is what was asked for.
    if now.spec.enabled && !is_ready {
        return Progress::Waiting(reason(now).unwrap_or_default());
    }
    Progress::Live(reached)
}

fn ready(lane: &resource::Lane) -> Option<&resource::StatusCondition> {
    let status = lane.status.as_ref()?;
    status.conditions.iter().find(|condition| condition.kind == "Ready")
}

fn reason(lane: &resource::Lane) -> Option<String> {
    ready(lane).map(|condition| condition.message.clone())
}

/// Instances of a lane that a data plane cannot reach, in words. They count: others may reach them.
async fn unreachable(client: &Client, lane: &resource::Lane) -> anyhow::Result<Vec<String>> {
    let matched = lane.status.iter().flat_map(|status| &status.matched);
    let applications: Vec<&String> = matched.map(|matched| &matched.application).collect();
    let (tag, instances) = (lane.tag_text(), client.instances().await?);
    let of_lane = instances
        .into_iter()
        .filter(|instance| instance.tag == tag && applications.contains(&&instance.application));
    let wrong = of_lane.filter(|instance| !instance.why.is_empty());
    Ok(wrong.map(|it| format!("{} of {}: {}", it.address, it.application, it.why)).collect())
}

fn show(lane: resource::Lane, format: Format, unreachable: &[String]) {
    match format {
        Format::Json => return output::line(write::json_of(&Object::from(lane))),
        Format::Yaml => return output::text(&write::yaml_of(&Object::from(lane))),
        Format::Table => {}
    }
    let name = lane.lane_name();
    let state = match (lane.spec.enabled, lane.spec.entry.paused) {
        (true, false) => output::word("enabled", Meant::Well),
        (true, true) => output::word("paused at the entrance", Meant::Badly),
        (false, _) => output::word("disabled", Meant::Badly),
    };
    output::line(format_args!("lane {name}: {state}, priority {}", lane.spec.priority));
    output::line(format_args!("entry     {}", lane.spec.entry));
    output::line(format_args!("fallback  {}", lane.spec.fallback));
    let status = lane.status.unwrap_or_default();
    for condition in &status.conditions {
        let is_well = !condition.is_bad() && condition.status != "Unknown";
        let meant = if is_well { Meant::Well } else { Meant::Badly };
        let word = output::word(&format!("{} {}", condition.kind, condition.status), meant);
        output::line(format_args!("{word}: {} {}", condition.reason, condition.message));
    }
    if let Some(live) = &status.live {
        output::line(format_args!(
            "live      {} of {} data planes, generation {}",
            live.acknowledged, live.data_planes, live.generation
        ));
    }
    let rows: Vec<Vec<String>> = (status.matched.iter())
        .map(|matched| {
            vec![matched.application.clone(), matched.base.to_string(), matched.tagged.to_string()]
        })
        .collect();
    output::text(&output::table(&["APPLICATION", "BASE", "IN LANE"], &rows));
    for instance in unreachable {
        output::line(format_args!("{}: {instance}", output::word("instance", Meant::Badly)));
    }
}

#[cfg(test)]
mod tests {
    use api::resource::{Entry, LaneSpec, Status, StatusCondition};

    use super::*;

    fn lane(
        enabled: bool,
        generation: u64,
        acknowledged: u32,
        ready: (&str, &str),
    ) -> resource::Lane {
        let mut lane = resource::Lane::new(
            "trade-gray",
            LaneSpec {
                group: "trade".to_owned(),
                tag: Some("gray".to_owned()),
                enabled,
                priority: 0,
                entry: Entry::default(),
                fallback: resource::Fallback::default(),
                applications: Vec::new(),
            },
        );
        lane.status = Some(Status {
            conditions: vec![StatusCondition {
                kind: "Ready".to_owned(),
                status: ready.0.to_owned(),
                reason: String::new(),
                message: ready.1.to_owned(),
                observed_generation: 0,
                last_transition_time: None,
            }],
            live: Some(Live { data_planes: 4, acknowledged, generation, ..Live::default() }),
            ..Status::default()
        });
        lane
    }

    #[test]
    fn a_change_is_live_when_it_was_distributed_confirmed_and_admits() {
        let before = lane(false, 7, 4, ("False", "disabled"));
        let waits = |now: &resource::Lane, why: &str| {
            assert_eq!(progress(&before, now), Progress::Waiting(why.to_owned()));
        };
        waits(
            &lane(true, 7, 4, ("False", "disabled")),
            "the control plane has not distributed it yet",
        );
        waits(&lane(true, 8, 3, ("False", "admitting")), "3 of 4 data planes have confirmed it");
        waits(&lane(true, 8, 4, ("False", "admitting")), "admitting");
        let is_live = |before: &resource::Lane, now: &resource::Lane| {
            let reached = now.status.as_ref().unwrap().live.clone().unwrap();
            assert_eq!(progress(before, now), Progress::Live(reached));
        };
        is_live(&before, &lane(true, 9, 4, ("True", "")));
        is_live(&lane(true, 9, 4, ("True", "")), &lane(false, 10, 4, ("False", "disabled")));
    }

    #[test]
    fn a_data_plane_that_is_disconnected_is_not_waited_for() {
        let before = lane(false, 7, 4, ("False", "disabled"));
        let with_one_gone = |acknowledged| {
            let mut now = lane(true, 8, acknowledged, ("False", "one is disconnected"));
            let status = now.status.as_mut().unwrap();
            status.conditions[0].reason = DISCONNECTED.to_owned();
            status.live.as_mut().unwrap().disconnected = 1;
            now
        };
        let all_others = with_one_gone(3);
        let reached = all_others.status.as_ref().unwrap().live.clone().unwrap();
        assert_eq!(progress(&before, &all_others), Progress::Live(reached));
        let why = "2 of 4 data planes have confirmed it".to_owned();
        assert_eq!(progress(&before, &with_one_gone(2)), Progress::Waiting(why));
    }

    #[test]
    fn a_percentage_may_carry_its_sign() {
        assert_eq!(percent("30"), Ok(30.0));
        assert_eq!(percent("12.34%"), Ok(12.34));
        assert!(percent("101").is_err() && percent("1.234").is_err() && percent("a").is_err());
    }
}
