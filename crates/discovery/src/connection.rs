//! How a control plane is connected to, and why a connection is no more: the same for discovery and registration.

use std::{error::Error, time::Duration};

use tonic::transport::{Channel, Endpoint};

use crate::{credentials::kept::NotRead, dial::ToControlPlane};

/// How long one attempt to connect may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A silent connection is asked for a sign of life this often, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error("`{control}` is no address")]
    Address { control: String, source: tonic::transport::Error },
    #[error("connect")]
    Connect(#[source] tonic::transport::Error),
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    #[error("make a key for a certificate")]
    Key(#[source] rcgen::Error),
    #[error(transparent)]
    NotRead(NotRead),
    #[error("the certificate it made cannot be read: look at the releases of both")]
    NotUnderstood,
    #[error("no answer within {} s", CONNECT_TIMEOUT.as_secs())]
    NoAnswer,
    /// The other side says what went wrong.
    #[error("{}: {}", .0.code(), .0.message())]
    Refused(Box<tonic::Status>),
    #[error("it closed the stream")]
    Closed,
    /// Not asked for: another sidecar of this node has taken over, or an operator did it.
    #[error("it was deregistered")]
    Deregistered,
}

impl From<tonic::Status> for ConnectionError {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// Connects to a control plane at `host:port`; the connection notices when the other side is gone.
pub(crate) async fn connect(
    control: &str,
    connector: ToControlPlane,
) -> Result<Channel, ConnectionError> {
    Endpoint::from_shared(format!("http://{control}"))
        .map_err(|source| ConnectionError::Address { control: control.to_owned(), source })?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
        .map_err(ConnectionError::Connect)
}

impl ConnectionError {
    /// It in one line, for people, with what was meant, perhaps.
    pub(crate) fn in_words(&self) -> String {
        let words = in_words(self);
        match self.is_another_listener() {
            false => words,
            true => format!(
                "{words} (what listens there is not its discovery: the API's address, perhaps, or a gateway's; \
                 discovery listens at --discovery-listen, port 7601 unless told otherwise)"
            ),
        }
    }

    /// Whether what answers speaks otherwise than a listener of data planes: in plain HTTP.
    fn is_another_listener(&self) -> bool {
        let Self::Refused(status) = self else { return false };
        let said = status.message();
        said.contains("HTTP status code")
            || said.contains("invalid content-type")
            || said == "h2 protocol error: http2 error"
            || (status.code() == tonic::Code::Unknown && said == "transport error")
    }
}

/// An error and its causes in one line, for people.
pub(crate) fn in_words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        // Some libraries repeat their cause in their own words.
        if !words.ends_with(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        source = cause.source();
    }
    words
}
