//! How a call of a data plane came in: by the connection.

use std::{net::SocketAddr, sync::Arc};

use tonic::Request;

/// The connection of a call to discovery, for [`Connected`](tonic::transport::server::Connected) of whoever serves it.
#[derive(Debug, Clone, Default)]
pub struct Arrived {
    /// Its end here.
    pub local: Option<SocketAddr>,
    /// Its other end.
    pub peer: Option<SocketAddr>,
    /// Whether nobody on the way can read it.
    pub in_tls: bool,
    /// What was shown in TLS, with proof of its key; DER. Whether it is good is asked for each call.
    pub certificate: Option<Arc<[u8]>>,
}

impl Arrived {
    /// By whoever serves it; plain TCP where that says nothing.
    pub(crate) fn of<T>(request: &Request<T>) -> Self {
        let plain =
            || Self { local: request.local_addr(), peer: request.remote_addr(), ..Self::default() };
        request.extensions().get::<Self>().cloned().unwrap_or_else(plain)
    }
}
