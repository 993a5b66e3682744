//! Whether the application beside a sidecar answers: by TCP connect, or by an HTTP request where configured.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::dial::dial;

/// How long an application on the same host may take to answer: half a heartbeat period, so that a probe is over
/// before the next one is due.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of a response that are read in search of its status line and head.
const RESPONSE_BYTES_MAX: usize = 4096;

/// How an application is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A connection can be opened.
    Tcp,
    /// A GET of this path is answered with 200 to 399.
    Http {
        /// The path and query.
        path: String,
    },
}

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    /// Nobody listens, or the connection broke.
    #[error("connect to the application at {address}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Connected, then the exchange failed.
    #[error("ask the application at {address}")]
    Exchange {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// It answered with another status.
    #[error("the application at {address} answers {status}")]
    Status {
        /// Where.
        address: SocketAddr,
        /// What it answered.
        status: u16,
    },
    /// What it answered is no HTTP.
    #[error("the application at {address} does not answer in HTTP")]
    NotHttp {
        /// Where.
        address: SocketAddr,
    },
    /// It took longer than [`PROBE_TIMEOUT`].
    #[error("the application at {address} does not answer within {PROBE_TIMEOUT:?}")]
    Timeout {
        /// Where.
        address: SocketAddr,
    },
}

impl Probe {
    /// Probes once.
    pub(crate) async fn run(
        &self,
        address: SocketAddr,
        mark: Option<u32>,
    ) -> Result<(), ProbeError> {
        let probed = async {
            let stream = dial(address, mark)
                .await
                .map_err(|source| ProbeError::Connect { address, source })?;
            match self {
                Self::Tcp => Ok(()),
                Self::Http { path } => ask(stream, address, path).await,
            }
        };
        timeout(PROBE_TIMEOUT, probed).await.unwrap_or(Err(ProbeError::Timeout { address }))
    }
}

async fn ask(mut stream: TcpStream, address: SocketAddr, path: &str) -> Result<(), ProbeError> {
    let failed = |source| ProbeError::Exchange { address, source };
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: laneway-probe\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut received = Vec::with_capacity(RESPONSE_BYTES_MAX);
    loop {
        // The status line is enough: what follows it is the application's own business.
        let status = status_of(&received).map_err(|()| ProbeError::NotHttp { address })?;
        match status {
            Some(200..=399) => return Ok(()),
            Some(status) => return Err(ProbeError::Status { address, status }),
            None if received.len() >= RESPONSE_BYTES_MAX => {
                return Err(ProbeError::NotHttp { address });
            }
            None => {}
        }
        if stream.read_buf(&mut received).await.map_err(failed)? == 0 {
            return Err(ProbeError::NotHttp { address });
        }
    }
}

/// The status, as soon as the first line is complete.
fn status_of(received: &[u8]) -> Result<Option<u16>, ()> {
    let Some(end) = received.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let mut line = received[..=end].to_vec();
    line.extend_from_slice(b"\r\n");
    let mut headers = [];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(&line).map_err(|_| ())?;
    response.code.map(Some).ok_or(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                if stream.read(&mut request).await.unwrap() > 0 {
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        address
    }

    async fn probed(answer: &'static str) -> String {
        let address = answering(answer).await;
        let probe = Probe::Http { path: "/health".to_owned() };
        match probe.run(address, None).await {
            Ok(()) => "healthy".to_owned(),
            Err(error) => error.to_string().replace(&address.to_string(), "ADDRESS"),
        }
    }

    #[tokio::test]
    async fn an_application_is_healthy_when_it_answers() {
        let address = answering("").await;
        Probe::Tcp.run(address, None).await.unwrap();
        assert_eq!(probed("HTTP/1.1 204 No Content\r\n\r\n").await, "healthy");
        assert_eq!(probed("HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n").await, "healthy");
    }

    #[tokio::test]
    async fn an_application_that_answers_otherwise_is_not() {
        assert_eq!(
            probed("HTTP/1.1 503 No\r\n\r\n").await,
            "the application at ADDRESS answers 503"
        );
        assert_eq!(
            probed("SSH-2.0\r\n").await,
            "the application at ADDRESS does not answer in HTTP"
        );
        assert_eq!(probed("").await, "the application at ADDRESS does not answer in HTTP");
    }

    #[tokio::test]
    async fn nobody_there_is_told_with_its_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = Probe::Tcp.run(address, None).await.unwrap_err();
        assert!(
            matches!(error, ProbeError::Connect { address: at, .. } if at == address),
            "{error}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_application_that_never_answers_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let error = Probe::Http { path: "/".to_owned() }.run(address, None).await.unwrap_err();
        assert!(matches!(error, ProbeError::Timeout { .. }), "{error}");
    }
}
