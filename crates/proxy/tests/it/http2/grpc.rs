//! What callers of gRPC are told.

use proxy::limits::Timeouts;

use super::{
    instances::{Server, behind, serve},
    *,
};

/// What a caller of gRPC is told by the proxy itself: the status, and the message.
async fn told(client: &Client, path: &str) -> (String, String) {
    let post = request(path).method(Method::POST).header("te", "trailers");
    let (answer, mut body) =
        client.begin(post.header("content-type", "application/grpc+proto"), false).await;
    let _ = body.send_data(Bytes::from_static(&[0; 5]), true);
    let answer = within("an answer", answer).await.unwrap();
    let field = |name| answer.headers().get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(
        (answer.status().as_u16(), field("content-type").as_str()),
        (200, "application/grpc")
    );
    assert_eq!(field("server"), "laneway");
    assert!(answer.body().is_end_stream(), "trailers alone");
    (field("grpc-status"), field("grpc-message"))
}

#[tokio::test]
async fn callers_of_grpc_are_told_in_its_words_what_went_wrong() {
    let (hung, dead) = (Instance::new().await, nobody().await);
    let mut world = behind(&[hung.address]);
    world.services.push(("sc-B", "b", vec![(dead, None)]));
    world.services.push(("sc-C", "c", Vec::new()));
    world.routes = vec![
        ("/hung", "sc-A", Vec::new(), (Some(200), None)),
        ("/dead", "sc-B", Vec::new(), (None, None)),
        ("/none", "sc-C", Vec::new(), (None, None)),
    ];
    let proxy = Proxy::gateway(&world);
    let client = Client::connect(&proxy).await;
    for (path, status, message) in [
        ("/other", "12", "no route for this host and path"),
        ("/dead/x", "14", "cannot connect to the instance"),
        ("/none/x", "14", ""),
        ("/hung/x", "4", "the instance did not answer in time"),
        ("/dead/../x", "13", ""),
    ] {
        let (told, said) = told(&client, path).await;
        assert_eq!(told, status, "{path}: {said}");
        assert!(said.starts_with(message) && !said.is_empty(), "{path}: {said}");
    }
    // Others are told as ever, and it is counted as ever.
    let (head, body) = client.ask(request("/other")).await;
    assert_eq!(
        (head.status().as_u16(), body.as_slice()),
        (404, &b"no route for this host and path\n"[..])
    );
    eventually("them to be counted", async || {
        let counted = proxy.running.counters().render();
        counted.contains("4xx") && counted.contains("5xx") && !counted.contains("2xx")
    })
    .await;
}

/// RFC 9113 has a head end a stream as well; gRPC has its callers send a frame of data for that, be it empty, and its
/// server in Go waits for one.
#[tokio::test]
async fn a_call_without_messages_ends_with_a_frame_of_data() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&behind(&[instance.address]));
    let client = Client::connect(&proxy).await;
    let post = |kind| request("/x").method(Method::POST).header("content-type", kind);
    let _other = client.begin(post("text/plain"), true).await;
    let mut server = Server::accept(&instance).await;
    let (heard, _answers) = server.next().await;
    assert!(heard.body().is_end_stream(), "the head is all there is");
    let _call = client.begin(post("application/grpc"), true).await;
    let (heard, _answers) = server.next().await;
    assert!(!heard.body().is_end_stream(), "something comes after the head");
    let _running = server.run();
    assert!(whole(heard.into_body()).await.0.is_empty());
}

#[tokio::test]
async fn strangers_are_silent_for_long_where_the_instance_converses_alone() {
    let instance = Instance::new().await;
    let timeouts = Timeouts { answer_body: Duration::from_millis(200), ..Timeouts::default() };
    let proxy = Proxy::gateway_with(&behind(&[instance.address]), 1, timeouts);
    let client = Client::connect(&proxy).await;
    let post = || request("/x").method(Method::POST).header("content-type", "application/grpc");
    let (begins, mut talks) = client.begin(post(), false).await;
    let mut server = Server::accept(&instance).await;
    let (mut heard, mut answers) = server.next().await;
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut says = answers.send_response(head, false).unwrap();
    let (silent, _silent) = client.begin(post(), false).await;
    let _asked = server.next().await;
    let running = server.run();
    let begun = within("an answer", begins).await.unwrap();
    // Who came later is silent for too long; who came before still is.
    let refused = within("an answer", silent).await.unwrap();
    assert_eq!(refused.headers()["grpc-status"], "4");
    talks.send_data(Bytes::from_static(b"late"), true).unwrap();
    assert_eq!(within("data", heard.body_mut().data()).await.unwrap().unwrap(), "late");
    says.send_data(Bytes::from_static(b"later"), true).unwrap();
    assert_eq!(whole(begun.into_body()).await.0, b"later");
    running.abort();
}

