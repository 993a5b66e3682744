//! Instances that speak HTTP/2: connections that requests share, and how they end.

use super::*;

/// An instance that speaks HTTP/2.
pub(crate) struct Server(h2::server::Connection<TcpStream, Bytes>);

pub(crate) type Asked = (Request<RecvStream>, h2::server::SendResponse<Bytes>);

impl Server {
    pub(crate) async fn accept(instance: &Instance) -> Self {
        Self::accept_taking(instance, 100).await
    }

    /// The same of one that takes no more than so many requests at a time.
    async fn accept_taking(instance: &Instance, streams_max: u32) -> Self {
        let stream = instance.accept().await.into_stream();
        let mut settings = h2::server::Builder::new();
        let handshake = settings.max_concurrent_streams(streams_max).handshake(stream);
        Self(within("a handshake", handshake).await.unwrap())
    }

    pub(crate) async fn next(&mut self) -> Asked {
        within("a request", self.0.accept()).await.unwrap().unwrap()
    }

    /// The next request, however long it takes.
    pub(crate) async fn next_if_any(&mut self) -> Asked {
        match self.0.accept().await {
            Some(Ok(asked)) => asked,
            _ => std::future::pending().await,
        }
    }

    /// Goes on moving bytes, while the test looks after its streams.
    pub(crate) fn run(mut self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move { while let Some(Ok(_)) = self.0.accept().await {} })
    }
}

/// Answers every request with its name and what it was asked, for as long as the test runs.
pub(crate) fn serve(instance: Instance, name: &'static str) -> std::net::SocketAddr {
    let address = instance.address;
    tokio::spawn(async move {
        loop {
            let stream = instance.accept().await.into_stream();
            tokio::spawn(async move {
                // Who only connects is no caller.
                let Ok(mut server) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((asked, mut answers))) = server.accept().await {
                    let Ok(mut body) = answers.send_response(answer(200), false) else { continue };
                    let lane = asked.headers().get("baggage").map_or("", |it| it.to_str().unwrap());
                    let said = format!("{name} {} {lane}", asked.uri().path());
                    let _ = body.send_data(said.into(), true);
                }
            });
        }
    });
    address
}

fn answer(status: u16) -> Response<()> {
    Response::builder().status(status).body(()).unwrap()
}

fn trailer(name: &'static str, value: &'static str) -> HeaderMap {
    let (name, value) =
        (http::HeaderName::from_static(name), http::HeaderValue::from_static(value));
    HeaderMap::from_iter([(name, value)])
}

/// A world whose instances speak HTTP/2.
pub(crate) fn behind(instances: &[std::net::SocketAddr]) -> World {
    let mut world = world(instances);
    world.backends_speak_http2 = true;
    world
}

#[tokio::test]
async fn instances_that_speak_http2_get_all_requests_on_one_connection() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&behind(&[instance.address]));
    let client = Client::connect(&proxy).await;
    let grpc = "application/grpc+proto";
    let post = || {
        let post = request("/pkg.Service/Method?x").method(Method::POST);
        post.header("content-type", grpc).header("te", "trailers")
    };
    let (first, mut body) = client.begin(post(), false).await;
    let mut server = Server::accept(&instance).await;
    let (asked, mut answers) = server.next().await;
    let (second, _) = client.begin(post(), true).await;
    let (other, mut answers_other) = server.next().await;
    let running = server.run();
    // A frame of data that is empty ends it, as gRPC asks of who sends no message.
    assert!(whole(other.into_body()).await.0.is_empty());
    assert_eq!(asked.uri(), "http://shop/pkg.Service/Method?x");
    assert_eq!(asked.headers().get("te").unwrap(), "trailers");
    assert_eq!(asked.headers().get("content-type").unwrap(), grpc);
    assert!(asked.headers().contains_key("traceparent") && !asked.headers().contains_key("host"));
    // Both ways at once: what is said is heard before the other side has ended.
    let mut asked = asked.into_body();
    let mut answering = answers.send_response(answer(200), false).unwrap();
    let mut heard = within("an answer", first).await.unwrap().into_body();
    for word in ["one", "two"] {
        body.send_data(Bytes::from(word), false).unwrap();
        assert_eq!(within("data", asked.data()).await.unwrap().unwrap(), word);
        answering.send_data(Bytes::from(word), false).unwrap();
        assert_eq!(within("data", heard.data()).await.unwrap().unwrap(), word);
    }
    body.send_trailers(trailer("x-sum", "2")).unwrap();
    assert_eq!(whole(asked).await.1.unwrap(), trailer("x-sum", "2"));
    answering.send_trailers(trailer("grpc-status", "0")).unwrap();
    assert_eq!(whole(heard).await.1.unwrap(), trailer("grpc-status", "0"));
    // An answer that is trailers alone.
    let mut trailers_only = answer(200);
    trailers_only.headers_mut().extend(trailer("grpc-status", "5"));
    answers_other.send_response(trailers_only, true).unwrap();
    let second = within("an answer", second).await.unwrap();
    assert_eq!(second.headers().get("grpc-status").unwrap(), "5");
    assert!(second.body().is_end_stream());
    running.abort();
}

