//! What is refused, with which words; and what the defaults are.

use clap::{Args as _, Command, FromArgMatches as _};

use super::*;

fn origins() -> Origins {
    Origins::from([("threads".to_owned(), "LANEWAY_THREADS".to_owned())])
}

fn process() -> raw::Process {
    raw::Process {
        config: None,
        data: Some("/tmp/d".into()),
        log_level: "info".into(),
        log_format: "text".into(),
        allowed_hosts: String::new(),
        drain_seconds: "25".into(),
    }
}

fn sidecar() -> raw::Sidecar {
    raw::Sidecar {
        process: process(),
        connect: raw::Connect { control: Some("127.0.0.1:7601".into()), control_ca: None },
        join: raw::Join { join_token_file: None },
        shared_data: Some("none".into()),
        application: Some("spring-cloud-a".into()),
        service: None,
        service_namespace: "default".into(),
        app_address: vec!["127.0.0.1:8080".into()],
        health_path: None,
        advertise: Vec::new(),
        tag: None,
        weight: "1".into(),
        outbound_listen: "127.0.0.1:0".into(),
        inbound_listen: "127.0.0.1:0".into(),
        lame_duck_seconds: "0".into(),
        forbid_destinations: "10.1.0.0/16, fd00::1".into(),
        refuse_unread: "false".into(),
        admin: raw::Admin { admin_listen: "127.0.0.1:0".into() },
        capture: "false".into(),
        capture_ipv6: "true".into(),
        exclusions: raw::CaptureExclusions {
            capture_exclude_outbound_ports: "3306, 6379".into(),
            capture_exclude_destinations: "10.0.0.0/8".into(),
            capture_exclude_inbound_ports: String::new(),
        },
        correlation: raw::Correlation { correlation_headers: "traceparent,x-request-id".into() },
        workers: raw::Workers { threads: "0".into(), takeover: "false".into() },
        limits: limits(),
        observers: observers(),
    }
}

/// The same.
fn observers() -> raw::Observers {
    let command = raw::Observers::augment_args(Command::new("observers"));
    raw::Observers::from_arg_matches(&command.get_matches_from(["observers"])).unwrap()
}

/// As they are when nobody says anything.
fn limits() -> raw::Limits {
    let command = raw::Limits::augment_args(Command::new("limits"));
    raw::Limits::from_arg_matches(&command.get_matches_from(["limits"])).unwrap()
}

#[test]
fn the_proxys_own_limits_are_the_defaults_but_for_a_sidecar_whose_caller_decides() {
    let origins = origins();
    let gateway = Checker::new(&origins).limits(&limits(), &Timeouts::default()).unwrap();
    assert_eq!(gateway, Limits { connections_max: None, timeouts: Timeouts::default() });
    let beside = sidecar().check(&origins).unwrap().limits;
    let unlimited = Timeouts { backend: UNLIMITED, request: UNLIMITED, ..Timeouts::default() };
    assert_eq!(beside, Limits { connections_max: None, timeouts: unlimited });

    let mut raw = limits();
    raw.answer_timeout_seconds = Some("5".into());
    raw.request_timeout_seconds = Some("0".into());
    raw.sign_of_life_timeout_seconds = "0".into();
    let said = Checker::new(&origins).limits(&raw, &Timeouts::default()).unwrap().timeouts;
    assert_eq!((said.backend, said.request), (Duration::from_secs(5), UNLIMITED));
    assert_eq!(said.sign_of_life, UNLIMITED);
}

#[test]
fn an_access_log_is_written_where_it_is_said_and_not_otherwise() {
    let written = |text: Option<&str>| {
        let mut raw = sidecar();
        raw.observers.access_log = text.map(str::to_owned);
        raw.observers.access_log_megabytes = "2".into();
        raw.check(&origins()).unwrap().observers.access_log
    };
    let nobody = Observers { access_log: None, traces: None };
    assert_eq!(sidecar().check(&origins()).unwrap().observers, nobody);
    assert_eq!(written(Some("-")).unwrap().path, None);
    let path = Some("/var/log/laneway/access.log".into());
    let expected = AccessLogConfig { path, file_bytes_max: 2_000_000, files_max: 5 };
    assert_eq!(written(Some("/var/log/laneway/access.log")), Some(expected));
}

