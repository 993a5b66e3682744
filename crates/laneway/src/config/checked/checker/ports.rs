//! Where an application listens: its ports, each a service of its own.

use std::net::SocketAddr;

use lanes::service::Protocol;

use super::{ADDRESSES_MAX, Checker};

/// One port of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    /// The service that its callers name.
    pub(crate) service: String,
    /// What is spoken there.
    pub(crate) protocol: Protocol,
    /// Where the application listens for it: at least one address, all of one port.
    pub(crate) addresses: Vec<SocketAddr>,
}

const KEY: &str = "app-address";

/// Ports of one application, as many as the registry takes.
const PORTS_MAX: usize = 16;

/// What is said of an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Said<'t> {
    service: Option<&'t str>,
    protocol: Option<Protocol>,
}

/// All that is said of one port.
struct Group<'t> {
    /// The first of its addresses, as it was written.
    text: &'t str,
    addresses: Vec<SocketAddr>,
    said: Said<'t>,
}

impl Checker<'_> {
    /// The ports of an application, of which the first is the one that is probed and gets what comes without a destination:
    /// that of `service`, or where that is not written of its `application`.
    pub(in super::super) fn ports<'t>(
        &mut self,
        texts: &'t [String],
        service: Option<&'t str>,
        application: Option<&'t str>,
    ) -> Option<Vec<Port>> {
        let written = self.written(texts)?;
        if written.is_empty() {
            return Some(Vec::new());
        }
        let addresses: Vec<String> = written.iter().map(|(text, _)| (*text).to_owned()).collect();
        let addresses = self.addresses(KEY, &addresses)?;
        let mut groups: Vec<Group<'t>> = Vec::new();
        for ((text, said), address) in written.into_iter().zip(addresses) {
            let known = groups.iter_mut().find(|it| it.addresses[0].port() == address.port());
            let Some(group) = known else {
                groups.push(Group { text, addresses: vec![address], said });
                continue;
            };
            group.addresses.push(address);
            let (before, now) = (group.said, said);
            if is_other(before.service, now.service) || is_other(before.protocol, now.protocol) {
                self.refuse(KEY, text, SAID_DIFFERENTLY);
                return None;
            }
            group.said.service = before.service.or(now.service);
            group.said.protocol = before.protocol.or(now.protocol);
        }
        if groups.len() > PORTS_MAX {
            self.refuse(KEY, &texts.join(" "), format!("use at most {PORTS_MAX} ports"));
            return None;
        }
        if groups.iter().any(|group| group.addresses.len() > ADDRESSES_MAX) {
            let remedy = format!("use at most {ADDRESSES_MAX} addresses");
            self.refuse(KEY, &texts.join(" "), remedy);
            return None;
        }
        self.named(groups, service, application)
    }

    /// The addresses as they were written, with what is said of each: blanks separate them, commas too, and what is said
    /// follows after commas.
    fn written<'t>(&mut self, texts: &'t [String]) -> Option<Vec<(&'t str, Said<'t>)>> {
        let mut written: Vec<(&str, Said<'_>)> = Vec::new();
        let words = texts.iter().flat_map(|text| text.split_ascii_whitespace());
        for word in words {
            let mut is_first = true;
            for piece in word.split(',').filter(|piece| !piece.is_empty()) {
                let Some((option, value)) = piece.split_once('=') else {
                    written.push((piece, Said::default()));
                    is_first = false;
                    continue;
                };
                let Some((_, said)) = written.last_mut().filter(|_| !is_first) else {
                    const REMEDY: &str = "write it behind its address without blanks, e.g. 10.0.0.5:20880,service=dubbo-b,protocol=tcp";
                    self.refuse(KEY, piece, REMEDY);
                    return None;
                };
                match option {
                    "service" if said.service.is_none() => {
                        self.name(KEY, value.to_owned(), "dubbo-b")?;
                        said.service = Some(value);
                    }
                    "protocol" if said.protocol.is_none() => match Protocol::parse(value) {
                        Some(protocol) => said.protocol = Some(protocol),
                        None => {
                            self.refuse(KEY, piece, instead_of(value));
                            return None;
                        }
                    },
                    "service" | "protocol" => {
                        self.refuse(KEY, piece, "say it once");
                        return None;
                    }
                    _ => {
                        const REMEDY: &str =
                            "say service=NAME and protocol=http or protocol=tcp of an address";
                        self.refuse(KEY, piece, REMEDY);
                        return None;
                    }
                }
            }
        }
        Some(written)
    }

    /// Gives each port its service, and puts the one of the application's own service first.
    fn named<'t>(
        &mut self,
        mut groups: Vec<Group<'t>>,
        service: Option<&'t str>,
        application: Option<&'t str>,
    ) -> Option<Vec<Port>> {
        let own = service.or(application).unwrap_or_default();
        let is_own =
            |group: &Group<'_>| group.said.service.is_some_and(|it| it.eq_ignore_ascii_case(own));
        let unnamed = groups.iter().position(|group| group.said.service.is_none());
        let first = groups.iter().position(is_own).or(unnamed);
        match first {
            Some(first) => {
                let first = groups.remove(first);
                groups.insert(0, first);
                groups[0].said.service = Some(own);
            }
            // Each port has a name, and no other was asked for.
            None if service.is_none() => {}
            None => {
                let remedy = format!("write one address without service=: it is that of {own}");
                self.refuse(KEY, groups.first().map_or("", |group| group.text), remedy);
                return None;
            }
        }
        let mut ports: Vec<Port> = Vec::new();
        for Group { text, addresses, said } in groups {
            let Some(service) = said.service else {
                let remedy = format!(
                    "name the service of port {0}, e.g. {text},service={own}-{0}: each port of an application is called by \
                     a service of its own",
                    addresses[0].port()
                );
                self.refuse(KEY, text, remedy);
                return None;
            };
            if let Some(other) = ports.iter().find(|it| it.service.eq_ignore_ascii_case(service)) {
                let remedy = format!(
                    "name another service than {service}, whose port is {}: callers could not say which they mean",
                    other.addresses[0].port()
                );
                self.refuse(KEY, text, remedy);
                return None;
            }
            let protocol = said.protocol.unwrap_or_default();
            ports.push(Port { service: service.to_owned(), protocol, addresses });
        }
        Some(ports)
    }
}

const SAID_DIFFERENTLY: &str = "say the same service and protocol at every address of a port";

/// Both are said, and differ.
fn is_other<T: PartialEq>(before: Option<T>, now: Option<T>) -> bool {
    before.is_some() && now.is_some() && before != now
}

/// What is right for what is spoken.
fn instead_of(protocol: &str) -> &'static str {
    match protocol.to_ascii_lowercase().as_str() {
        "http" | "http1" | "http/1.1" => "use protocol=http",
        "h2c" | "h2" | "http2" | "grpc" => {
            "use protocol=http: HTTP/2 in the clear, as gRPC speaks it, is HTTP; the application is asked in what its \
             callers speak"
        }
        "dubbo" => {
            "use protocol=http, of which sidecars that capture read Dubbo's own protocol, too, and Triple, which is HTTP/2; \
             protocol=tcp passes unread, outside lanes"
        }
        "tls" | "https" => "use protocol=tcp: what is encrypted passes unread, outside lanes",
        _ => {
            "use protocol=http, of which each request is read, or protocol=tcp, which passes unread"
        }
    }
}
