//! `laneway explain`: says for a request, hop by hop, why it goes where it goes.

use std::process::ExitCode;

use api::{
    resource::HeaderField,
    rest::{ExplainHop, ExplainRequest, ExplainResponse, ExplainStep, InstancePort},
    write,
};
use clap::Args;

use super::{
    output,
    output::Meant,
    server::{Format, Output, Server},
};

/// The arguments of `laneway explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The URL as a client would request it
    url: String,
    /// The gateway it arrives at
    #[arg(long, value_name = "NAME", default_value = "edge")]
    gateway: String,
    /// The request's method
    #[arg(short = 'X', long = "request", value_name = "METHOD", default_value = "GET")]
    method: String,
    /// A header of the request, e.g. `canary: gray`
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<HeaderField>,
    /// The address of the client; this machine's own when not given
    #[arg(long, value_name = "IP")]
    client_ip: Option<std::net::IpAddr>,
    /// The services of the call chain, in order; without it the route's backend alone
    #[arg(long, value_name = "SERVICES", value_delimiter = ',')]
    path: Vec<String>,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    output: Output,
}

/// Takes a header apart as it would be sent: only spaces and tabs around the value are not its own.
fn header(text: &str) -> Result<HeaderField, &'static str> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() => {
            let value = value.trim_matches([' ', '\t']);
            Ok(HeaderField { name: name.to_owned(), value: value.to_owned() })
        }
        _ => Err("write NAME: VALUE, e.g. 'canary: gray'"),
    }
}

/// Runs the verb.
pub(crate) async fn run(verb: Explain) -> anyhow::Result<ExitCode> {
    let request = ExplainRequest {
        gateway: verb.gateway,
        method: verb.method,
        url: verb.url,
        headers: verb.headers,
        client_ip: verb.client_ip.map(|address| address.to_string()),
        path: verb.path,
    };
    let response = verb.server.client()?.explain(&request).await?;
    match verb.output.output {
        Format::Json => output::line(write::json_of(&response)),
        Format::Yaml => output::text(&write::yaml_of(&response)),
        Format::Table => output::text(&told(&request, &response)),
    }
    Ok(ExitCode::SUCCESS)
}