#[test]
fn spans_are_sent_where_it_is_said_and_not_otherwise() {
    let sent = |endpoint: &str, percent: &str| {
        let mut raw = sidecar();
        raw.observers.otlp_endpoint = Some(endpoint.to_owned());
        raw.observers.otlp_root_percent = percent.to_owned();
        raw.check(&origins()).unwrap().observers.traces
    };
    let (collector, sampler) = sent("http://collector:4318/", "12.5").unwrap();
    assert_eq!(collector.endpoint.to_string(), "http://collector:4318/v1/traces");
    assert_eq!(sampler, RootSampler::of_hundredths(1250));
    assert_eq!(sent("http://[::1]:4318", "0.07").unwrap().1, RootSampler::of_hundredths(7));
    for bad in ["c:4318", "http://", "", "http://user:secret@c", "http://c/?x"] {
        let expected = format!("otlp-endpoint: `{bad}`: name the URL");
        check(|raw| raw.observers.otlp_endpoint = Some(bad.to_owned()), &[&expected]);
    }
    for bad in ["100.01", "-1", "1.234", "", ".", "many"] {
        let expected = format!("otlp-root-percent: `{bad}`: use a number from 0 to 100");
        check(|raw| raw.observers.otlp_root_percent = bad.to_owned(), &[&expected]);
    }
}

#[test]
fn a_collector_is_reached_as_it_is_said_and_what_it_is_shown_is_shown_to_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let (headers, empty) = (path("headers", "authorization=s3cr3t\n"), path("empty", "\n"));
    let mut raw = sidecar();
    raw.observers.otlp_endpoint = Some("http://collector:4317".to_owned());
    raw.observers.otlp_protocol = "grpc".to_owned();
    raw.observers.otlp_headers_file = Some(headers.clone());
    let (collector, _) = raw.check(&origins()).unwrap().observers.traces.unwrap();
    assert_eq!(collector.endpoint.to_string(), "http://collector:4317/");
    assert_eq!(
        collector.headers,
        telemetry::traces::Headers::parse("authorization=s3cr3t").unwrap()
    );
    assert!(!format!("{collector:?}").contains("s3cr3t"));
    let refused = |change: &dyn Fn(&mut raw::Observers), expected: &str| {
        let change = |raw: &mut raw::Sidecar| {
            raw.observers.otlp_endpoint = Some("https://collector".to_owned());
            change(&mut raw.observers);
        };
        check(change, &[expected]);
        let mut raw = sidecar();
        change(&mut raw);
        assert!(!raw.check(&origins()).unwrap_err().to_string().contains("s3cr3t"));
    };
    refused(
        &|raw| raw.otlp_protocol = "http/json".into(),
        "otlp-protocol: `http/json`: use http/protobuf or grpc",
    );
    refused(&|raw| raw.otlp_ca_file = Some(empty.clone()), "name a file with certificates in PEM");
    refused(&|raw| raw.otlp_headers_file = Some(empty.clone()), "write name=value into it");
    refused(
        &|raw| raw.otlp_headers = Some("s3cr3t".into()),
        "otlp-headers: `***`: write name=value",
    );
    refused(
        &|raw| raw.otlp_headers_file = Some("/no/such".into()),
        "otlp-headers-file: `/no/such`: name a file",
    );
    refused(
        &|raw| {
            raw.otlp_headers = Some("a=s3cr3t".into());
            raw.otlp_headers_file = Some(headers.clone());
        },
        "say the headers once",
    );
    refused(
        &|raw| {
            raw.otlp_endpoint = None;
            raw.otlp_headers = Some("a=s3cr3t".into());
        },
        "otlp-headers: `***`: name the collector that it is for",
    );
    let mut raw = sidecar();
    raw.observers.otlp_endpoint = Some("http://collector".to_owned());
    raw.observers.otlp_headers = Some("a=s3cr3t".into());
    assert!(raw.clone().check(&origins()).is_ok());
    let seen = Origins::from([("otlp-headers".to_owned(), "--otlp-headers".to_owned())]);
    let bad = raw.check(&seen).unwrap_err().to_string();
    assert!(bad.contains("LANEWAY_OTLP_HEADERS") && !bad.contains("s3cr3t"), "{bad}");
}