#[tokio::test]
async fn old_clients_are_served_by_new_instances() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&behind(&[instance.address]));
    let mut client = proxy.client().await;
    client
        .send("POST /a HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n3\r\nabc\r\n")
        .await;
    let mut server = Server::accept(&instance).await;
    let (asked, mut answers) = server.next().await;
    let running = server.run();
    assert_eq!(asked.uri(), "http://shop/a");
    for name in ["transfer-encoding", "connection", "x-hop", "te"] {
        assert!(!asked.headers().contains_key(name), "{name}");
    }
    let mut asked = asked.into_body();
    assert_eq!(within("data", asked.data()).await.unwrap().unwrap(), "abc");
    client.send("0\r\nx-sum: 3\r\nHost: x\r\n\r\n").await;
    assert_eq!(whole(asked).await.1.unwrap(), trailer("x-sum", "3"));
    let mut answering = answers.send_response(answer(200), false).unwrap();
    answering.send_data(Bytes::from_static(b"hello"), false).unwrap();
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
    client.text("5\r\nhello\r\n").await;
    answering.send_trailers(trailer("x-t", "v")).unwrap();
    client.text("0\r\nx-t: v\r\n\r\n").await;
    running.abort();
}

#[tokio::test]
async fn what_an_instance_did_not_look_at_is_sent_again_whatever_it_is() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&behind(&[instance.address]));
    let client = Client::connect(&proxy).await;
    let (waits, _) = client.begin(request("/").method(Method::POST), true).await;
    let mut server = Server::accept(&instance).await;
    let (_, mut refused) = server.next().await;
    refused.send_reset(h2::Reason::REFUSED_STREAM);
    let (asked, mut answers) = server.next().await;
    assert_eq!(asked.method(), Method::POST);
    answers.send_response(answer(204), true).unwrap();
    let running = server.run();
    assert_eq!(within("an answer", waits).await.unwrap().status(), 204);
    running.abort();
}

#[tokio::test]
async fn what_an_instance_says_it_has_not_looked_at_as_it_goes_is_sent_again_whatever_it_is() {
    // SETTINGS; GOAWAY, and no stream was looked at.
    let greeting = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let farewell = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for aborts in [false, true] {
        let instance = Instance::new().await;
        let proxy = Proxy::gateway(&behind(&[instance.address]));
        let client = Client::connect(&proxy).await;
        let post = request("/").method(Method::POST);
        let (waits, mut body) = client.begin(post, false).await;
        body.send_data(Bytes::from_static(b"once"), true).unwrap();
        let mut leaving = instance.accept().await;
        leaving.send_bytes(&greeting).await;
        assert_eq!(leaving.exactly(PREFACE.len()).await, PREFACE);
        leaving.send_bytes(&farewell).await;
        if aborts {
            leaving.abort();
        } else {
            drop(leaving);
        }
        let mut server = Server::accept(&instance).await;
        let (asked, mut answers) = server.next().await;
        let running = server.run();
        assert_eq!(asked.method(), Method::POST);
        assert_eq!(whole(asked.into_body()).await.0, b"once", "aborts: {aborts}");
        answers.send_response(answer(204), true).unwrap();
        assert_eq!(within("an answer", waits).await.unwrap().status(), 204);
        running.abort();
    }
}