#[tokio::test]
async fn a_sidecar_tells_callers_of_grpc_and_proxies_that_it_cannot_reach_its_application() {
    let world = World::new(&[]);
    let sidecar = Proxy::sidecar(&world, None, nobody().await);
    let inbound = sidecar.inbound();
    let client = Client::over(TcpStream::connect(inbound).await.unwrap()).await;
    assert_eq!(told(&client, "/x").await.0, "14");
    // Nor what is not for it.
    let mut grouped = World::new(&[]);
    grouped.groups = vec![group(gateway_entrance(), &["a"], Fallback::Then(Vec::new()))];
    let gray = Proxy::sidecar(&grouped, Some("gray"), nobody().await);
    let client = Client::over(TcpStream::connect(gray.inbound()).await.unwrap()).await;
    assert_eq!(told(&client, "/x").await.0, "14");
    // A gateway chooses somebody else.
    let other = serve(Instance::new().await, "other");
    let gateway = Proxy::gateway(&behind(&[inbound, other]));
    let client = Client::connect(&gateway).await;
    eventually("the sidecar to be chosen first", async || {
        let post = request("/x").method(Method::POST).header("content-type", "application/grpc");
        let (head, body) = client.ask(post).await;
        assert_eq!((head.status().as_u16(), body.as_slice()), (200, &b"other /x "[..]));
        gateway.running.counters().counted(Count::RetriedUnreachable) > 0
    })
    .await;
}

/// How a call ended, by its trailers, or by its head where there is nothing else.
pub(super) fn grpc_status(fields: &HeaderMap) -> &str {
    fields["grpc-status"].to_str().unwrap()
}

pub(super) fn call(timeout: &str) -> http::request::Builder {
    let post = request("/x").method(Method::POST).header("te", "trailers");
    post.header("content-type", "application/grpc").header("grpc-timeout", timeout)
}

/// What an instance is told that its caller waits, in milliseconds.
fn told_ms(asked: &Request<RecvStream>) -> u64 {
    let mut told = asked.headers().get_all("grpc-timeout").iter();
    let value = told.next().unwrap().to_str().unwrap();
    assert_eq!(told.next(), None, "it is said once");
    value.strip_suffix('m').unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_is_left_of_a_deadline_goes_on_and_its_end_ends_the_call_on_both_sides() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&behind(&[instance.address]));
    let client = Client::connect(&proxy).await;
    // Nobody answers.
    let (late, _) = client.begin(call("4S"), true).await;
    let mut server = Server::accept(&instance).await;
    let (asked, mut answers) = server.next().await;
    let told = told_ms(&asked);
    assert!((1..=4_000).contains(&told), "{told}");
    // Somebody answers, and does not come to an end. Nor does its caller.
    let (begun, _talks) = client.begin(call("5S"), false).await;
    let (heard, mut answers_begun) = server.next().await;
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut says = answers_begun.send_response(head, false).unwrap();
    says.send_data(Bytes::from_static(b"one"), false).unwrap();
    let running = server.run();
    let late = within("an answer", late).await.unwrap();
    assert_eq!(grpc_status(late.headers()), "4");
    assert_eq!(late.headers()["grpc-message"], "the caller's deadline has passed");
    let reset = |reason| assert_eq!(reason, h2::Reason::CANCEL);
    reset(within("a reset", std::future::poll_fn(|it| answers.poll_reset(it))).await.unwrap());
    let begun = within("an answer", begun).await.unwrap();
    let (data, trailers) = whole(begun.into_body()).await;
    assert_eq!((data.as_slice(), grpc_status(&trailers.unwrap())), (&b"one"[..], "4"));
    reset(within("a reset", std::future::poll_fn(|it| says.poll_reset(it))).await.unwrap());
    drop(heard);
    assert_eq!(proxy.running.counters().counted(Count::TimedOutResponse), 0);
    running.abort();
}