#[test]
fn an_access_log_that_cannot_be_is_refused() {
    check(
        |raw| raw.observers.access_log = Some("/var/log/".into()),
        &["access-log: `/var/log/`: name a file"],
    );
    check(
        |raw| raw.observers.access_log_megabytes = "0".into(),
        &["access-log-megabytes: `0`: use a whole number from 1 to"],
    );
    check(|raw| raw.observers.access_log_files = "many".into(), &["access-log-files: `many`"]);
}

#[track_caller]
fn check(change: impl FnOnce(&mut raw::Sidecar), expected: &[&str]) {
    let mut raw = sidecar();
    change(&mut raw);
    let problems = raw.check(&origins()).map_or_else(|bad| bad.0, |_| Vec::new());
    let words: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(words.len(), expected.len(), "{words:?}");
    for (word, expected) in words.iter().zip(expected) {
        assert!(word.contains(expected), "{word:?} lacks {expected:?}");
    }
}

#[test]
fn what_is_written_well_is_taken() {
    check(|_| {}, &[]);
    check(|raw| raw.connect.control = Some("laneway.mesh:7601".into()), &[]);
    check(|raw| raw.connect.control = Some("[::1]:7601".into()), &[]);
    check(|raw| raw.app_address = vec!["localhost:8080".into()], &[]);
}

#[test]
fn every_problem_is_told_with_key_value_and_remedy() {
    check(
        |raw| {
            raw.application = None;
            raw.weight = "heavy".into();
            raw.workers.threads = "1025".into();
        },
        &[
            "application: ``: name the application",
            "weight: `heavy`: use a whole number",
            "threads: `1025` (from LANEWAY_THREADS): use a whole number from 0 to 1024",
        ],
    );
    check(|raw| raw.process.log_level = "loud".into(), &["log-level: `loud`: use error, warn"]);
    check(|raw| raw.process.log_format = "xml".into(), &["log-format: `xml`: use text or json"]);
    check(|raw| raw.connect.control = Some("7601".into()), &["control: `7601`: name the control"]);
    check(|raw| raw.connect.control = Some("host:0".into()), &["control: `host:0`"]);
    check(|raw| raw.connect.control = None, &["(or LANEWAY_CONTROL, or `control:` in the file)"]);
    check(|raw| raw.app_address = vec!["127.0.0.1:0".into()], &["app-address: `127.0.0.1:0`"]);
    check(|raw| raw.app_address = Vec::new(), &["app-address: ``: say where the application"]);
    check(|raw| raw.inbound_listen = "here".into(), &["inbound-listen: `here`: use an address"]);
    check(|raw| raw.capture = "maybe".into(), &["capture: `maybe`: use true or false"]);
    check(|raw| raw.service = Some("a/b".into()), &["service: `a/b`: use 1 to 253"]);
    check(|raw| raw.process.data = Some(String::new()), &["data: ``: name a directory"]);
}

#[test]
fn an_instance_may_have_several_addresses() {
    let mut raw = sidecar();
    raw.app_address = vec!["10.0.0.5:8080".into(), "[fd00::5]:8080".into()];
    raw.advertise = vec!["10.0.0.5:15006  [fd00::5]:15006".into()];
    let settings = raw.check(&origins()).unwrap();
    let texts =
        |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&settings.ports[0].addresses), ["10.0.0.5:8080", "[fd00::5]:8080"]);
    assert_eq!(texts(&settings.advertise), ["10.0.0.5:15006", "[fd00::5]:15006"]);
    check(|raw| raw.advertise = vec!["10.0.0.5:1,[fd00::5]:1".into()], &[]);
    check(
        |raw| raw.advertise = vec!["10.0.0.5:1".into(), "here".into(), "10.0.0.5:1".into()],
        &["advertise: `here`: use a host", "advertise: `10.0.0.5:1`: say each address once"],
    );
    check(
        |raw| raw.advertise = vec!["10.0.0.5:1 [::ffff:10.0.0.5]:1".into()],
        &["advertise: `[::ffff:10.0.0.5]:1`: say each address once"],
    );
    let many = (1..=17).map(|host| format!("10.0.0.{host}:80")).collect();
    check(|raw| raw.app_address = many, &["use at most 16 addresses"]);
}

