//! Waits until what was written is everywhere, and says who keeps that waiting.

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use api::{
    client::Client,
    resource::{Key, Kind, Lane, Object},
    rest::{Action, Applied, DataPlaneStatus, StatusResponse},
};
use clap::{ArgAction, Args};

use super::{EXIT_FAILED, output, status};

/// How soon is looked again: most changes are confirmed within a few milliseconds.
const LOOK_AFTER_FIRST: Duration = Duration::from_millis(10);

/// How often is looked at most, while somebody takes long: a person sees no difference.
const LOOK_AFTER_MOST: Duration = Duration::from_millis(250);

/// Whether is waited.
#[derive(Debug, Clone, Args)]
pub(crate) struct Confirmation {
    /// Whether to wait, for --timeout at most, until every connected data plane has confirmed what was written
    #[arg(long, value_name = "true|false", default_value_t = true, default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    wait: bool,
}

impl Confirmation {
    /// Waits, if that is wanted, until what a transaction did is everywhere; says who has not confirmed it in time.
    pub(crate) async fn of(
        &self,
        client: &Client,
        done: &[Applied],
        patience: Duration,
    ) -> anyhow::Result<ExitCode> {
        let written: Vec<&Applied> =
            done.iter().filter(|done| done.action != Action::Unchanged).collect();
        if !self.wait || written.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        let mut late = Late::default();
        let everywhere = until_everywhere(client, &written, &mut late);
        if let Ok(confirmed) = tokio::time::timeout(patience, everywhere).await {
            return confirmed.map(|()| ExitCode::SUCCESS);
        }
        output::error(&format_args!("not live everywhere after {} s", patience.as_secs()));
        late.who.iter().for_each(|who| output::error(&format_args!("not confirmed by {who}")));
        for lane in &late.held_back {
            output::error(&format_args!("{lane}: no request is let in yet"));
        }
        Ok(ExitCode::from(EXIT_FAILED))
    }
}

/// What keeps a change from being everywhere.
#[derive(Debug, Default)]
struct Late {
    who: Vec<String>,
    held_back: Vec<Key>,
}

async fn until_everywhere(
    client: &Client,
    written: &[&Applied],
    late: &mut Late,
) -> anyhow::Result<()> {
    let mut pause = LOOK_AFTER_FIRST;
    let mut generation = None;
    loop {
        let status = client.status().await?;
        let due = *generation.get_or_insert(status.generation.number);
        late.who = behind(&status, due);
        if late.who.is_empty() {
            late.held_back = held_back(client, written).await?;
            if late.held_back.is_empty() {
                warn_of_absent(&status);
                return Ok(());
            }
            // To let them in is a change of its own, which comes after this look.
            generation = None;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_AFTER_MOST);
    }
}

/// Connected data planes that have not confirmed everything, in words.
pub(crate) async fn behind_now(client: &Client) -> anyhow::Result<Vec<String>> {
    Ok(behind(&client.status().await?, u64::MAX))
}

/// Connected data planes that may not have what was distributed up to a generation, in words.
fn behind(status: &StatusResponse, generation: u64) -> Vec<String> {
    let lacks =
        |it: &&DataPlaneStatus| it.connected && it.behind_ms > 0 && it.acknowledged < generation;
    let shown = |it| format!("{}, behind by {} ms", status::who(it), it.behind_ms);
    status.data_planes.iter().filter(lacks).map(shown).collect()
}

/// Who is disconnected is most likely gone, and not waited for.
fn warn_of_absent(status: &StatusResponse) {
    let all = status.data_planes.len();
    match status.data_planes.iter().filter(|it| !it.connected).count() {
        0 => {}
        absent => output::warning(absent_of(absent, all)),
    }
}

/// Says how many data planes do not know a change because nobody hears them.
pub(crate) fn absent_of(absent: usize, all: usize) -> String {
    format!(
        "{absent} of {all} data planes are disconnected: gone, or serving what they had; see `laneway status`"
    )
}

/// Lanes that what was written concerns, and that nobody enters until the data planes behind the entrances know them.
async fn held_back(client: &Client, written: &[&Applied]) -> anyhow::Result<Vec<Key>> {
    let of = |kind| {
        let objects = written.iter().map(|done| &done.object);
        objects.filter(move |key| key.kind == kind).collect::<BTreeSet<&Key>>()
    };
    let (lanes, groups) = (of(Kind::Lane), of(Kind::LaneGroup));
    if lanes.is_empty() && groups.is_empty() {
        return Ok(Vec::new());
    }
    let concerns = |lane: &Lane| {
        let object = Object::from(lane.clone()).key();
        lanes.contains(&object) || groups.contains(&lane.group_key())
    };
    let is_held_back = |lane: &Lane| {
        let conditions = lane.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|condition| condition.reason == "Admitting")
    };
    let all = client.list(Kind::Lane, None).await?.items.into_iter();
    let held = all.filter(
        |object| matches!(object, Object::Lane(lane) if is_held_back(lane) && concerns(lane)),
    );
    Ok(held.map(|object| object.key()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_connected_and_has_not_confirmed_it_is_waited_for() {
        let data_plane = |connected, behind_ms, acknowledged| {
            let name = format!("{connected} {behind_ms} {acknowledged}");
            DataPlaneStatus { name, connected, behind_ms, acknowledged, ..Default::default() }
        };
        for (connected, behind_ms, acknowledged, is_waited_for) in [
            (true, 0, 7, false),
            (true, 0, 3, false),
            (true, 20, 6, true),
            // What came after it is none of our business.
            (true, 20, 7, false),
            (false, 20, 6, false),
        ] {
            let data_planes = vec![data_plane(connected, behind_ms, acknowledged)];
            let status = StatusResponse { data_planes, ..Default::default() };
            let waited_for = behind(&status, 7);
            assert_eq!(!waited_for.is_empty(), is_waited_for, "{status:?}: {waited_for:?}");
        }
    }
}