#[tokio::test]
async fn the_smaller_of_what_the_caller_and_the_route_say_counts() {
    let instance = Instance::new().await;
    let mut world = behind(&[instance.address]);
    world.routes = vec![("/", "sc-A", Vec::new(), (Some(3_000), None))];
    let proxy = Proxy::gateway(&world);
    let client = Client::connect(&proxy).await;
    let (late, _) = client.begin(call("1H"), true).await;
    let mut server = Server::accept(&instance).await;
    let (asked, _answers) = server.next().await;
    let told = told_ms(&asked);
    assert!(told <= 3_000, "{told}");
    let running = server.run();
    let late = within("an answer", late).await.unwrap();
    assert_eq!(grpc_status(late.headers()), "4");
    assert_eq!(late.headers()["grpc-message"], "the instance did not answer in time");
    running.abort();
}

#[tokio::test]
async fn a_deadline_that_has_passed_disturbs_nobody_and_one_that_cannot_be_read_goes_on() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&behind(&[instance.address]));
    let client = Client::connect(&proxy).await;
    let (over, _) = client.begin(call("0S"), true).await;
    assert_eq!(grpc_status(within("an answer", over).await.unwrap().headers()), "4");
    // The first that the instance is asked. Others than gRPC know no such field.
    let others = request("/").header("grpc-timeout", "1m");
    let unreadable = ["soon", "5s", "123456789S", ""].map(|value| (call(value), value));
    let mut server = None;
    for (asks, value) in unreadable.into_iter().chain([(others, "1m")]) {
        let (waits, _) = client.begin(asks, true).await;
        if server.is_none() {
            server = Some(Server::accept(&instance).await);
        }
        let server = server.as_mut().unwrap();
        let (asked, mut answers) = server.next().await;
        assert_eq!(asked.headers()["grpc-timeout"], value);
        answers.send_response(Response::builder().status(204).body(()).unwrap(), true).unwrap();
        tokio::select! {
            answer = within("an answer", waits) => assert_eq!(answer.unwrap().status(), 204),
            _ = server.next() => panic!("it was asked once more"),
        }
    }
}

#[tokio::test]
async fn an_instance_that_says_unavailable_has_said_so() {
    let (one, other) = (Instance::new().await, Instance::new().await);
    let proxy = Proxy::gateway(&behind(&[one.address, other.address]));
    let client = Client::connect(&proxy).await;
    let (waits, _) = client.begin(call("1M"), true).await;
    let mut server = tokio::select! {
        server = Server::accept(&one) => server,
        server = Server::accept(&other) => server,
    };
    let (_, mut answers) = server.next().await;
    let head = Response::builder().header("content-type", "application/grpc");
    answers.send_response(head.header("grpc-status", "14").body(()).unwrap(), true).unwrap();
    let running = server.run();
    assert_eq!(grpc_status(within("an answer", waits).await.unwrap().headers()), "14");
    for retried in [Count::RetriedStale, Count::RetriedUnreachable, Count::RetriedLost] {
        assert_eq!(proxy.running.counters().counted(retried), 0, "{retried:?}");
    }
    running.abort();
}

#[tokio::test]
async fn who_leaves_after_its_last_word_is_missed_though_the_answer_began_before_that() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&behind(&[instance.address]));
    let client = Client::connect(&proxy).await;
    let post = request("/x").method(Method::POST).header("content-type", "application/grpc");
    let (begins, mut talks) = client.begin(post, false).await;
    let mut server = Server::accept(&instance).await;
    let (mut heard, mut answers) = server.next().await;
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut says = answers.send_response(head, false).unwrap();
    let running = server.run();
    let _begun = within("an answer", begins).await.unwrap();
    talks.send_data(Bytes::from_static(b"last"), true).unwrap();
    assert_eq!(within("data", heard.body_mut().data()).await.unwrap().unwrap(), "last");
    assert!(within("its end", heard.body_mut().data()).await.is_none());
    talks.send_reset(h2::Reason::CANCEL);
    let reset = within("a reset", std::future::poll_fn(|it| says.poll_reset(it))).await;
    assert_eq!(reset.unwrap(), h2::Reason::CANCEL);
    running.abort();
}