/// The ports that these addresses are, in words.
fn ports(service: Option<&str>, written: &[&str]) -> Vec<String> {
    let mut raw = sidecar();
    raw.service = service.map(str::to_owned);
    raw.app_address = written.iter().copied().map(str::to_owned).collect();
    let ports = raw.check(&origins()).unwrap().ports;
    let words = |port: &Port| {
        let at: Vec<String> = port.addresses.iter().map(ToString::to_string).collect();
        format!("{} {} {}", port.service, port.protocol.as_str(), at.join(" "))
    };
    ports.iter().map(words).collect()
}

#[test]
fn each_port_of_an_application_is_a_service() {
    let tcp = "10.0.0.5:20880,service=dubbo-b,protocol=tcp";
    assert_eq!(ports(None, &["10.0.0.5:80"]), ["spring-cloud-a http 10.0.0.5:80"]);
    assert_eq!(ports(Some("sc-A"), &["10.0.0.5:80,protocol=tcp"]), ["sc-A tcp 10.0.0.5:80"]);
    let two = ["sc-A http 10.0.0.5:80", "dubbo-b tcp 10.0.0.5:20880"];
    assert_eq!(ports(Some("sc-A"), &["10.0.0.5:80", tcp]), two);
    assert_eq!(ports(Some("sc-A"), &[tcp, "10.0.0.5:80"]), two, "that without is first");
    assert_eq!(ports(Some("sc-A"), &[&format!("10.0.0.5:80 {tcp}")]), two, "the environment");
    assert_eq!(ports(Some("sc-A"), &[&format!("10.0.0.5:80,{tcp}")]), two);
    assert_eq!(ports(Some("SC-a"), &[tcp, "10.0.0.5:80,service=sc-A"])[0], "SC-a http 10.0.0.5:80");
    assert_eq!(ports(None, &[tcp, "10.0.0.5:80,service=b"])[0], "dubbo-b tcp 10.0.0.5:20880");
    assert_eq!(
        ports(None, &["10.0.0.5:80", "[fd00::5]:20880", tcp, "[fd00::5]:80"]),
        [
            "spring-cloud-a http 10.0.0.5:80 [fd00::5]:80",
            "dubbo-b tcp [fd00::5]:20880 10.0.0.5:20880"
        ],
        "one number is one port"
    );
}

#[test]
fn what_is_no_port_is_refused_with_what_is_right() {
    let with = |written: &[&str], words: &str| {
        let texts = written.iter().copied().map(str::to_owned).collect();
        check(|raw| raw.app_address = texts, &[&format!("app-address: {words}")]);
    };
    let named = |what: &str| format!("10.0.0.5:81,{what}");
    with(
        &["10.0.0.5:80", "10.0.0.5:81"],
        "`10.0.0.5:81`: name the service of port 81, e.g. 10.0.0.5:81,service=",
    );
    with(&["10.0.0.5:80", &named("service=a/b")], "`a/b`: use 1 to 253");
    with(&["10.0.0.5:80", &named("service=")], "``: use 1 to 253");
    with(&["10.0.0.5:80", &named("port=x")], "`port=x`: say service=NAME and protocol=");
    with(&["10.0.0.5:80", &named("service=b,service=c")], "`service=c`: say it once");
    with(&["10.0.0.5:80", "service=b"], "`service=b`: write it behind its address");
    with(&["10.0.0.5:80", "10.0.0.5:81 protocol=tcp"], "`protocol=tcp`: write it behind");
    with(
        &["10.0.0.5:80", &named("service=b"), "10.0.0.6:81,service=c"],
        "`10.0.0.6:81`: say the same service and protocol at every",
    );
    with(
        &["10.0.0.5:80", &named("service=b"), "10.0.0.5:82,service=B"],
        "`10.0.0.5:82`: name another service than B, whose port is 81",
    );
    with(
        &["10.0.0.5:80", &named("service=b"), "10.0.0.5:81"],
        "`10.0.0.5:81`: say each address once",
    );
    for (protocol, words) in [
        ("grpc", "use protocol=http: HTTP/2 in the clear"),
        ("h2c", "use protocol=http: HTTP/2 in the clear"),
        ("dubbo", "use protocol=http, of which sidecars that capture read Dubbo's own protocol"),
        ("tls", "use protocol=tcp: what is encrypted passes unread"),
        ("HTTPS", "use protocol=tcp: what is encrypted passes unread"),
        ("HTTP", "use protocol=http"),
        ("udp", "use protocol=http, of which each request is read, or protocol=tcp"),
        ("", "use protocol=http, of which each request is read, or protocol=tcp"),
    ] {
        let written = named(&format!("service=b,protocol={protocol}"));
        with(&["10.0.0.5:80", &written], &format!("`protocol={protocol}`: {words}"));
    }
    let many: Vec<String> = (1..=17).map(|it| format!("10.0.0.5:{it},service=s{it}")).collect();
    with(
        &many.iter().map(String::as_str).collect::<Vec<_>>(),
        &format!("`{}`: use at most 16 ports", many.join(" ")),
    );
    check(
        |raw| {
            raw.service = Some("sc-A".into());
            raw.app_address = vec!["10.0.0.5:81,service=b".into()];
        },
        &["app-address: `10.0.0.5:81`: write one address without service=: it is that of sc-A"],
    );
}

