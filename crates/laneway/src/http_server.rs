//! The HTTP server of the API and of every admin address.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, http::Request};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use telemetry::Metrics;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_stream::StreamExt as _;

use crate::{
    accepting::{Acceptor, Admitted, FIRST_WORDS},
    door::{self, Connection, Door},
};

/// Connections at a time: people, scrapers, and a watch of each console and pipeline.
const CONNECTIONS_MAX: usize = 1024;

/// How long the next piece of a body may take to arrive.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// How long requests may take to finish when it stops.
const STOP: Duration = Duration::from_secs(1);

/// Serves HTTP until it is told to stop.
#[derive(Debug)]
pub(crate) struct HttpServer {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl HttpServer {
    /// Starts to serve on a bound listener, behind a door.
    pub(crate) fn start(
        what: &'static str,
        listener: TcpListener,
        router: Router,
        door: Door,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let acceptor = Acceptor::new(what, listener, CONNECTIONS_MAX, metrics);
        let task = tokio::spawn(serve_all(acceptor, door::before(router, door), stopped));
        Self { stop, task }
    }

    /// Stops: answers what has been asked, and cuts what does not end, such as watches.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(true);
        let abort = self.task.abort_handle();
        if tokio::time::timeout(STOP, self.task).await.is_err() {
            abort.abort();
        }
    }
}

async fn serve_all(acceptor: Acceptor, router: Router, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let told = stopped.clone();
        tokio::select! {
            admitted = acceptor.next() => {
                connections.spawn(serve(admitted, router.clone(), told));
            }
            Some(_) = connections.join_next() => {}
            _ = stopped.wait_for(|stop| *stop) => break,
        }
    }
    drop(acceptor);
    while connections.join_next().await.is_some() {}
}

/// Serves one connection. Between two requests it may be silent as long as a head may take.
async fn serve(admitted: Admitted, router: Router, mut stopped: watch::Receiver<bool>) {
    let told = async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let connection = Connection::new(admitted.peer, admitted.local_address());
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(connection.clone()));
        router.call(request.map(timed))
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(FIRST_WORDS)
        .serve_connection(TokioIo::new(admitted), service);
    let mut serving = pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = told => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection broken off");
    }
}

/// A body whose pieces come in time, or which fails.
fn timed(body: Incoming) -> Body {
    if body.is_end_stream() {
        return Body::empty();
    }
    let pieces = Body::new(body).into_data_stream().timeout(BODY_WAIT);
    Body::from_stream(pieces.map(|piece| match piece {
        Ok(piece) => piece.map_err(axum::BoxError::from),
        Err(late) => Err(late.into()),
    }))
}
