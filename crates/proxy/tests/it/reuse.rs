//! A connection is used again only when both directions are done: the whole request sent, the whole answer read.
//! In a gateway, and in a sidecar both ways.

use crate::world::{Instance, Proxy, Wire, World, field, nobody, status};

const HOST: &str = "Host: sc-A\r\n";

/// Calls an instance through the proxy in one of its roles.
struct Way {
    name: &'static str,
    proxy: Proxy,
    instance: Instance,
    /// What stands before the path in a request's target.
    prefix: &'static str,
    is_inbound: bool,
}

impl Way {
    async fn all() -> [Self; 3] {
        let (behind_gateway, called, own) =
            (Instance::new().await, Instance::new().await, Instance::new().await);
        [
            Self {
                name: "gateway",
                proxy: Proxy::gateway(&World::new(&[behind_gateway.address])),
                instance: behind_gateway,
                prefix: "",
                is_inbound: false,
            },
            Self {
                name: "outbound",
                proxy: Proxy::sidecar(&World::new(&[called.address]), None, nobody().await),
                instance: called,
                prefix: "http://sc-A",
                is_inbound: false,
            },
            Self {
                name: "inbound",
                proxy: Proxy::sidecar(&World::new(&[own.address]), None, own.address),
                instance: own,
                prefix: "",
                is_inbound: true,
            },
        ]
    }

    async fn client(&self) -> Wire {
        if self.is_inbound {
            Wire::connect(self.proxy.inbound()).await
        } else {
            self.proxy.client().await
        }
    }

    /// A client has sent this, and the instance has read its head.
    async fn begin(&self, method: &str, fields: &str, body: &str) -> (Wire, Wire) {
        let mut client = self.client().await;
        let prefix = self.prefix;
        client.send(&format!("{method} {prefix}/1 HTTP/1.1\r\n{HOST}{fields}\r\n{body}")).await;
        let mut server = self.instance.accept().await;
        let head = server.head().await;
        assert!(head.starts_with(&format!("{method} /1 ")), "{}: {head}", self.name);
        (client, server)
    }

    /// The next client's request comes on another connection, and alone.
    async fn next_is_fresh(&self) {
        let mut client = self.client().await;
        client.send(&format!("GET {}/next HTTP/1.1\r\n{HOST}\r\n", self.prefix)).await;
        let mut server = self.instance.accept().await;
        assert!(server.head().await.starts_with("GET /next "), "{}", self.name);
        server.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nnext").await;
        assert_eq!(client.answer().await.1, "next", "{}", self.name);
    }

    /// The next client's request comes on this connection.
    async fn next_is_on(&self, server: &mut Wire) {
        let mut client = self.client().await;
        client.send(&format!("GET {}/next HTTP/1.1\r\n{HOST}\r\n", self.prefix)).await;
        assert!(server.head().await.starts_with("GET /next "), "{}", self.name);
        server.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnext").await;
        assert_eq!(client.answer().await.1, "next", "{}", self.name);
    }
}

const LENGTH: &str = "Content-Length: 100\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const NO_BODY: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
const LENGTH_BODY: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno";
const CHUNKED_BODY: &str =
    "HTTP/1.1 413 Too Large\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n";

#[tokio::test]
async fn an_instance_that_answers_before_the_body_has_come_gets_no_other_request() {
    for way in Way::all().await {
        for (fields, body) in
            [(LENGTH, ""), (LENGTH, "half"), (CHUNKED, ""), (CHUNKED, "4\r\nhalf\r\n")]
        {
            for answer in [NO_BODY, LENGTH_BODY, CHUNKED_BODY] {
                let (mut client, mut server) = way.begin("POST", fields, body).await;
                server.text(body).await;
                server.send(answer).await;
                let head = client.head().await;
                assert_eq!(status(&head), status(answer), "{}", way.name);
                assert_eq!(field(&head, "connection"), Some("close"), "{}", way.name);
                server.closed().await;
                // Whatever the client still sends is no request.
                client.send("GET /smuggled HTTP/1.1\r\nHost: sc-A\r\n\r\n").await;
                way.next_is_fresh().await;
                client.close_write().await;
                let rest = String::from_utf8(client.rest().await).unwrap();
                assert!(!rest.contains("HTTP/1.1"), "{}: {rest}", way.name);
            }
        }
    }
}

#[tokio::test]
async fn nor_when_the_answer_came_in_pieces_after_interim_ones_or_instead_of_a_100() {
    for way in Way::all().await {
        let (mut client, mut server) = way.begin("POST", LENGTH, "").await;
        server.send("HTTP/1.1 401 Unauthorized\r\ncontent-length: 6\r\n\r\nno").await;
        client.head().await;
        client.text("no").await;
        server.send(" way").await;
        client.text(" way").await;
        server.closed().await;
        way.next_is_fresh().await;

        let (mut client, mut server) = way.begin("POST", CHUNKED, "1\r\na\r\n").await;
        server.text("1\r\na\r\n").await;
        server.send("HTTP/1.1 102 Processing\r\n\r\n").await;
        assert_eq!(status(&client.head().await), 102);
        server.send(LENGTH_BODY).await;
        assert_eq!(client.answer().await.1, "no");
        server.closed().await;
        way.next_is_fresh().await;

        let expect = "Content-Length: 100\r\nExpect: 100-continue\r\n";
        let (mut client, mut server) = way.begin("PUT", expect, "").await;
        server.send("HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\n\r\nno").await;
        assert_eq!(client.answer().await.1, "no");
        server.closed().await;
        way.next_is_fresh().await;
    }
}

#[tokio::test]
async fn an_instance_that_reads_on_after_its_early_answer_is_used_again_once_the_body_was_sent() {
    for way in Way::all().await {
        // All of the body comes while the answer's body is on its way.
        let (mut client, mut server) = way.begin("POST", "Content-Length: 8\r\n", "half").await;
        server.text("half").await;
        server.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha").await;
        assert_eq!(field(&client.head().await, "connection"), Some("close"), "{}", way.name);
        client.text("ha").await;
        client.send("done").await;
        server.text("done").await;
        server.send("lf").await;
        client.text("lf").await;
        client.closed().await;
        way.next_is_on(&mut server).await;
    }
}

#[tokio::test]
async fn bytes_after_an_answers_end_spoil_its_connection() {
    for way in Way::all().await {
        for (method, answer) in [
            ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstray"),
            ("GET", "HTTP/1.1 204 No Content\r\n\r\nstray"),
            ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\nstray"),
            ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nstray"),
            ("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nstray"),
            // A 204 that announces a body may send it at any time.
            ("GET", "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n"),
            ("GET", "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n"),
        ] {
            let (mut client, mut server) = way.begin(method, "", "").await;
            server.send(answer).await;
            assert_eq!(status(&client.head().await), status(answer), "{}", way.name);
            server.closed().await;
            way.next_is_fresh().await;
        }
    }
}

#[tokio::test]
async fn an_upgrade_that_is_declined_leaves_both_connections_good() {
    for way in Way::all().await {
        let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
        let (mut client, mut server) = way.begin("GET", upgrade, "").await;
        server.send("HTTP/1.1 426 Upgrade Required\r\ncontent-length: 2\r\n\r\nno").await;
        assert_eq!(client.answer().await.1, "no");
        way.next_is_on(&mut server).await;
        // One that was not asked for, while a body is still to come.
        drop(server);
        let (mut client, mut server) = way.begin("POST", LENGTH, "").await;
        server.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n").await;
        assert_eq!(status(&client.head().await), 502, "{}", way.name);
        server.closed().await;
        way.next_is_fresh().await;
    }
}