#[test]
fn correlation_headers_are_a_list() {
    let settings = sidecar().check(&origins()).unwrap();
    assert_eq!(settings.correlation_headers, CorrelationHeaders::default());
    check(|raw| raw.correlation.correlation_headers = "b3, X-B3-TraceId".into(), &[]);
    check(
        |raw| raw.correlation.correlation_headers = "b3,request id".into(),
        &[
            "correlation-headers: `b3,request id`: correlation header `request id`: is no header name",
        ],
    );
    check(|raw| raw.correlation.correlation_headers = ",".into(), &["the list is empty"]);
}

#[test]
fn a_capturing_sidecar_listens_where_captured_connections_arrive() {
    check(
        |raw| {
            raw.capture = "true".into();
            raw.outbound_listen = "127.0.0.2:15001".into();
        },
        &[
            "outbound-listen: `127.0.0.2:15001`: captured connections arrive at 127.0.0.1",
            "inbound-listen: `127.0.0.1:0`: captured connections arrive at the addresses of this host",
        ],
    );
}

#[test]
fn exclusions_are_lists() {
    let settings = sidecar().check(&origins()).unwrap();
    assert_eq!(settings.exclusions.outbound_ports, [3306, 6379]);
    assert_eq!(settings.exclusions.destinations.len(), 1);
    assert_eq!(settings.exclusions.inbound_ports, [0; 0]);
    assert_eq!(settings.forbid_destinations.len(), 2);
    check(|raw| raw.refuse_unread = "tls".into(), &["refuse-unread: `tls`: use true or false"]);
    check(
        |raw| raw.forbid_destinations = "everything".into(),
        &["forbid-destinations: `everything`: use addresses or ranges"],
    );
    check(
        |raw| raw.exclusions.capture_exclude_destinations = "10.0.0.0/8,here".into(),
        &["capture-exclude-destinations: `10.0.0.0/8,here`: use addresses or ranges"],
    );
}

#[test]
fn a_sidecar_that_listens_everywhere_must_say_where_it_is_reached() {
    check(|raw| raw.inbound_listen = "0.0.0.0:15006".into(), &["advertise: ``: say where"]);
    check(
        |raw| {
            raw.inbound_listen = "0.0.0.0:15006".into();
            raw.advertise = vec!["10.0.0.7:15006".into()];
        },
        &[],
    );
}

#[test]
fn the_service_is_called_like_the_application_unless_told() {
    let settings = sidecar().check(&origins()).unwrap();
    assert_eq!(settings.ports[0].service, "spring-cloud-a");
    assert_eq!(settings.workers.threads, 1);
}

