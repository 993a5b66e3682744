//! Handshakes by the hundred: requests of others go on between them, one handshake a turn.

use std::{net::SocketAddr, time::Duration};

use proxy::limits::Timeouts;
use rustls::{ClientConnection, pki_types::ServerName};
use telemetry::Count;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{Client, authority, get_of, world};
use crate::world::{Instance, Proxy, Wire, status};

/// Clients that want a handshake at the same time.
const FLOOD: usize = 200;

/// How long they may take together, on a machine that others use.
const PATIENCE: Duration = Duration::from_secs(60);

/// Requests of others that are answered at least while these are served. Each needs the gateway's attention about five times;
/// of handshakes that come one after the other without anybody between, all are done by then.
const MEANWHILE_MIN: usize = FLOOD / 66;

impl Client {
    /// What a client says first, and what it goes on with.
    fn hello(&self) -> (ClientConnection, Vec<u8>) {
        let name = ServerName::try_from("shop.example").unwrap();
        let mut side = ClientConnection::new(self.config.clone(), name).unwrap();
        let mut hello = Vec::new();
        side.write_tls(&mut hello).unwrap();
        (side, hello)
    }
}

/// One that has said hello.
struct Waiting {
    side: ClientConnection,
    stream: TcpStream,
    is_answered: bool,
}

impl Waiting {
    /// Whether the gateway has answered by now. `goes_on`: the handshake is finished then, and the connection ended.
    fn look(&mut self, goes_on: bool) -> bool {
        if self.is_answered {
            return true;
        }
        let mut bytes = [0; 16 * 1024];
        let Ok(count) = self.stream.try_read(&mut bytes) else { return false };
        assert!(count > 0, "a client is sent away amid its handshake");
        self.is_answered = true;
        if goes_on {
            self.side.read_tls(&mut &bytes[..count]).unwrap();
            self.side.process_new_packets().unwrap();
            let mut finished = Vec::new();
            self.side.write_tls(&mut finished).unwrap();
            assert_eq!(self.stream.try_write(&finished).unwrap(), finished.len());
        }
        true
    }
}

/// How many requests of another client are answered, one after the other, while all of a flood are.
async fn served_meanwhile(
    flooder: &Client,
    address: SocketAddr,
    other: &mut Wire<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>,
    goes_on: bool,
) -> (usize, Vec<Waiting>) {
    let mut flood = Vec::new();
    for _ in 0..FLOOD {
        let (side, hello) = flooder.hello();
        let stream = TcpStream::connect(address).await.unwrap();
        flood.push((Waiting { side, stream, is_answered: false }, hello));
    }
    // Whoever is asked for next is taken in by now; they speak all at once.
    other.send(&get_of("shop.example")).await;
    assert_eq!(status(&other.answer().await.0), 200);
    for (waiting, hello) in &mut flood {
        waiting.stream.write_all(hello).await.unwrap();
    }
    let mut flood: Vec<Waiting> = flood.into_iter().map(|(waiting, _)| waiting).collect();
    let mut served = 0;
    let all = async {
        while !flood.iter_mut().all(|waiting| waiting.look(goes_on)) {
            other.send(&get_of("shop.example")).await;
            assert_eq!(status(&other.answer().await.0), 200);
            served += 1;
        }
    };
    let all = tokio::time::timeout(PATIENCE, all).await;
    assert!(all.is_ok(), "a flood is not answered");
    (served, flood)
}

#[tokio::test]
async fn a_flood_of_handshakes_lets_requests_pass_between_any_two() {
    let authority = authority("them");
    let instance = Instance::new().await.serve("A");
    let world = world(&authority, &["shop.example"], &[instance]);
    let timeouts = Timeouts { head: Duration::from_secs(5), ..Timeouts::default() };
    let proxy = Proxy::gateway_with(&world, 1, timeouts);
    let client = Client::new(&authority);
    let mut other = client.connect(&proxy, "shop.example").await;
    other.send(&get_of("shop.example")).await;
    assert_eq!(status(&other.answer().await.0), 200);
    // Some finish, the others stop half way.
    for goes_on in [true, false] {
        let (served, flood) = served_meanwhile(&client, proxy.address(), &mut other, goes_on).await;
        assert!(served >= MEANWHILE_MIN, "{served} requests while {FLOOD} shook hands");
        if goes_on {
            proxy.counted(Count::TlsFull, FLOOD as u64).await;
        } else {
            // Nobody waits for them for ever.
            proxy.counted(Count::TlsTimedOut, FLOOD as u64).await;
        }
        drop(flood);
    }
    client.connect(&proxy, "shop.example").await.send(&get_of("shop.example")).await;
}
