//! `laneway audit` and `laneway undo`: who changed what, and taking it back.

use std::process::ExitCode;

use api::rest::{Action, AuditEntry, UndoRequest};
use clap::Args;

use super::{
    output,
    server::{Server, Within},
    shape::Shown,
};

/// Entries that one answer tells.
const AT_ONCE: usize = 200;

/// The arguments of `laneway audit`.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    #[command(flatten)]
    within: Within,
    /// How many changes at most, the latest first
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    shown: Shown,
}

/// The arguments of `laneway undo`.
#[derive(Debug, Args)]
pub(crate) struct Undo {
    /// The change, as `laneway audit` shows it
    number: u64,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: Server,
}

/// Shows the latest changes.
pub(crate) async fn run(verb: Audit) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    let mut entries: Vec<AuditEntry> = Vec::new();
    while entries.len() < verb.limit {
        let before = entries.last().map(|entry| entry.number);
        let wanted = (verb.limit - entries.len()).min(AT_ONCE);
        let some = client.audit(before, verb.within.one(), wanted).await?;
        let is_last = some.len() < wanted;
        entries.extend(some);
        if is_last {
            break;
        }
    }
    if entries.is_empty() && verb.shown.shape.is_table() {
        output::line("no changes");
        return Ok(ExitCode::SUCCESS);
    }
    let heading = ["NUMBER", "TIME", "WHO", "WHAT", "CHANGES", "NOTE"];
    verb.shown.shape.show_data(&entries, &heading, row);
    Ok(ExitCode::SUCCESS)
}

/// Undoes a change.
pub(crate) async fn undo(verb: Undo) -> anyhow::Result<ExitCode> {
    let client = verb.server.client()?;
    let changes = client.undo(verb.number, &UndoRequest { dry_run: verb.dry_run }).await?;
    let done = if verb.dry_run { "would be undone" } else { "is undone" };
    output::line(format_args!("change {} {done}", verb.number));
    changes.iter().for_each(|change| output::line(format_args!("  {change}")));
    Ok(ExitCode::SUCCESS)
}

fn row(entry: &AuditEntry) -> Vec<String> {
    let action = match entry.action {
        Action::Created => "created",
        Action::Deleted => "deleted",
        Action::Configured | Action::Unchanged => "changed",
        Action::Refused => "refused",
    };
    let mut what = format!("{action} {}", entry.about);
    if let Some(number) = entry.undoes {
        what.push_str(&format!(", undoing {number}"));
    }
    let changes: Vec<String> = entry.changes.iter().map(ToString::to_string).collect();
    vec![
        entry.number.to_string(),
        entry.time.clone(),
        entry.author.to_string(),
        what,
        changes.join("; "),
        entry.note.clone(),
    ]
}
