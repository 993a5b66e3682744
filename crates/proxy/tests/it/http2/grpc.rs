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
    for _ in 0..4 {
        let post = request("/x").method(Method::POST).header("content-type", "application/grpc");
        let (head, body) = client.ask(post).await;
        assert_eq!((head.status().as_u16(), body.as_slice()), (200, &b"other /x "[..]));
    }
    gateway.counted(Count::RetriedUnreachable, 1).await;
}
