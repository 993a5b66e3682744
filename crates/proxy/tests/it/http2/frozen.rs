//! Applications that speak gRPC and freeze, and those that only have nothing to say: the first are put aside though their
//! sidecars live, the second never.

use lanes::service::Protocol;
use proxy::limits::Timeouts;
use tokio::net::TcpSocket;

use super::{
    grpc::{call, grpc_status},
    instances::{Asked, Server, behind, serve},
    *,
};
use crate::world::own_port;

/// Three calls that an instance has, of which nothing is heard from then on.
async fn three_in_vain(
    client: &Client,
    instance: &Instance,
    call: impl Fn() -> http::request::Builder,
) -> (Vec<ResponseFuture>, (Server, Vec<Asked>)) {
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(client.begin(call(), true).await.0);
    }
    let (mut server, mut asked) = (Server::accept(instance).await, Vec::new());
    for _ in &all {
        asked.push(server.next().await);
    }
    (all, (server, asked))
}

#[tokio::test]
async fn an_application_that_freezes_behind_a_living_sidecar_is_put_aside_and_its_lane_serves() {
    let (frozen, base) = (Instance::new().await, nobody().await);
    let mut world = behind(&[]);
    world.groups = vec![group(gateway_entrance(), &["a"], Fallback::Strict)];
    let sidecar = Proxy::sidecar(&world, Some("gray"), frozen.address);
    let inbound = sidecar.inbound();
    let in_lane = |timeout| call(timeout).header("baggage", "lane.trade=gray");
    // Callers that end their calls a moment before the sidecar could say anything: by leaving.
    let first = Client::over(TcpStream::connect(inbound).await.unwrap()).await;
    let (all, frozen_with) = three_in_vain(&first, &frozen, || in_lane("1H")).await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    drop(all);
    eventually("the sidecar to know", async || sidecar.running.unreachable() == [frozen.address])
        .await;
    // Whoever comes now is told at once, but for one a second, who tries it.
    let client = Client::over(TcpStream::connect(inbound).await.unwrap()).await;
    eventually("a refusal", async || {
        let (waits, _) = client.begin(in_lane("1S"), true).await;
        let told = within("an answer", waits).await.unwrap();
        let says = told.headers().get("laneway-refused").map(|it| it.to_str().unwrap());
        match (grpc_status(told.headers()), says) {
            ("14", Some("unreachable")) => true,
            ("4", _) => false,
            other => panic!("{other:?}"),
        }
    })
    .await;
    // A gateway that has never called it chooses another instance of the lane, for calls that nobody may send twice.
    let other = serve(Instance::new().await, "other");
    world.listeners[0].trusted = true;
    let tagged = |address| (address, Some("gray"));
    world.services[0].2 = vec![tagged(inbound), tagged(other), (base, None)];
    let gateway = Proxy::gateway(&world);
    let client = Client::connect(&gateway).await;
    let mut tried = 0;
    eventually("the frozen one to be chosen first", async || {
        let (waits, _) = client.begin(in_lane("1S").header("canary", "gray"), true).await;
        let answer = within("an answer", waits).await.unwrap();
        match answer.headers().contains_key("grpc-status") {
            true => tried += 1,
            false => assert!(whole(answer.into_body()).await.0.starts_with(b"other /x ")),
        }
        gateway.running.counters().counted(Count::RetriedUnreachable) > 0
    })
    .await;
    assert!(tried <= 9, "one a second tries it, not more: {tried}");
    // It goes on: the next that tries it finds it.
    drop(frozen_with);
    serve(frozen, "thawed");
    let client = Client::over(TcpStream::connect(inbound).await.unwrap()).await;
    eventually("it to be found again", async || {
        let (waits, _) = client.begin(in_lane("1S"), true).await;
        let answer = within("an answer", waits).await.unwrap();
        !answer.headers().contains_key("grpc-status")
    })
    .await;
    assert!(sidecar.running.unreachable().is_empty());
}

#[tokio::test]
async fn a_subscription_that_a_route_ends_is_held_against_a_frozen_instance_and_no_other() {
    for (lives, limit_ms) in [(true, 400), (true, 2_500), (false, 400), (false, 2_500)] {
        let instance = Instance::new().await;
        let mut world = behind(&[instance.address]);
        world.routes = vec![("/", "sc-A", Vec::new(), (None, Some(limit_ms)))];
        let proxy = Proxy::gateway(&world);
        let client = Client::connect(&proxy).await;
        if lives {
            let (warm, _) = client.begin(call("1H"), true).await;
            let mut server = Server::accept(&instance).await;
            let mut kept = vec![server.next().await];
            // It answers PINGs, and has nothing to say to those who ask for more.
            let running = tokio::spawn(async move {
                loop {
                    kept.push(server.next_if_any().await);
                }
            });
            let mut all = vec![warm];
            for _ in 0..4 {
                all.push(client.begin(call("1H"), true).await.0);
            }
            for waits in all {
                let told = within("an answer", waits).await.unwrap();
                assert_eq!(grpc_status(told.headers()), "4", "{limit_ms}");
            }
            running.abort();
        } else {
            let (all, _frozen) = three_in_vain(&client, &instance, || call("1H")).await;
            for waits in all {
                let told = within("an answer", waits).await.unwrap();
                assert_eq!(grpc_status(told.headers()), "4", "{limit_ms}");
            }
        }
        let is_put_aside = !proxy.running.unreachable().is_empty();
        assert_eq!(is_put_aside, !lives, "{limit_ms}");
    }
}