#[tokio::test]
async fn who_comes_together_shares_as_few_connections_as_there_must_be() {
    for (streams_max, connections) in [(100, 1), (5, 3)] {
        let instance = Instance::new().await;
        let proxy = Proxy::gateway(&behind(&[instance.address]));
        let client = Client::connect(&proxy).await;
        let mut waiting = Vec::new();
        for _ in 0..12 {
            let post = request("/").method(Method::POST);
            waiting.push(client.begin(post, true).await.0);
        }
        let (mut asked, mut running) = (Vec::new(), Vec::new());
        for at in 0..connections {
            let mut server = Server::accept_taking(&instance, streams_max).await;
            for _ in 0..(streams_max as usize).min(12 - asked.len()) {
                asked.push(server.next().await.1);
            }
            running.push(server.run());
            assert_eq!(asked.len() == 12, at + 1 == connections);
        }
        let more = tokio::time::timeout(Duration::from_millis(100), instance.accept());
        assert!(more.await.is_err(), "one more connection");
        for mut answers in asked {
            answers.send_response(answer(204), true).unwrap();
        }
        for waits in waiting {
            assert_eq!(within("an answer", waits).await.unwrap().status(), 204);
        }
        running.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test]
async fn who_comes_together_fails_together() {
    let (dead, other) = (nobody().await, Instance::new().await.serve("other"));
    let mut world = behind(&[dead]);
    let proxy = Proxy::gateway(&world);
    let client = Client::connect(&proxy).await;
    let mut waiting = Vec::new();
    for _ in 0..12 {
        waiting.push(client.begin(request("/"), true).await.0);
    }
    for waits in waiting {
        assert_eq!(within("an answer", waits).await.unwrap().status(), 502);
    }
    proxy.counted(Count::Ejected, 1).await;
    world.services[0].2 = vec![(other, None)];
    world.backends_speak_http2 = false;
    proxy.publish.send_replace(world.publish());
    eventually("another instance", async || client.ask(request("/")).await.0.status() == 200).await;
}

#[tokio::test]
async fn a_connection_that_breaks_off_counts_once_for_all_that_came_together() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&behind(&[instance.address]));
    let client = Client::connect(&proxy).await;
    for ends in [true, false] {
        let mut waiting = Vec::new();
        for _ in 0..4 {
            let (waits, mut body) = client.begin(request("/").method(Method::POST), ends).await;
            if !ends {
                body.send_data(Bytes::from_static(b"body"), true).unwrap();
            }
            waiting.push(waits);
        }
        let mut server = Server::accept(&instance).await;
        let mut asked = Vec::new();
        for _ in 0..4 {
            asked.push(server.next().await);
        }
        // With its data, each was sent whole.
        for (asked, _) in asked.iter_mut().filter(|_| !ends) {
            let data = async {
                tokio::select! {
                    data = asked.body_mut().data() => data,
                    _ = server.0.accept() => panic!("another request"),
                }
            };
            assert_eq!(within("data", data).await.unwrap().unwrap(), "body");
        }
        drop((server, asked));
        for waits in waiting {
            assert_eq!(within("an answer", waits).await.unwrap().status(), 502);
        }
        assert!(proxy.running.unreachable().is_empty(), "put aside: {ends}");
        // One that answers, so that the next time begins anew.
        let (waits, _) = client.begin(request("/"), true).await;
        let mut server = Server::accept(&instance).await;
        server.next().await.1.send_response(answer(204), true).unwrap();
        server.0.graceful_shutdown();
        let running = server.run();
        assert_eq!(within("an answer", waits).await.unwrap().status(), 204);
        within("the end of the connection", running).await.unwrap();
    }
}

#[tokio::test]
async fn whoever_came_together_on_a_connection_that_breaks_off_goes_elsewhere() {
    let breaking = Instance::new().await;
    let alive = serve(Instance::new().await, "alive");
    let proxy = Proxy::gateway(&behind(&[breaking.address, alive]));
    let client = Client::connect(&proxy).await;
    // However often it is connected to.
    let breaking = tokio::spawn(async move {
        loop {
            let mut server = Server::accept(&breaking).await;
            let mut asked = vec![server.next().await];
            let together = Duration::from_millis(20);
            while let Ok(Some(Ok(more))) = tokio::time::timeout(together, server.0.accept()).await {
                asked.push(more);
            }
        }
    });
    let mut waiting = Vec::new();
    for _ in 0..16 {
        waiting.push(client.begin(request("/"), true).await.0);
    }
    for waits in waiting {
        assert_eq!(within("an answer", waits).await.unwrap().status(), 200);
    }
    breaking.abort();
}

