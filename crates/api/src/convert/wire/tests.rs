//! What goes to the wire comes back the same, through the bytes; what is not understood is an error.

use lanes::{
    Endpoint, GroupName, GroupSpec, LaneSpec, Service, ServiceId, Tag,
    affinity::{Issue, SameSite},
    condition::{Condition, Operator, Parameter},
    directory::NameAnswer,
    group::{EntranceSpec, Entry, Fallback, Meet},
    service::{FurtherAddresses, Health, Port, Protocol},
};
use proptest::{collection::vec, option, prelude::*};
use prost::Message;
use routes::{
    GatewaySpec, RouteKind, RouteSpec,
    spec::{
        BackendSpec, FilterSpec, HeaderEdits, ListenerSpec, MatchSpec, NamedSpec, ParentSpec,
        PathRewrite, PathSpec, RedirectSpec, RewriteSpec, RuleSpec, TextSpec,
    },
    tls::{
        Authorities, Certificate, ClientsTls, ListenerTls, PrivateKey, TlsMode, TlsVersion,
        UpstreamTls,
    },
};

use super::*;

fn through_bytes<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

fn word() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9]{0,6}"
}

fn words() -> impl Strategy<Value = Vec<String>> {
    vec(word(), 0..3)
}

fn tag() -> impl Strategy<Value = Tag> {
    "t[A-Za-z0-9]{0,5}".prop_map(|text| Tag::parse(&text).unwrap().unwrap())
}

fn parameter() -> impl Strategy<Value = Parameter> {
    prop_oneof![
        word().prop_map(Parameter::Header),
        word().prop_map(Parameter::Query),
        word().prop_map(Parameter::Cookie),
        word().prop_map(Parameter::Claim),
        Just(Parameter::Path),
        Just(Parameter::Method),
        Just(Parameter::Host),
        Just(Parameter::ClientIp),
    ]
}

