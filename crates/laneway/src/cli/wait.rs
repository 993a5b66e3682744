//! `laneway wait`: until resources stand as wanted, or are gone.

use std::{collections::BTreeMap, process::ExitCode, str::FromStr, time::Duration};

use anyhow::bail;
use api::{
    client::Client,
    resource::{Key, Object},
    rest::WatchKind,
};
use clap::Args;

use super::{
    EXIT_FAILED, confirm, output,
    server::{Namespace, Server},
    target::Targets,
};

/// How often is looked where nothing tells: a person sees no difference.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The arguments of `laneway wait`.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    #[command(flatten)]
    targets: Targets,
    /// What to wait for: condition=KIND, condition=KIND=STATUS, or delete
    #[arg(long = "for", value_name = "WHAT", default_value = "condition=Ready")]
    what: What,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    namespace: Namespace,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Condition { kind: String, status: String },
    Delete,
}

impl FromStr for What {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "delete" {
            return Ok(Self::Delete);
        }
        let condition = text.strip_prefix("condition=").filter(|rest| !rest.is_empty());
        let condition = condition.ok_or("use condition=KIND, condition=KIND=STATUS or delete")?;
        let (kind, status) = condition.split_once('=').unwrap_or((condition, "True"));
        Ok(Self::Condition { kind: kind.to_owned(), status: status.to_owned() })
    }
}

impl What {
    /// Whether an object, or that there is none, is what is waited for.
    fn holds(&self, object: Option<&Object>) -> bool {
        let Self::Condition { kind, status } = self else { return object.is_none() };
        let conditions = object.and_then(Object::status).map(|status| &status.conditions);
        conditions.into_iter().flatten().any(|condition| {
            condition.kind.eq_ignore_ascii_case(kind)
                && condition.status.eq_ignore_ascii_case(status)
                && (condition.observed_generation == 0
                    || object.is_some_and(|object| {
                        object.metadata().generation == condition.observed_generation
                    }))
        })
    }

    /// What of it does not hold, in words.
    fn lacks(&self, object: Option<&Object>) -> String {
        let Some(object) = object else { return "there is none".to_owned() };
        let Self::Condition { kind, status } = self else { return "it is still there".to_owned() };
        let conditions = object.status().map(|status| status.conditions.as_slice());
        let conditions = conditions.unwrap_or_default();
        match conditions.iter().find(|condition| condition.kind.eq_ignore_ascii_case(kind)) {
            Some(found) => format!(
                "{} is {} ({}), not {status}: {}",
                found.kind, found.status, found.reason, found.message
            ),
            None if conditions.is_empty() => format!("it has no condition {kind}, nor any other"),
            None => {
                let kinds: Vec<&str> = conditions.iter().map(|it| it.kind.as_str()).collect();
                format!("it has no condition {kind}; it has {}", kinds.join(", "))
            }
        }
    }

    fn shown(&self) -> &'static str {
        match self {
            Self::Condition { .. } => "condition met",
            Self::Delete => "deleted",
        }
    }
}

/// Runs the verb.
pub(crate) async fn run(verb: Wait) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    let keys = verb.targets.keys(&client, verb.namespace.name()).await?;
    let mut waiting: BTreeMap<Key, Option<Object>> = BTreeMap::new();
    for key in keys {
        let object = match client.get(&key).await {
            Ok(object) => Some(object),
            Err(error) if error.is_not_found() && verb.what == What::Delete => None,
            Err(error) => return Err(error.into()),
        };
        waiting.insert(key, object);
    }
    let patience = verb.server.patience.limit();
    let all = until_all(&client, &verb.what, &mut waiting);
    if let Ok(done) = tokio::time::timeout(patience, all).await {
        return done.map(|()| ExitCode::SUCCESS);
    }
    for (key, object) in &waiting {
        let lacks = verb.what.lacks(object.as_ref());
        output::error(&format_args!("{key} after {} s: {lacks}", patience.as_secs()));
    }
    for who in confirm::behind_now(&client).await? {
        output::error(&format_args!("not confirmed by {who}"));
    }
    Ok(ExitCode::from(EXIT_FAILED))
}

/// Takes out of `waiting` what has come to be as wanted, until nothing is left.
async fn until_all(
    client: &Client,
    what: &What,
    waiting: &mut BTreeMap<Key, Option<Object>>,
) -> anyhow::Result<()> {
    while let Some((key, known)) = waiting.iter_mut().next() {
        let (key, is_stored) = (key.clone(), known.as_ref().is_none_or(is_stored));
        if is_stored {
            until_told(client, what, &key, known).await?;
        } else {
            until_found(client, what, &key, known).await?;
        }
        output::line(format_args!("{key} {}", what.shown()));
        waiting.remove(&key);
    }
    Ok(())
}

/// The gateway that serves while there is no other is no stored object, and no watch tells of it.
fn is_stored(object: &Object) -> bool {
    object.metadata().resource_version.is_some()
}

async fn until_found(
    client: &Client,
    what: &What,
    key: &Key,
    known: &mut Option<Object>,
) -> anyhow::Result<()> {
    while !what.holds(known.as_ref()) {
        tokio::time::sleep(LOOK_EVERY).await;
        *known = match client.get(key).await {
            Err(error) if error.is_not_found() => None,
            other => Some(other?),
        };
    }
    Ok(())
}

async fn until_told(
    client: &Client,
    what: &What,
    key: &Key,
    known: &mut Option<Object>,
) -> anyhow::Result<()> {
    let mut watch = client.watch(key.kind, Some(&key.namespace)).await?;
    *known = None;
    loop {
        let Some(event) = watch.next().await? else {
            bail!("the control plane at {} ended the watch", client.server());
        };
        match event.object {
            Some(object) if object.key() == *key => {
                *known = (event.kind != WatchKind::Deleted).then_some(object);
            }
            Some(_) => continue,
            // Everything there is has been told.
            None => {}
        }
        // Before that only what was told is known.
        let is_known = known.is_some() || event.kind != WatchKind::Added;
        if is_known && what.holds(known.as_ref()) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_written_as_kubectl_has_it() {
        let condition = |kind: &str, status: &str| What::Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
        };
        assert_eq!("condition=Ready".parse(), Ok(condition("Ready", "True")));
        assert_eq!("condition=Conflicted=False".parse(), Ok(condition("Conflicted", "False")));
        assert_eq!("delete".parse(), Ok(What::Delete));
        assert!("ready".parse::<What>().is_err() && "condition=".parse::<What>().is_err());
    }
}