/// An instance to which nobody can connect until it has accepted who is there first.
pub(crate) async fn slow() -> (Instance, TcpStream) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let instance = Instance::from_std(socket.into());
    let first = TcpStream::connect(instance.address).await.unwrap();
    (instance, first)
}

#[tokio::test]
async fn a_connection_that_takes_longer_than_its_caller_waits_is_there_for_who_comes_later() {
    let (instance, _first) = slow().await;
    let timeouts = Timeouts { connect: Duration::from_secs(60), ..Timeouts::default() };
    let proxy = Proxy::gateway_with(&behind(&[instance.address]), 1, timeouts);
    let client = Client::connect(&proxy).await;
    let (late, _) = client.begin(call("100m"), true).await;
    assert_eq!(grpc_status(within("an answer", late).await.unwrap().headers()), "4");
    instance.accept().await;
    // Nobody waits for it.
    let mut server = Server::accept(&instance).await;
    let (waits, _) = client.begin(call("1M"), true).await;
    let (_, mut answers) = server.next().await;
    answers.send_response(Response::builder().status(204).body(()).unwrap(), true).unwrap();
    let running = server.run();
    assert_eq!(within("an answer", waits).await.unwrap().status(), 204);
    assert!(proxy.running.unreachable().is_empty());
    running.abort();
}

#[tokio::test]
async fn who_cannot_be_connected_to_is_put_aside_though_its_callers_wait_no_longer_than_that_takes()
{
    let (instance, _first) = slow().await;
    let timeouts = Timeouts { connect: Duration::from_millis(500), ..Timeouts::default() };
    let proxy = Proxy::gateway_with(&behind(&[instance.address]), 1, timeouts);
    let client = Client::connect(&proxy).await;
    let (late, _) = client.begin(call("100m"), true).await;
    assert_eq!(grpc_status(within("an answer", late).await.unwrap().headers()), "4");
    eventually("it to be put aside", async || proxy.running.unreachable() == [instance.address])
        .await;
    proxy.counted(Count::Ejected, 1).await;
}

#[tokio::test]
async fn a_sidecar_says_that_it_is_itself_who_found_a_deadline_to_have_passed() {
    let application = Instance::new().await;
    let sidecar = Proxy::sidecar(&World::new(&[]), None, application.address);
    let client = Client::over(TcpStream::connect(sidecar.inbound()).await.unwrap()).await;
    let (soon, _) = client.begin(call("500m"), true).await;
    let mut server = Server::accept(&application).await;
    let _asked = server.next().await;
    let (later, _) = client.begin(call("4S"), true).await;
    let _asked_too = server.next().await;
    // From here on nothing is heard of it.
    for (waits, said) in [(soon, "late"), (later, "silent")] {
        let told = within("an answer", waits).await.unwrap();
        assert_eq!((grpc_status(told.headers()), told.status().as_u16()), ("4", 200));
        assert_eq!(told.headers()["laneway-refused"], said);
    }
}