#[tokio::test]
async fn an_instance_that_fell_silent_is_left_and_called_anew_when_it_is_heard() {
    let frozen = Instance::new().await;
    let mut world = behind(&[frozen.address]);
    world.source = EMBEDDED_SOURCE;
    let proxy = Proxy::gateway(&world);
    let client = Client::connect(&proxy).await;
    let (waits, _) = client.begin(request("/").method(Method::POST), true).await;
    let mut server = Server::accept(&frozen).await;
    let _asked = server.next().await;
    // It has stopped as a whole: what its kernel takes, it never reads.
    world.health.insert(frozen.address, Health::Silent);
    proxy.publish.send_replace(world.publish());
    let waited = within("an answer", waits).await.unwrap();
    assert_eq!(waited.status(), 503);
    let (text, _) = whole(waited.into_body()).await;
    assert_eq!(text, b"the instance fell silent before it answered\n");
    proxy.counted(Count::Freed, 1).await;
    world.health.clear();
    proxy.publish.send_replace(world.publish());
    eventually("nothing to be held against it", async || proxy.running.unreachable().is_empty())
        .await;
    let (waits, _) = client.begin(request("/"), true).await;
    let mut anew = Server::accept(&frozen).await;
    anew.next().await.1.send_response(answer(204), true).unwrap();
    let running = anew.run();
    assert_eq!(within("an answer", waits).await.unwrap().status(), 204);
    running.abort();
}

#[tokio::test]
async fn whoever_waits_for_an_instance_that_is_lost_waits_no_longer_and_who_has_an_answer_gets_it()
{
    let instance = Instance::new().await;
    let mut world = behind(&[instance.address]);
    world.source = EMBEDDED_SOURCE;
    let proxy = Proxy::gateway(&world);
    let client = Client::connect(&proxy).await;
    let (answered, _) = client.begin(request("/answered"), true).await;
    let mut server = Server::accept(&instance).await;
    let (_, mut answers) = server.next().await;
    let mut answering = answers.send_response(answer(200), false).unwrap();
    answering.send_data(Bytes::from_static(b"so"), false).unwrap();
    let (waits, _) = client.begin(request("/waits").method(Method::POST), true).await;
    let _asked = server.next().await;
    let running = server.run();
    let mut body = within("an answer", answered).await.unwrap().into_body();
    assert_eq!(within("data", body.data()).await.unwrap().unwrap(), "so");
    world.health.insert(instance.address, Health::Unhealthy);
    proxy.publish.send_replace(world.publish());
    let waited = within("an answer", waits).await.unwrap();
    assert_eq!(waited.status(), 503);
    let (text, _) = whole(waited.into_body()).await;
    assert_eq!(text, b"the instance became unhealthy before it answered\n");
    answering.send_data(Bytes::from_static(b" on"), true).unwrap();
    assert_eq!(whole(body).await.0, b" on");
    running.abort();
}

#[tokio::test]
async fn connections_to_an_instance_go_with_it_under_whatever_address() {
    let (dead, instance) = (nobody().await, Instance::new().await);
    let mut world = behind(&[dead]);
    world.further.insert(dead, vec![instance.address]);
    let proxy = Proxy::gateway(&world);
    let client = Client::connect(&proxy).await;
    let mut breaking = Vec::new();
    for _ in 0..3 {
        let post = request("/").method(Method::POST);
        breaking.push(client.begin(post, true).await.0);
    }
    let mut server = Server::accept(&instance).await;
    let (stays, mut kept) = {
        let (stays, _) = client.begin(request("/stays"), true).await;
        let mut asked = Vec::new();
        for _ in 0..4 {
            asked.push(server.next().await);
        }
        let at = asked.iter().position(|(asked, _)| asked.uri().path() == "/stays").unwrap();
        let kept = asked.swap_remove(at).1;
        for (_, mut answers) in asked {
            answers.send_reset(h2::Reason::INTERNAL_ERROR);
        }
        (stays, kept)
    };
    // What is under way goes on; then it ends.
    let running = server.run();
    for waits in breaking {
        assert_eq!(within("an answer", waits).await.unwrap().status(), 502);
    }
    assert_eq!(proxy.running.unreachable(), [dead]);
    kept.send_response(answer(204), true).unwrap();
    assert_eq!(within("an answer", stays).await.unwrap().status(), 204);
    within("the end of the connection", running).await.unwrap();
}

#[tokio::test]
async fn who_gives_up_is_given_up_and_who_breaks_off_is_told() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&behind(&[instance.address]));
    let client = Client::connect(&proxy).await;
    let (given_up, _) = client.begin(request("/"), true).await;
    let mut server = Server::accept(&instance).await;
    let (_, mut answers) = server.next().await;
    let (broken_off, _) = client.begin(request("/").method(Method::POST), true).await;
    let (_, mut breaks) = server.next().await;
    let running = server.run();
    drop(given_up);
    let reset = within("a reset", std::future::poll_fn(|context| answers.poll_reset(context)));
    assert_eq!(reset.await.unwrap(), h2::Reason::CANCEL);
    breaks.send_reset(h2::Reason::INTERNAL_ERROR);
    assert_eq!(within("an answer", broken_off).await.unwrap().status(), 502);
    running.abort();
}