#[tokio::test]
async fn a_route_that_allows_little_time_does_not_hide_an_application_that_is_frozen() {
    for (limit_ms, timeout) in [(400, None), (1_000, Some("1H")), (1_000, None)] {
        let frozen = Instance::new().await;
        let sidecar = Proxy::sidecar(&behind(&[]), None, frozen.address);
        let mut world = behind(&[sidecar.inbound()]);
        world.routes = vec![("/", "sc-A", Vec::new(), (None, Some(limit_ms)))];
        let gateway = Proxy::gateway(&world);
        let client = Client::connect(&gateway).await;
        let calls = || match timeout {
            Some(timeout) => call(timeout),
            None => {
                let post = request("/x").method(Method::POST).header("te", "trailers");
                post.header("content-type", "application/grpc")
            }
        };
        let (all, _frozen) = three_in_vain(&client, &frozen, calls).await;
        for waits in all {
            assert_eq!(grpc_status(within("an answer", waits).await.unwrap().headers()), "4");
        }
        eventually("the sidecar to know", async || {
            let (waits, _) = client.begin(calls(), true).await;
            within("an answer", waits).await.unwrap();
            sidecar.running.unreachable() == [frozen.address]
        })
        .await;
    }
}

#[tokio::test]
async fn an_application_that_gives_a_sign_of_life_is_not_refused_though_it_answers_nobody() {
    let frozen = Instance::new().await;
    let sidecar = Proxy::sidecar(&behind(&[]), None, frozen.address);
    let client = Client::over(TcpStream::connect(sidecar.inbound()).await.unwrap()).await;
    let (all, frozen_with) = three_in_vain(&client, &frozen, || call("3S")).await;
    for waits in all {
        assert_eq!(grpc_status(within("an answer", waits).await.unwrap().headers()), "4");
    }
    eventually("the sidecar to know", async || sidecar.running.unreachable() == [frozen.address])
        .await;
    drop(frozen_with);
    // It says that it is there to whoever tries it, and no more.
    let trying = client.begin(call("1H"), true).await;
    let (mut server, mut asked) = (None, Vec::new());
    let refused = async {
        let (mut waits, _) = trying;
        loop {
            tokio::select! {
                told = &mut waits => {
                    let told = within("an answer", async { told }).await.unwrap();
                    assert_eq!(grpc_status(told.headers()), "14");
                    waits = client.begin(call("1H"), true).await.0;
                }
                accepted = Server::accept(&frozen) => return (waits, accepted),
            }
        }
    };
    let (waits, mut accepted) = within("somebody to try it", refused).await;
    asked.push(accepted.next().await);
    server.replace(accepted.run());
    eventually("it to be heard", async || sidecar.running.unreachable().is_empty()).await;
    drop(waits);
    server.unwrap().abort();
}

/// How long a sign of life may be due.
const SIGN_OF_LIFE: Duration = Duration::from_millis(400);

fn impatient() -> Timeouts {
    Timeouts { sign_of_life: SIGN_OF_LIFE, ..Timeouts::default() }
}

/// A call whose caller waits for ever.
fn patient() -> http::request::Builder {
    let post = request("/x").method(Method::POST).header("te", "trailers");
    post.header("content-type", "application/grpc")
}

/// A sidecar that is impatient with its application.
fn impatient_sidecar(application: std::net::SocketAddr) -> Proxy {
    let mut config = Proxy::beside(None, vec![own_port("sc-A", Protocol::Http, application)]);
    config.timeouts = impatient();
    Proxy::sidecar_with(&behind(&[]), config)
}

#[tokio::test]
async fn callers_that_would_wait_for_ever_are_freed_from_an_application_that_is_frozen() {
    let frozen = Instance::new().await;
    let sidecar = impatient_sidecar(frozen.address);
    let client = Client::over(TcpStream::connect(sidecar.inbound()).await.unwrap()).await;
    // Of one nobody knows yet what else it will say.
    let (whole, _) = client.begin(patient(), true).await;
    let (open, _says) = client.begin(patient(), false).await;
    let (mut server, mut asked) = (Server::accept(&frozen).await, Vec::new());
    for _ in 0..2 {
        asked.push(server.next().await);
    }
    for waits in [whole, open] {
        let told = within("an answer", waits).await.unwrap();
        assert_eq!(grpc_status(told.headers()), "14");
        assert_eq!(told.headers()["laneway-refused"], "unanswered");
        let message = told.headers()["grpc-message"].to_str().unwrap();
        assert_eq!(message, "the application has the request and gives no sign of life any more");
    }
    // It is put aside at once: whoever comes now has not been handed to it, and may go elsewhere.
    assert_eq!(sidecar.running.unreachable(), [frozen.address]);
    let (waits, _) = client.begin(patient(), true).await;
    let told = within("an answer", waits).await.unwrap();
    assert_eq!(told.headers()["laneway-refused"], "unreachable");
    eventually("one connection to be counted", async || {
        sidecar.running.counters().counted(Count::Freed) == 1
    })
    .await;
}