#[test]
fn a_discovery_listener_off_loopback_needs_a_join_token() {
    let raw = raw::Control {
        process: process(),
        control: raw::ControlPlane {
            resources: None,
            key_file: None,
            prometheus_url: None,
            prometheus_matchers: String::new(),
            prometheus_token_file: None,
            prometheus_ca_file: None,
            api_listen: "127.0.0.1:0".into(),
            api_auth: "token".into(),
            admin_password_file: None,
            api_plain_text: "false".into(),
            discovery_listen: "0.0.0.0:7601".into(),
            discovery_plain_text: "true".into(),
            data_plane_certificate_seconds: "86400".into(),
        },
        join: raw::Join { join_token_file: None },
    };
    let bad = raw.check(&Origins::new()).unwrap_err();
    assert!(bad.to_string().contains("join-token-file: ``: name a file with a secret"), "{bad}");
}

#[test]
fn of_a_join_token_its_secret_must_be_long_enough() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("join-token").to_string_lossy().into_owned();
    let signs = api::join::Fingerprint::of(b"an authority");
    let checked = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let mut raw = sidecar();
        raw.join.join_token_file = Some(path.clone());
        raw.check(&origins()).map_err(|bad| bad.to_string())
    };
    for before in ["", "x", "fifteen letters"] {
        let bad = checked(&format!("{before}@{signs}\n")).unwrap_err();
        let words = format!(
            "join-token-file: `{path}`: the secret in it, before `@sha256:`, is too short to be a secret"
        );
        assert!(bad.starts_with(&words), "{bad}");
    }
    assert!(checked("fifteen letters").unwrap_err().contains("the token in it is too short"));
    // Taken for a part of the secret it would be shown in the clear.
    let misspelt = checked("sixteen letters.@sha256:709b5977").unwrap_err();
    assert!(misspelt.contains("`@sha256:709b5977` is to say who signs"), "{misspelt}");
    assert!(checked(" \n").unwrap_err().contains("the file is empty"));
    for good in ["sixteen letters.".to_owned(), format!("sixteen letters.@{signs}")] {
        checked(&format!("{good}\n")).unwrap();
    }
}

#[test]
fn an_api_off_loopback_must_be_wanted() {
    let control = |listen: &str, plain_text: &str, auth: &str| {
        let raw = raw::Control {
            process: process(),
            control: raw::ControlPlane {
                resources: None,
                key_file: None,
                prometheus_url: None,
                prometheus_matchers: String::new(),
                prometheus_token_file: None,
                prometheus_ca_file: None,
                api_listen: listen.into(),
                api_auth: auth.into(),
                admin_password_file: None,
                api_plain_text: plain_text.into(),
                discovery_listen: "127.0.0.1:0".into(),
                discovery_plain_text: "true".into(),
                data_plane_certificate_seconds: "86400".into(),
            },
            join: raw::Join { join_token_file: None },
        };
        raw.check(&Origins::new()).map_err(|bad| bad.to_string())
    };
    for listen in ["0.0.0.0:7600", "[::]:7600", "10.0.0.7:7600"] {
        let bad = control(listen, "false", "token").unwrap_err();
        assert!(bad.starts_with("api-plain-text: `false`: say true to serve"), "{bad}");
        assert_eq!(control(listen, "true", "token").unwrap().control.api_auth, ApiAuth::Token);
    }
    let open = control("[::1]:7600", "false", "none").unwrap();
    assert_eq!(open.control.api_auth, ApiAuth::None);
    let bad = control("127.0.0.1:7600", "maybe", "basic").unwrap_err();
    assert_eq!(
        bad,
        "api-auth: `basic`: use token or none\napi-plain-text: `maybe`: use true or false"
    );
}

#[test]
fn hosts_are_names_or_addresses() {
    let hosts = |text: &str| {
        let mut raw = sidecar();
        raw.process.allowed_hosts = text.into();
        raw.check(&origins()).map(|sidecar| sidecar.process.allowed_hosts.len())
    };
    assert_eq!(hosts("Laneway.Example, 10.0.0.7,[::1]").ok(), Some(3));
    for bad in ["laneway.example:7600", "http://laneway.example", "*"] {
        let refused = hosts(bad).unwrap_err().to_string();
        assert!(refused.contains(&format!("allowed-hosts: `{bad}`: use names")), "{refused}");
    }
}
