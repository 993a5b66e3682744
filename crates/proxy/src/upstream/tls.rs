//! How a connection to an instance begins in TLS.

use rustls::{Error, client::UnbufferedClientConnection};
use telemetry::Count;

use crate::{
    buffers::Buffer,
    error::{Kind, ProxyError},
    plan::{Protocol, Version},
    tls::session::Handshake,
    transport::{Connection, Transport as _},
    worker::Worker,
};

/// Agrees with an instance on TLS, where it is spoken, within the time that a connect may take.
pub(super) async fn secure(
    worker: &Worker,
    connection: &Connection,
    protocol: Protocol,
) -> Result<(), ProxyError> {
    let agreeing =
        tokio::time::timeout(worker.timeouts.connect, agree(worker, connection, protocol));
    let (count, why) = match agreeing.await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(Error::InvalidCertificate(error))) => (
            Count::UpstreamTlsCertificate,
            format!("upstream certificate does not verify: {error}"),
        ),
        Ok(Err(error)) => {
            (Count::UpstreamTlsFailed, format!("cannot agree on TLS with the instance: {error}"))
        }
        Err(_) => (
            Count::UpstreamTlsTimedOut,
            "cannot agree on TLS with the instance: it took too long".to_owned(),
        ),
    };
    worker.recorder.count(count);
    tracing::warn!(address = %connection.peer, reason = %why, "no TLS with an instance");
    Err(ProxyError::unsent(Kind::UpstreamTls(why)))
}

async fn agree(worker: &Worker, connection: &Connection, protocol: Protocol) -> Result<(), Error> {
    let gone = |_| Error::General("it closed the connection".to_owned());
    let way = protocol.tls.and_then(|id| worker.tls.believed.way(id));
    let way = way.ok_or_else(|| Error::General("too many backends speak TLS".to_owned()))?;
    let inside: &[u8] = match protocol.version {
        Version::Http1 => b"http/1.1",
        Version::Http2 => b"h2",
    };
    let alpn = vec![inside.to_vec()];
    let side = UnbufferedClientConnection::new_with_alpn(way.config, way.name, alpn)?;
    let mut handshake = Handshake::new(side);
    let mut received = Buffer::default();
    loop {
        let outcome = handshake.take_in(received.filled()).and_then(|()| handshake.go_on());
        worker.buffers.give(received);
        let sending = handshake.take_sending();
        if !sending.is_empty() {
            let (_, _, sent) = connection.send(sending, Buffer::default(), 0).await;
            sent.or_else(|error| if outcome.is_err() { Ok(()) } else { Err(gone(error)) })?;
        }
        if outcome? {
            break;
        }
        received = connection.receive(&worker.buffers).await.map_err(gone)?;
        if received.is_empty() {
            return Err(Error::General("it closed the connection".to_owned()));
        }
    }
    let session = handshake.into_session(&worker.tls.scratch);
    // Who speaks HTTP/1.1 alone need not say so.
    if session.protocol().is_none() && protocol.version == Version::Http2 {
        return Err(Error::General("it does not speak HTTP/2".to_owned()));
    }
    connection.speak_tls(session);
    Ok(())
}