#[tokio::test]
async fn callers_are_freed_too_on_a_connection_whose_opener_has_left_before_it_was_there() {
    // Nobody else is let in until whoever waits is taken in.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap().into_std().unwrap();
    let frozen = Instance::from_std(listener);
    let _waiting = TcpStream::connect(frozen.address).await.unwrap();
    let sidecar = impatient_sidecar(frozen.address);
    let client = Client::over(TcpStream::connect(sidecar.inbound()).await.unwrap()).await;
    let (opener, _) = client.begin(call("100m"), true).await;
    let told = within("an answer", opener).await.unwrap();
    assert_eq!(grpc_status(told.headers()), "4");
    let _waiting = frozen.accept().await;
    let mut server = Server::accept(&frozen).await;
    let (waits, _) = client.begin(patient(), true).await;
    let _asked = server.next().await;
    let told = within("an answer", waits).await.unwrap();
    assert_eq!(grpc_status(told.headers()), "14");
    assert_eq!(told.headers()["laneway-refused"], "unanswered");
    assert_eq!(sidecar.running.unreachable(), [frozen.address]);
}

#[tokio::test]
async fn calls_at_an_application_that_only_gives_signs_of_life_wait_on() {
    let slow = Instance::new().await;
    let sidecar = impatient_sidecar(slow.address);
    let client = Client::over(TcpStream::connect(sidecar.inbound()).await.unwrap()).await;
    let (mut silent, _) = client.begin(patient(), true).await;
    let (streamed, _) = client.begin(patient(), true).await;
    let mut server = Server::accept(&slow).await;
    let (_, mut answers) = server.next().await;
    let (_, mut streams) = server.next().await;
    // It says something now and then, and answers every PING.
    let head = || Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut says = streams.send_response(head(), false).unwrap();
    says.send_data(Bytes::from_static(b"one"), false).unwrap();
    let running = server.run();
    let mut heard = within("an answer", streamed).await.unwrap().into_body();
    assert_eq!(within("data", heard.data()).await.unwrap().unwrap(), "one");
    let long = SIGN_OF_LIFE * 6 + Duration::from_secs(1);
    assert!(tokio::time::timeout(long, &mut silent).await.is_err(), "it waits on");
    assert!(sidecar.running.unreachable().is_empty());
    // Both are answered as if nothing was.
    says.send_data(Bytes::from_static(b"two"), true).unwrap();
    assert_eq!(within("data", heard.data()).await.unwrap().unwrap(), "two");
    answers.send_response(head(), true).unwrap();
    assert_eq!(within("an answer", silent).await.unwrap().status(), 200);
    assert_eq!(sidecar.running.counters().counted(Count::Freed), 0);
    running.abort();
}

#[tokio::test]
async fn a_frozen_instance_without_a_sidecar_is_put_aside_though_its_callers_would_wait_for_ever() {
    let (frozen, other) = (Instance::new().await, Instance::new().await);
    let world = behind(&[frozen.address, other.address]);
    let gateway = Proxy::gateway_with(&world, 1, impatient());
    serve(other, "other");
    let client = Client::connect(&gateway).await;
    let mut frozen_with = Vec::new();
    let (waits, _) = eventually_at(&client, &frozen, &mut frozen_with).await;
    let told = within("an answer", waits).await.unwrap();
    assert_eq!(grpc_status(told.headers()), "14");
    let message = told.headers()["grpc-message"].to_str().unwrap();
    assert_eq!(message, "the instance gave no sign of life any more before it answered");
    assert_eq!(gateway.running.unreachable(), [frozen.address]);
    for _ in 0..2 {
        let (waits, _) = client.begin(patient(), true).await;
        let answer = within("an answer", waits).await.unwrap();
        assert!(whole(answer.into_body()).await.0.starts_with(b"other /x "));
    }
}

/// A call that the frozen one of two instances has; those before it had the other.
async fn eventually_at(
    client: &Client,
    frozen: &Instance,
    frozen_with: &mut Vec<(Server, Asked)>,
) -> (ResponseFuture, h2::SendStream<Bytes>) {
    loop {
        let (mut waits, says) = client.begin(patient(), true).await;
        tokio::select! {
            answer = &mut waits => assert_eq!(answer.unwrap().status(), 200),
            mut server = Server::accept(frozen) => {
                let asked = server.next().await;
                frozen_with.push((server, asked));
                return (waits, says);
            }
        }
    }
}
