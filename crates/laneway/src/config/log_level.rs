//! What a log level may look like.

use tracing_subscriber::filter::LevelFilter;

/// What is right, for messages.
pub(crate) const REMEDY: &str =
    "use error, warn, info, debug or trace, or a list such as info,proxy=debug";

/// Whether `text` is a level or a list of `part=level`. Stricter than the filter, which takes `verbose` for the
/// name of a part and logs nothing else.
pub(crate) fn is_level(text: &str) -> bool {
    text.split(',').all(|item| {
        let level = match item.trim().split_once('=') {
            Some((part, level)) if !part.is_empty() => level,
            Some(_) => return false,
            None => item.trim(),
        };
        // A number would do as a level, too, but who writes one means something else.
        level.starts_with(|c: char| c.is_ascii_alphabetic()) && level.parse::<LevelFilter>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_word_or_a_list() {
        for good in ["info", "WARN", "off", "info,proxy=debug", "proxy=trace, info"] {
            assert!(is_level(good), "{good}");
        }
        for bad in ["", "verbose", "proxy", "3", "info,", "proxy=", "=info", "proxy=loud"] {
            assert!(!is_level(bad), "{bad}");
        }
    }
}