#[tokio::test]
async fn a_deadline_that_passes_at_a_sidecar_is_no_answer_of_its_application() {
    for (limit_ms, said, message, is_put_aside) in [
        (None, "late", "the caller's deadline has passed", false),
        (None, "silent", "the caller's deadline has passed", true),
        // The sidecar was told the limit of the route, as if it were the caller's.
        (Some(30_000), "late", "the instance did not answer in time", false),
        (Some(30_000), "silent", "the instance did not answer in time", true),
    ] {
        let instance = Instance::new().await;
        let mut world = behind(&[instance.address]);
        world.routes = vec![("/", "sc-A", Vec::new(), (limit_ms, None))];
        let proxy = Proxy::gateway(&world);
        let client = Client::connect(&proxy).await;
        let mut all = Vec::new();
        for _ in 0..3 {
            all.push(client.begin(call("1M"), true).await.0);
        }
        let mut server = Server::accept(&instance).await;
        for _ in &all {
            let (_, mut answers) = server.next().await;
            let head = Response::builder().header("content-type", "application/grpc");
            let head = head.header("grpc-status", "4").header("laneway-refused", said);
            answers.send_response(head.body(()).unwrap(), true).unwrap();
        }
        let running = server.run();
        for waits in all {
            let told = within("an answer", waits).await.unwrap();
            assert_eq!(grpc_status(told.headers()), "4");
            assert_eq!(told.headers()["grpc-message"], message, "{said}");
            assert!(!told.headers().contains_key("laneway-refused"));
        }
        running.abort();
        assert_eq!(!proxy.running.unreachable().is_empty(), is_put_aside, "{said} {limit_ms:?}");
    }
}

#[tokio::test]
async fn the_limit_of_a_route_and_a_deadline_end_what_has_begun_with_their_status() {
    let instance = Instance::new().await;
    let mut world = behind(&[instance.address]);
    world.routes = vec![("/", "sc-A", Vec::new(), (Some(2_000), None))];
    let proxy = Proxy::gateway(&world);
    let client = Client::connect(&proxy).await;
    // Nothing of an answer's body may be sent to who takes nothing.
    let stream = TcpStream::connect(proxy.address()).await.unwrap();
    let mut settings = h2::client::Builder::new();
    let (mut takes_nothing, connection) =
        settings.initial_window_size(0).handshake::<_, Bytes>(stream).await.unwrap();
    tokio::spawn(connection);
    let (begins, _) = client.begin(call("1M"), true).await;
    let mut server = Server::accept(&instance).await;
    let mut answering = Vec::new();
    let asks = call("2S").body(()).unwrap();
    let (begins_too, _) = takes_nothing.send_request(asks, true).unwrap();
    for _ in 0..2 {
        let (_, mut answers) = server.next().await;
        let head = Response::builder().header("content-type", "application/grpc");
        let mut says = answers.send_response(head.body(()).unwrap(), false).unwrap();
        says.send_data(Bytes::from_static(b"one"), false).unwrap();
        answering.push(says);
    }
    let running = server.run();
    let begun = within("an answer", begins).await.unwrap();
    let begun_too = within("an answer", begins_too).await.unwrap();
    let (data, trailers) = whole(begun.into_body()).await;
    let trailers = trailers.unwrap();
    assert_eq!((data.as_slice(), grpc_status(&trailers)), (&b"one"[..], "4"));
    assert_eq!(trailers["grpc-message"], "the instance did not answer in time");
    let (data, trailers) = whole(begun_too.into_body()).await;
    assert_eq!((data.as_slice(), grpc_status(&trailers.unwrap())), (&b""[..], "4"));
    running.abort();
}

#[tokio::test]
async fn who_asks_again_and_again_for_what_nobody_can_do_in_time_is_as_one_that_resets() {
    let instance = Instance::new().await;
    let proxy = Proxy::gateway(&behind(&[instance.address]));
    let patient = Client::connect(&proxy).await;
    let _first = patient.begin(call("1H"), true).await;
    let mut server = Server::accept(&instance).await;
    // From here on it takes everything and says nothing.
    let _asked = server.next().await;
    // More than a hundred, which is what may be reset at once.
    for _ in 0..3 {
        let mut all = Vec::new();
        for _ in 0..50 {
            all.push(patient.begin(call("100m"), true).await.0);
        }
        for waits in all {
            assert_eq!(grpc_status(within("an answer", waits).await.unwrap().headers()), "4");
        }
    }
    let hasty = Client::connect(&proxy).await;
    let flood = async {
        loop {
            let Ok(mut send) = hasty.send.clone().ready().await else { return };
            let Ok((waits, _)) = send.send_request(call("1m").body(()).unwrap(), true) else {
                return;
            };
            let _ = waits.await;
        }
    };
    within("the end of the connection", flood).await;
    let ended = within("its reason", hasty.connection).await.unwrap().unwrap_err();
    assert_eq!(ended.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));
}
