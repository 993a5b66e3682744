//! Chains of sample applications without any proxy between them, and one that is a proxy.

use super::*;

async fn start(
    name: &str,
    tag: &str,
    next: Option<String>,
    proxy: Option<SocketAddr>,
) -> SocketAddr {
    let application = Application {
        name: name.to_owned(),
        tag: tag.to_owned(),
        config: (name == "A").then(|| "base".to_owned()),
        listen: "127.0.0.1:0".parse().unwrap(),
        next: next.map(|next| next.parse().unwrap()),
        proxy,
    };
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::spawn(serve(application, |address| tell.send(address).unwrap()));
    told.await.unwrap()
}

async fn get(
    address: SocketAddr,
    path: &str,
    headers: &[(&'static str, &'static str)],
) -> (u16, String) {
    let client: Caller = Client::builder(TokioExecutor::new()).build(ThroughProxy::new(None));
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = format!("http://{address}{path}").parse().unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    let response = client.request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_chain_names_every_hop() {
    let c = start("C", "gray", None, None).await;
    let b = start("B", "", Some(format!("http://{c}/c")), None).await;
    let a = start("A", "gray", Some(format!("http://{b}/b")), None).await;
    let expected = "Agray[127.0.0.1][config=base] -> B[127.0.0.1] -> Cgray[127.0.0.1]";
    assert_eq!(get(a, "/a", &[]).await, (200, expected.to_owned()));
    assert_eq!(get(a, "/b", &[]).await, (404, "A answers /a only".to_owned()));
}

/// Answers with the request it got, as a proxy that refuses would with an error.
async fn mirror() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(async |request: Request<Incoming>| {
                let mut headers: Vec<_> = request
                    .headers()
                    .iter()
                    .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
                    .collect();
                headers.sort();
                let mut response = Response::new(Full::<Bytes>::from(format!(
                    "{} {}",
                    request.uri(),
                    headers.join(" ")
                )));
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                Ok::<_, Infallible>(response)
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    address
}

#[tokio::test]
async fn it_calls_through_its_proxy_and_forwards_baggage_and_traceparent_alone() {
    let proxy = mirror().await;
    let a = start("A", "", Some("http://sc-B/b".to_owned()), Some(proxy)).await;
    let headers =
        [("baggage", "lane.trade=gray"), ("traceparent", "00-1-2-03"), ("canary", "gray")];
    let (status, text) = get(a, "/a", &headers).await;
    assert_eq!(status, 502);
    assert_eq!(
        text,
        "A[127.0.0.1][config=base] -> sc-B answers 503: \
         http://sc-B/b baggage=lane.trade=gray host=sc-B traceparent=00-1-2-03"
    );
}

#[tokio::test]
async fn a_next_hop_that_cannot_be_reached_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let a = start("A", "", Some("http://sc-B/b".to_owned()), Some(nobody)).await;
    let (status, text) = get(a, "/a", &[]).await;
    assert_eq!(status, 502);
    assert!(text.starts_with("A[127.0.0.1][config=base] -> sc-B cannot be called: "), "{text}");
}
