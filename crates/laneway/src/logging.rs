//! Structured logs on standard error, their level changeable while the process runs.

use std::sync::OnceLock;

use tracing_subscriber::{
    Registry,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};

use crate::config::checked::LogFormat;

/// The filter of this process, set once by [`start`].
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// What a level may look like, for messages.
const LEVEL_REMEDY: &str =
    "use error, warn, info, debug or trace, or a list such as info,proxy=debug";

/// Starts logging. `level` has been checked by [`parse_level`].
pub(crate) fn start(level: &str, format: LogFormat) {
    let (filter, handle) = reload::Layer::new(parse_level(level).unwrap_or_default());
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => registry.with(layer.with_ansi(stderr_is_terminal())).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    if started.is_ok() {
        let _ = FILTER.set(handle);
    }
}

/// Changes the level of the running process; the error is a remedy.
pub(crate) fn change_level(level: &str) -> Result<(), String> {
    let filter = parse_level(level)?;
    let handle = FILTER.get().ok_or("logging has not been started")?;
    handle.reload(filter).map_err(|error| error.to_string())?;
    tracing::info!(level, "log level changed");
    Ok(())
}

/// Reads `info` or `info,proxy=debug`; the error is a remedy.
pub(crate) fn parse_level(text: &str) -> Result<Targets, String> {
    let mut targets = Targets::new();
    for item in text.split(',').map(str::trim) {
        let (target, level) = match item.split_once('=') {
            Some((target, level)) if !target.trim().is_empty() => (Some(target.trim()), level),
            Some(_) => return Err(LEVEL_REMEDY.to_owned()),
            None => (None, item),
        };
        // A number or an empty word would parse as a level, too; neither says what it means.
        let named = level.trim().starts_with(|c: char| c.is_ascii_alphabetic());
        let level: LevelFilter =
            level.trim().parse().ok().filter(|_| named).ok_or_else(|| LEVEL_REMEDY.to_owned())?;
        targets = match target {
            Some(target) => targets.with_target(target, level),
            None => targets.with_default(level),
        };
    }
    Ok(targets)
}

fn stderr_is_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_word_or_a_list() {
        for good in ["info", "WARN", "off", "info,proxy=debug", "proxy=trace, info"] {
            assert!(parse_level(good).is_ok(), "{good}");
        }
        for bad in ["", "verbose", "proxy", "3", "info,", "proxy=", "=info", "proxy=loud"] {
            assert!(parse_level(bad).is_err(), "{bad}");
        }
    }
}
