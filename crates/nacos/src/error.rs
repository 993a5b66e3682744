//! Why a call did not do what was asked, in words for people. Nothing of a password or a token is ever in them.

use std::time::Duration;

/// Why a call did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens, or not for us.
    #[error("connect to {address}: {reason}")]
    Connect {
        /// Where.
        address: String,
        /// Why not.
        reason: String,
    },
    /// What is asked of TLS cannot be had.
    #[error("tls: {reason}")]
    Tls {
        /// Why.
        reason: String,
    },
    /// It took too long.
    #[error("no answer to {what} within {} s", within.as_secs_f32())]
    Late {
        /// What was asked.
        what: String,
        /// How long it had.
        within: Duration,
    },
    /// The connection is over.
    #[error("the connection ended: {reason}")]
    Ended {
        /// Why.
        reason: String,
    },
    /// The server asks us to go elsewhere, or starts or stops.
    #[error("the server asks its clients to connect anew")]
    Reset,
    /// The server knows us, or does not, and does not let us do it.
    #[error("the server refuses {what} (403: {said}); {remedy}")]
    Forbidden {
        /// What was asked.
        what: String,
        /// Its words.
        said: String,
        /// What would be right.
        remedy: &'static str,
    },
    /// Whoever we said we are may not log in.
    #[error("the server refuses to log in user `{user}` ({status}): check user and password")]
    Login {
        /// Who.
        user: String,
        /// Its status.
        status: u16,
    },
    /// There are no credentials to show.
    #[error("{0}")]
    Secrets(String),
    /// The server does not do it, and says so.
    #[error("the server fails {what}: {said} ({code})")]
    Refused {
        /// What was asked.
        what: String,
        /// Its words.
        said: String,
        /// Its code.
        code: i32,
    },
    /// The answer is not what servers of 2.x say.
    #[error("the answer to {what} is not understood: {reason}")]
    NotUnderstood {
        /// What was asked.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such namespace.
    #[error("there is no namespace `{asked}`; the server has {}", shown(there))]
    NoNamespace {
        /// Which.
        asked: String,
        /// Those that there are, as `name` or `name (id)`.
        there: Vec<String>,
    },
}

impl Error {
    /// Whether it is about one question only, and others may be answered all the same.
    pub fn is_of_one_call(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::NotUnderstood { .. } | Self::Forbidden { .. })
    }
}

/// Names of namespaces that are shown: whoever looks for one that is missing looks at a few.
const NAMES_SHOWN: usize = 10;

fn shown(names: &[String]) -> String {
    let first = names[..names.len().min(NAMES_SHOWN)].join(", ");
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// Letters of a server's own words that are repeated: what is wrong stands at their beginning.
const LETTERS_SHOWN: usize = 300;

/// A server's words, as far as they are repeated.
pub(crate) fn shortened(words: &str) -> String {
    match words.char_indices().nth(LETTERS_SHOWN) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words.to_owned(),
    }
}

/// An error and its causes in one line.
pub(crate) fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        // Some libraries repeat their cause in their own words.
        if !words.ends_with(&said) {
            words = format!("{words}: {said}");
        }
        source = cause.source();
    }
    words
}