#[tokio::test]
async fn an_instance_that_never_answers_is_given_up_in_time() {
    let instance = Instance::new().await;
    let mut world = behind(&[instance.address]);
    world.routes[0].3 = (Some(300), None);
    let proxy = Proxy::gateway(&world);
    let client = Client::connect(&proxy).await;
    let (waits, _) = client.begin(request("/"), true).await;
    let mut server = Server::accept(&instance).await;
    let asked = server.next().await;
    let running = server.run();
    assert_eq!(within("an answer", waits).await.unwrap().status(), 504);
    drop(asked);
    running.abort();
}

#[tokio::test]
async fn a_sidecar_asks_its_application_as_it_was_asked() {
    let application = Instance::new().await;
    let world = World::new(&[application.address]);
    let proxy = Proxy::sidecar(&world, None, application.address);
    let stream = TcpStream::connect(proxy.inbound()).await.unwrap();
    let client = Client::over(stream).await;
    let post = request("/pkg.Service/Method").method(Method::POST);
    let (waits, _) = client.begin(post.header("content-type", "application/grpc"), true).await;
    let mut server = Server::accept(&application).await;
    let (asked, mut answers) = server.next().await;
    assert_eq!(asked.uri().path(), "/pkg.Service/Method");
    let mut answering = answers.send_response(answer(200), false).unwrap();
    answering.send_trailers(trailer("grpc-status", "0")).unwrap();
    let running = server.run();
    let heard = within("an answer", waits).await.unwrap().into_body();
    assert_eq!(whole(heard).await.1.unwrap(), trailer("grpc-status", "0"));
    running.abort();
}

#[tokio::test]
async fn streams_in_a_tunnel_find_their_lanes() {
    let (base, gray) = (Instance::new().await, Instance::new().await);
    let mut world = World::new(&[]);
    let endpoints = vec![(base.address, None), (gray.address, Some("gray"))];
    world.services = vec![("sc-B", "b", endpoints)];
    world.groups = vec![group(gateway_entrance(), &["b"], Fallback::Then(Vec::new()))];
    serve(base, "base");
    serve(gray, "gray");
    let proxy = Proxy::sidecar(&world, None, nobody().await);
    // A forward proxy itself is asked in HTTP/1.1.
    let mut wrong = proxy.client().await;
    wrong.send_bytes(PREFACE).await;
    assert_eq!(status(&wrong.answer().await.0), 505);
    let mut tunnel = proxy.client().await;
    tunnel.send("CONNECT sc-B:50051 HTTP/1.1\r\nHost: sc-B:50051\r\n\r\n").await;
    assert_eq!(status(&tunnel.head().await), 200);
    let client = Client::over(tunnel.into_stream()).await;
    for (lane, expected) in [("", "base /x "), ("lane.trade=gray", "gray /x lane.trade=gray")] {
        let asked = request("/x").header("baggage", lane);
        assert_eq!(client.ask(asked).await.1, expected.as_bytes());
    }
}

#[tokio::test]
async fn long_answers_of_new_instances_come_as_fast_as_they_are_taken() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&behind(&[instance.address]));
    let mut client = proxy.client().await;
    client.send(&get("/")).await;
    let mut server = Server::accept(&instance).await;
    let (_, mut answers) = server.next().await;
    let content: Bytes = (0..4 * 1024 * 1024).map(|at| (at / 7) as u8).collect();
    let mut head = answer(200);
    head.headers_mut().extend(trailer("content-length", "4194304"));
    let mut answering = answers.send_response(head, false).unwrap();
    answering.send_data(content.clone(), true).unwrap();
    let running = server.run();
    assert!(client.head().await.starts_with("HTTP/1.1 200"));
    assert!(client.exactly(content.len()).await == content);
    running.abort();
}

#[tokio::test]
async fn answers_of_new_instances_end_where_they_end() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&behind(&[instance.address]));
    let mut client = proxy.client().await;
    client.send(&get("/nothing")).await;
    let mut server = Server::accept(&instance).await;
    let (_, mut answers) = server.next().await;
    // Without a length, and without a body: the next answer must not be taken for it.
    answers.send_response(answer(302), true).unwrap();
    client.send(&get("/next")).await;
    let (_, mut answers) = server.next().await;
    answers.send_response(answer(204), true).unwrap();
    let running = server.run();
    let head = client.head().await;
    assert_eq!((status(&head), field(&head, "transfer-encoding")), (302, Some("chunked")));
    client.text("0\r\n\r\n").await;
    assert_eq!(status(&client.head().await), 204);
    running.abort();
}