/// An explanation for people.
fn told(request: &ExplainRequest, response: &ExplainResponse) -> String {
    let mut lines =
        vec![format!("{} {} at gateway {}", request.method, request.url, request.gateway)];
    if response.passes_tls {
        lines.push(format!("  listener {} passes TLS on as it is", response.listener));
    } else if !response.listener.is_empty() {
        let trust = if response.trusted { "trusts" } else { "does not trust" };
        lines.push(format!("  listener {} {trust} the lane context of clients", response.listener));
    }
    if !response.route.is_empty() {
        lines.push(format!("  route {}", response.route));
    }
    lines.extend(response.routing.iter().map(|line| format!("    {line}")));
    if !response.entrance.is_empty() {
        lines.push("entrance".to_owned());
        lines.extend(response.entrance.iter().map(step));
    }
    if !response.baggage.is_empty() {
        lines.push(format!("  baggage: {}", response.baggage));
    }
    for (index, hop) in response.hops.iter().enumerate() {
        lines.push(heading(index + 1, hop));
        lines.extend(hop.steps.iter().map(step));
        if !hop.unknown.is_empty() {
            lines.push(format!("  ? {}", hop.unknown));
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn heading(number: usize, hop: &ExplainHop) -> String {
    let application = if hop.application.is_empty() {
        String::new()
    } else {
        format!(" (application {})", hop.application)
    };
    let end = if hop.endpoint.is_empty() {
        output::word(&format!("nobody: {}", hop.problem), Meant::Badly)
    } else {
        let port = hop.port.as_ref().map(port).unwrap_or_default();
        let served = format!("{} {}{port}", tag(Some(&hop.tag)), hop.endpoint);
        format!("{} ({})", output::word(&served, Meant::Well), hop.outcome)
    };
    format!("hop {number}: {}{application} -> {end}", hop.service)
}

/// At which of its application's ports it is called.
fn port(port: &InstancePort) -> String {
    let InstancePort { protocol, addresses, .. } = port;
    format!(", {protocol} at {}", addresses.join(", "))
}

/// One step, indented by what it is about.
fn step(step: &ExplainStep) -> String {
    match step {
        ExplainStep::Lane { group, tag, matched, because } => {
            format!("  {} lane {group}/{tag}: {because}", mark(*matched))
        }
        ExplainStep::Member { group, tag: of, because } => {
            format!("  = group {group}: {}: {because}", tag(of.as_deref()))
        }
        ExplainStep::Subset { group, tag: of, chosen, because } => {
            let governs = group.as_ref().map(|group| format!("{group}/")).unwrap_or_default();
            format!("  {} instances {governs}{}: {because}", mark(*chosen), tag(of.as_deref()))
        }
        ExplainStep::Instance { address, tag: of, candidate, because } => {
            format!("      {} {address} ({}): {because}", mark(*candidate), tag(of.as_deref()))
        }
    }
}

fn tag(tag: Option<&str>) -> &str {
    tag.filter(|tag| !tag.is_empty()).unwrap_or("base")
}

fn mark(yes: bool) -> String {
    if yes { output::word("+", Meant::Well) } else { output::word("-", Meant::Aside) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_taken_as_they_would_be_sent() {
        for (text, name, value) in [
            ("canary: gray", "canary", "gray"),
            ("canary:\t gray \t", "canary", "gray"),
            // What no server takes is not mended.
            ("canary : gray", "canary ", "gray"),
            (" canary: gray", " canary", "gray"),
            ("canary: \u{a0}gray\u{2003}", "canary", "\u{a0}gray\u{2003}"),
            ("canary: gray\n", "canary", "gray\n"),
            ("a:b:c", "a", "b:c"),
            ("a:", "a", ""),
        ] {
            let field = header(text).unwrap();
            assert_eq!((field.name.as_str(), field.value.as_str()), (name, value));
        }
        assert!(header(": gray").is_err());
        assert!(header("canary").is_err());
    }

    /// One hop in the lane, and one that leads nowhere.
    fn two_hops() -> ExplainResponse {
        let text = |text: &str| text.to_owned();
        ExplainResponse {
            listener: text("http"),
            trusted: false,
            passes_tls: false,
            route: text("default/a"),
            routing: vec![text("path prefix /a matched")],
            entrance: vec![
                ExplainStep::Lane {
                    group: text("trade"),
                    tag: text("gray"),
                    matched: true,
                    because: text("header canary is gray"),
                },
                ExplainStep::Member {
                    group: text("trade"),
                    tag: Some(text("gray")),
                    because: text("it matched"),
                },
            ],
            baggage: text("lane.trade=gray"),
            hops: vec![
                ExplainHop {
                    service: text("sc-A"),
                    application: text("a"),
                    steps: vec![
                        ExplainStep::Subset {
                            group: Some(text("trade")),
                            tag: Some(text("gray")),
                            chosen: true,
                            because: text("1 usable"),
                        },
                        ExplainStep::Instance {
                            address: text("127.0.0.11:1"),
                            tag: None,
                            candidate: false,
                            because: text("another tag"),
                        },
                    ],
                    outcome: text("lane"),
                    endpoint: text("127.0.0.21:1"),
                    port: Some(InstancePort {
                        service: text("sc-A"),
                        protocol: text("http"),
                        addresses: vec![text("127.0.0.21:80"), text("[::1]:80")],
                    }),
                    tag: text("gray"),
                    unknown: text("who calls it"),
                    ..ExplainHop::default()
                },
                ExplainHop {
                    service: text("sc-Z"),
                    problem: text("no such service"),
                    ..ExplainHop::default()
                },
            ],
        }
    }

    #[test]
    fn an_explanation_reads_from_the_client_to_the_last_hop() {
        let request = ExplainRequest {
            gateway: "edge".to_owned(),
            method: "GET".to_owned(),
            url: "/a".to_owned(),
            headers: Vec::new(),
            client_ip: None,
            path: Vec::new(),
        };
        let expected = "\
GET /a at gateway edge
  listener http does not trust the lane context of clients
  route default/a
    path prefix /a matched
entrance
  + lane trade/gray: header canary is gray
  = group trade: gray: it matched
  baggage: lane.trade=gray
hop 1: sc-A (application a) -> gray 127.0.0.21:1, http at 127.0.0.21:80, [::1]:80 (lane)
  + instances trade/gray: 1 usable
      - 127.0.0.11:1 (base): another tag
  ? who calls it
hop 2: sc-Z -> nobody: no such service
";
        assert_eq!(told(&request, &two_hops()), expected);
        let passed = ExplainResponse { passes_tls: true, ..two_hops() };
        assert!(told(&request, &passed).contains("\n  listener http passes TLS on as it is\n"));
    }
}