fn operator() -> impl Strategy<Value = Operator> {
    prop_oneof![
        any::<String>().prop_map(Operator::Equal),
        any::<String>().prop_map(Operator::NotEqual),
        words().prop_map(Operator::In),
        words().prop_map(Operator::NotIn),
        (0..=100_u8).prop_map(Operator::Percentage),
        word().prop_map(Operator::Regex),
        word().prop_map(Operator::Prefix),
        Just(Operator::Exists),
        Just(Operator::NotExists),
        word().prop_map(Operator::Cidr),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let condition = (parameter(), operator())
        .prop_map(|(parameter, operator)| Condition { parameter, operator });
    prop_oneof![
        (any::<bool>(), vec(condition, 0..4)).prop_map(|(all, conditions)| Entry::Content {
            meet: if all { Meet::All } else { Meet::Any },
            conditions,
        }),
        (0..=10_000_u16, option::of(parameter()), option::of(issue())).prop_map(
            |(percent_hundredths, sticky_by, issue)| Entry::Ratio {
                percent_hundredths,
                sticky_by,
                issue,
            }
        ),
    ]
}

fn issue() -> impl Strategy<Value = Issue> {
    let same_site = prop_oneof![Just(SameSite::Lax), Just(SameSite::Strict), Just(SameSite::None)];
    (
        option::of(any::<u32>()),
        word(),
        option::of(word()),
        same_site,
        option::of(any::<bool>()),
        any::<bool>(),
    )
        .prop_map(|(max_age_seconds, path, domain, same_site, secure, on_public_answers)| {
            Issue { max_age_seconds, path, domain, same_site, secure, on_public_answers }
        })
}

fn lane() -> impl Strategy<Value = LaneSpec> {
    let fallback = prop_oneof![vec(tag(), 0..3).prop_map(Fallback::Then), Just(Fallback::Strict)];
    // Nothing is told of whether one that is paused would admit.
    let admits = prop_oneof![Just((true, false)), Just((false, false)), Just((false, true))];
    (tag(), any::<bool>(), admits, any::<i32>(), entry(), fallback, words()).prop_map(
        |(tag, enabled, (admitting, paused), priority, entry, fallback, switched_off)| LaneSpec {
            tag,
            enabled,
            admitting,
            paused,
            priority,
            entry,
            fallback,
            switched_off,
        },
    )
}

fn group() -> impl Strategy<Value = GroupSpec> {
    let entrance = prop_oneof![
        (word(), option::of(words()))
            .prop_map(|(name, routes)| EntranceSpec::Gateway { name, routes }),
        (word(), any::<bool>()).prop_map(|(name, edge)| EntranceSpec::Application { name, edge }),
    ];
    (word(), vec(entrance, 0..3), words(), vec(lane(), 0..4)).prop_map(
        |(name, entrances, applications, lanes)| GroupSpec {
            name: GroupName::parse(&name).unwrap(),
            entrances,
            applications,
            lanes,
        },
    )
}

fn service() -> impl Strategy<Value = Service> {
    let health = prop_oneof![
        Just(Health::Usable),
        Just(Health::Silent),
        Just(Health::Unhealthy),
        Just(Health::Draining),
        Just(Health::InvalidTag),
    ];
    let protocol = prop_oneof![Just(Protocol::Http), Just(Protocol::Tcp)];
    let port =
        (protocol, any::<bool>()).prop_map(|(protocol, is_further)| Port { protocol, is_further });
    let endpoint = (
        any::<std::net::SocketAddr>(),
        any::<Option<std::net::SocketAddr>>(),
        (vec(any::<std::net::SocketAddr>(), 0..3), vec(any::<std::net::SocketAddr>(), 0..3)),
        option::of(tag()),
        any::<u32>(),
        health,
        port,
    )
        .prop_map(
            |(address, application_address, (reached, listening), tag, weight, health, port)| {
                let address = without_scope(address);
                let application_address = application_address.map(without_scope);
                let further =
                    [reached, listening].map(|it| it.into_iter().map(without_scope).collect());
                let [reached, listening]: [Vec<_>; 2] = further;
                let first = (address, application_address);
                let further = FurtherAddresses::beside(first, &reached, &listening);
                Endpoint { address, application_address, further, tag, weight, health, port }
            },
        );
    (service_id(), "[A-Za-z]{1,5}", word(), vec(endpoint, 0..5)).prop_map(
        |(id, name, application, endpoints)| Service::new(id, &name, &application, endpoints),
    )
}

/// Names of foreign registries have what they like in them.
fn service_id() -> impl Strategy<Value = ServiceId> {
    (word(), "[a-zA-Z/%]{0,3}", any::<String>(), any::<String>()).prop_map(
        |(source, namespace, group, name)| ServiceId::new(&source, &namespace, &group, &name),
    )
}

/// Flow and scope of an IPv6 address are no part of its text.
fn without_scope(address: std::net::SocketAddr) -> std::net::SocketAddr {
    (address.ip(), address.port()).into()
}

fn path_rewrite() -> impl Strategy<Value = PathRewrite> {
    prop_oneof![word().prop_map(PathRewrite::Full), any::<String>().prop_map(PathRewrite::Prefix)]
}

fn filter() -> impl Strategy<Value = FilterSpec> {
    let edits = || {
        (vec((word(), any::<String>()), 0..2), vec((word(), word()), 0..2), words())
            .prop_map(|(set, add, remove)| HeaderEdits { set, add, remove })
    };
    prop_oneof![
        edits().prop_map(FilterSpec::RequestHeaders),
        edits().prop_map(FilterSpec::ResponseHeaders),
        (
            option::of(word()),
            option::of(word()),
            option::of(path_rewrite()),
            option::of(1..=u16::MAX),
            any::<u16>()
        )
            .prop_map(|(scheme, hostname, path, port, status)| FilterSpec::Redirect(
                RedirectSpec { scheme, hostname, path, port, status }
            )),
        (option::of(word()), option::of(path_rewrite()))
            .prop_map(|(hostname, path)| FilterSpec::Rewrite(RewriteSpec { hostname, path })),
    ]
}

fn route_match() -> impl Strategy<Value = MatchSpec> {
    let path = prop_oneof![
        word().prop_map(PathSpec::Exact),
        word().prop_map(PathSpec::Prefix),
        word().prop_map(PathSpec::Regex),
    ];
    let text =
        || prop_oneof![any::<String>().prop_map(TextSpec::Exact), word().prop_map(TextSpec::Regex)];
    let named =
        move || vec((word(), text()).prop_map(|(name, value)| NamedSpec { name, value }), 0..3);
    (path, option::of(word()), named(), named())
        .prop_map(|(path, method, headers, query)| MatchSpec { path, method, headers, query })
}

fn rule() -> impl Strategy<Value = RuleSpec> {
    let id = service_id().prop_map(Ok);
    let backend = (
        prop_oneof![id, any::<String>().prop_map(Err)],
        any::<u32>(),
        any::<bool>(),
        option::of(upstream_tls()),
        vec(filter(), 0..2),
    )
        .prop_map(|(service, weight, http2, tls, filters)| BackendSpec {
            // What does not resolve is spoken to by nobody.
            tls: tls.filter(|_| service.is_ok()),
            service,
            weight,
            http2,
            filters,
        });
    (
        vec(route_match(), 0..3),
        vec(filter(), 0..3),
        vec(backend, 0..3),
        any::<Option<u64>>(),
        any::<Option<u64>>(),
    )
        .prop_map(|(matches, filters, backends, request_timeout_ms, backend_timeout_ms)| {
            RuleSpec { matches, filters, backends, request_timeout_ms, backend_timeout_ms }
        })
}

fn route() -> impl Strategy<Value = RouteSpec> {
    let parent = (word(), option::of(word()), option::of(1..=u16::MAX))
        .prop_map(|(gateway, section, port)| ParentSpec { gateway, section, port });
    let kind = prop_oneof![Just(RouteKind::Http), Just(RouteKind::Grpc), Just(RouteKind::Tls)];
    (kind, word(), word(), vec(parent, 0..3), words(), vec(rule(), 0..3), any::<u64>()).prop_map(
        |(kind, namespace, name, parents, hostnames, rules, created)| RouteSpec {
            kind,
            namespace,
            name,
            parents,
            hostnames,
            rules,
            created,
        },
    )
}

fn listener_tls() -> impl Strategy<Value = ListenerTls> {
    let clients = (words(), any::<bool>())
        .prop_map(|(authorities, insecure_fallback)| ClientsTls { authorities, insecure_fallback });
    let minimum = prop_oneof![Just(TlsVersion::V1_2), Just(TlsVersion::V1_3)];
    (words(), option::of(clients), minimum)
        .prop_map(|(certificates, clients, minimum)| ListenerTls { certificates, clients, minimum })
}

fn upstream_tls() -> impl Strategy<Value = UpstreamTls> {
    let authorities =
        prop_oneof![Just(Authorities::System), words().prop_map(Authorities::Certificates)];
    (word(), authorities, words()).prop_map(|(hostname, authorities, names)| UpstreamTls {
        hostname,
        authorities,
        names,
    })
}

fn certificate() -> impl Strategy<Value = Certificate> {
    let der = || vec(any::<u8>(), 1..9);
    (vec(der(), 0..3), option::of(der()), vec(der(), 0..3)).prop_map(|(chain, key, authorities)| {
        Certificate { chain, key: key.map(PrivateKey::new), authorities }
    })
}

fn gateway() -> impl Strategy<Value = GatewaySpec> {
    let tls = prop_oneof![listener_tls().prop_map(TlsMode::from), Just(TlsMode::Passthrough)];
    let tls = option::of(tls);
    let listener = (word(), any::<u16>(), option::of(word()), any::<[bool; 3]>(), any::<u8>(), tls)
        .prop_map(|(name, port, hostname, [trusted, merge_slashes, http2], trusted_hops, tls)| {
            ListenerSpec { name, port, hostname, trusted, trusted_hops, merge_slashes, http2, tls }
        });
    (word(), vec(listener, 0..3)).prop_map(|(name, listeners)| GatewaySpec { name, listeners })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn groups_come_back(group in group()) {
        prop_assert_eq!(group_from(through_bytes(&group_to(&group))), Ok(group));
    }

    #[test]
    fn services_come_back(service in service()) {
        prop_assert_eq!(service_from(through_bytes(&service_to(&service))), Ok(service));
    }

    #[test]
    fn routes_come_back(route in route()) {
        prop_assert_eq!(route_from(through_bytes(&route_to(&route))), Ok(route));
    }

    #[test]
    fn gateways_come_back(gateway in gateway()) {
        prop_assert_eq!(gateway_from(through_bytes(&gateway_to(&gateway))), Ok(gateway));
    }

    #[test]
    fn certificates_come_back(certificate in certificate()) {
        let wire = certificate_to("default/shop", &certificate);
        let back = certificate_from(through_bytes(&wire));
        prop_assert_eq!(back, ("default/shop".to_owned(), certificate));
    }

    #[test]
    fn answers_come_back(name in word(), sources in vec(word(), 1..3), address: std::net::SocketAddr, ids in vec(service_id(), 0..3), id in service_id()) {
        let address = without_scope(address);
        let answers = [
            NameAnswer::Service(id),
            NameAnswer::Absent,
            NameAnswer::Ambiguous(sources),
        ];
        for answer in answers {
            let back = name_from(through_bytes(&name_to(&name, &answer)));
            prop_assert_eq!(back, (name.clone(), answer));
        }
        prop_assert_eq!(address_from(through_bytes(&address_to(address, &ids))), Ok((address, ids)));
    }
}

#[test]
fn a_paused_lane_admits_nobody_at_releases_that_do_not_know_what_that_is() {
    let mut group = simple_group();
    group.lanes[0].paused = true;
    let wire = group_to(&group).lanes.remove(0);
    assert_eq!((wire.enabled, wire.admitting, wire.paused), (true, false, true));
    // What says both says the same when it is told on.
    let mut both = group_to(&group);
    both.lanes[0].admitting = true;
    let read = group_from(both).unwrap();
    assert_eq!(group_from(group_to(&read)), Ok(read));
}

fn simple_group() -> GroupSpec {
    GroupSpec {
        name: GroupName::parse("trade").unwrap(),
        entrances: Vec::new(),
        applications: Vec::new(),
        lanes: vec![LaneSpec {
            tag: Tag::parse("gray").unwrap().unwrap(),
            enabled: true,
            admitting: true,
            paused: false,
            priority: 0,
            entry: Entry::Content {
                meet: Meet::All,
                conditions: vec![Condition {
                    parameter: Parameter::Path,
                    operator: Operator::Exists,
                }],
            },
            fallback: Fallback::Strict,
            switched_off: Vec::new(),
        }],
    }
}

#[test]
fn a_newer_versions_choices_are_errors_not_defaults() {
    let group = simple_group();
    let told = |change: fn(&mut v1::Lane)| {
        let mut wire = group_to(&group);
        change(&mut wire.lanes[0]);
        group_from(wire).unwrap_err().to_string()
    };
    fn condition(lane: &mut v1::Lane) -> &mut v1::Condition {
        let Some(v1::lane::Entry::Content(content)) = &mut lane.entry else { panic!("by content") };
        &mut content.conditions[0]
    }
    // An operator or an entry that this version has no field for is absent after decoding.
    assert_eq!(
        told(|lane| condition(lane).operator = None),
        "`condition.operator` is a choice, which this version does not understand"
    );
    assert_eq!(
        told(|lane| lane.entry = None),
        "`lane.entry` is a choice, which this version does not understand"
    );
    assert_eq!(
        told(|lane| condition(lane).parameter =
            Some(v1::Parameter { parameter: Some(v1::parameter::Parameter::Attribute(99)) })),
        "`parameter.attribute` is 99, which this version does not understand"
    );
    assert_eq!(
        told(|lane| lane.tag = "no tag".to_owned()),
        "`lane.tag` is `no tag`, which this version does not understand"
    );
}

#[test]
fn a_release_without_tls_serves_and_calls_nothing_in_the_clear_that_is_to_be_in_tls() {
    let listener = |name: &str, tls| ListenerSpec {
        name: name.to_owned(),
        port: 443,
        hostname: None,
        trusted: false,
        trusted_hops: 0,
        merge_slashes: true,
        http2: false,
        tls,
    };
    let tls = ListenerTls {
        certificates: vec!["default/shop".to_owned()],
        clients: None,
        minimum: TlsVersion::V1_2,
    };
    let ends = tls.clone();
    let listeners = vec![listener("https", Some(tls.into())), listener("http", None)];
    let wire = gateway_to(&GatewaySpec { name: "edge".to_owned(), listeners });
    let in_the_clear: Vec<&str> = wire.listeners.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(in_the_clear, ["http"]);

    // One that knows no passthrough would end TLS under a wildcard that is to go on, on the same port.
    let wild = |port| ListenerSpec {
        hostname: Some("*.example".to_owned()),
        port,
        ..listener("wild", Some(ends.clone().into()))
    };
    let passing = ListenerSpec {
        hostname: Some("vault.example".to_owned()),
        ..listener("vault", Some(TlsMode::Passthrough))
    };
    let gateway = GatewaySpec {
        name: "edge".to_owned(),
        listeners: vec![wild(443), passing, ListenerSpec { name: "alone".to_owned(), ..wild(444) }],
    };
    let wire = gateway_to(&gateway);
    let known: Vec<&str> =
        (wire.tls_listeners.iter()).map(|it| it.listener.as_ref().unwrap().name.as_str()).collect();
    assert_eq!((known, wire.listeners.len()), (vec!["alone"], 0));
    assert_eq!(gateway_from(wire), Ok(gateway));

    let tls = UpstreamTls {
        hostname: "b.example".to_owned(),
        authorities: Authorities::System,
        names: Vec::new(),
    };
    let service = Ok(ServiceId::new("fixed", "default", "", "sc-b"));
    let backend = BackendSpec { service, weight: 1, http2: false, tls: Some(tls), filters: vec![] };
    let rule = RuleSpec {
        matches: Vec::new(),
        filters: Vec::new(),
        backends: vec![backend],
        request_timeout_ms: None,
        backend_timeout_ms: None,
    };
    let route = RouteSpec {
        kind: RouteKind::Http,
        namespace: "default".to_owned(),
        name: "a".to_owned(),
        parents: Vec::new(),
        hostnames: Vec::new(),
        rules: vec![rule],
        created: 0,
    };
    let wire = &route_to(&route).rules[0].backends[0];
    assert_eq!(wire.service, None);
    assert!(wire.problem.contains("TLS"), "{}", wire.problem);
}

#[test]
fn a_certificates_message_does_not_show_its_key() {
    let key = Some(PrivateKey::new(b"secret".to_vec()));
    let wire = certificate_to("default/shop", &Certificate { key, ..Certificate::default() });
    let resource = v1::Resource {
        body: Some(v1::resource::Body::Certificate(wire)),
        ..v1::Resource::default()
    };
    let shown = format!("{resource:?}");
    assert!(shown.contains("default/shop") && !shown.contains("115"), "{shown}");
}
