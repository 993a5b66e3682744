//! `laneway events`: what happened lately.

use std::{process::ExitCode, time::Duration};

use api::rest::Event;
use clap::Args;

use super::{
    output,
    server::{Server, Within},
    shape::Shown,
};

/// How often is asked for more: people read no faster.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The arguments of `laneway events`.
#[derive(Debug, Args)]
pub(crate) struct Events {
    #[command(flatten)]
    within: Within,
    /// Then follow
    #[arg(short = 'w', long)]
    watch: bool,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the verb.
pub(crate) async fn run(verb: Events) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    let mut after = 0;
    loop {
        let mut events = client.events(after).await?;
        let is_first = after == 0;
        after = events.last().map_or(after, |event| event.number);
        // What happened to no object happened to all.
        events.retain(|event| {
            let elsewhere = |one| event.object.as_ref().is_some_and(|it| it.namespace != one);
            !verb.within.one().is_some_and(elsewhere)
        });
        if is_first || !events.is_empty() {
            let heading: &[&str] =
                if is_first { &["TIME", "KIND", "ABOUT", "REASON", "MESSAGE"] } else { &[] };
            verb.shown.shape.show_data(&events, heading, row);
        }
        if is_first && events.is_empty() && verb.shown.shape.is_table() {
            output::line("no events");
        }
        if !verb.watch {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn row(event: &Event) -> Vec<String> {
    let kind = if event.warning { "warning" } else { "normal" };
    vec![
        event.time.clone(),
        kind.to_owned(),
        event.about.clone(),
        event.reason.clone(),
        event.message.clone(),
    ]
}
