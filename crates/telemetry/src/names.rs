//! The names of everything that is measured. A name that is not here does not exist.

/// How a metric behaves over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution: `_bucket`, `_sum` and `_count` series.
    Histogram,
}

/// A metric family: its name, what it means, how it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The family's name; durations in seconds, sizes in bytes, counters end in `_total`.
    pub name: &'static str,
    /// One sentence for the reader of `/metrics`.
    pub help: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// The labels of every one of its series, in order (a bucket has `le` besides).
    pub labels: &'static [&'static str],
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $constant:ident = $kind:ident $name:literal [$($label:path),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Metric = Metric {
                name: $name,
                help: $help,
                kind: Kind::$kind,
                labels: &[$($label),*],
            };
        )*
        /// Every family, for the reference and for the test that no two share a name.
        #[cfg(test)]
        const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    // What passed.
    REQUESTS = Counter "laneway_requests_total" [label::ROLE, label::APPLICATION, label::SERVICE, label::LANE_GROUP, label::LANE, label::OUTCOME, label::CODE_CLASS] "Requests served, by who served them and how.";
    REQUEST_DURATION = Histogram "laneway_request_duration_seconds" [label::ROLE, label::APPLICATION, label::SERVICE, label::LANE_GROUP, label::LANE] "From the first byte of a request to the last byte of its response.";
    REQUESTS_IN_FLIGHT = Gauge "laneway_requests_in_flight" [label::ROLE] "Requests being served.";
    BYTES = Counter "laneway_bytes_total" [label::DIRECTION] "Bytes received from and sent to callers.";
    REJECTED_REQUESTS = Counter "laneway_rejected_requests_total" [label::REASON] "Requests refused because they were no correct HTTP or too large.";
    TIMEOUTS = Counter "laneway_timeouts_total" [label::REASON] "Waits that were given up.";

    // Connections.
    CONNECTIONS = Counter "laneway_connections_total" [label::SIDE] "Connections accepted from callers (downstream) and opened to instances (upstream).";
    CONNECTIONS_OPEN = Gauge "laneway_connections_open" [label::SIDE] "Connections open at the moment.";
    CONNECTIONS_REFUSED = Counter "laneway_connections_refused_total" [] "Connections closed at once because a limit was reached.";
    CONNECT_FAILURES = Counter "laneway_connect_failures_total" [] "Connects to instances that failed.";
    SHORTAGES = Counter "laneway_shortages_total" [] "Connections to instances that were not made for want of something of this process or its host: descriptors, ports, memory. No instance is to blame.";
    TLS_HANDSHAKES = Counter "laneway_tls_handshakes_total" [label::RESULT] "Callers' connections that agreed on TLS: with keys of their own (full), or those of a session of before (resumed).";
    TLS_FAILURES = Counter "laneway_tls_handshake_failures_total" [label::REASON] "Callers' connections that did not: the caller left (broken_off), took too long (timed_out), spoke HTTP in the clear (plain_http), asked for a name that no listener or TLSRoute has (unknown_name), showed no certificate that verifies (client_certificate), speaks no version, cipher or protocol that is spoken here (incompatible), did not like what it was shown (refused), or sent what is no TLS (malformed); or there was nothing to show to it (no_certificate), or nobody to whom its connection is passed on (no_instance).";
    UPSTREAM_TLS_FAILURES = Counter "laneway_upstream_tls_failures_total" [label::REASON] "Connections to instances that could not be made in TLS: the certificate does not verify (certificate), it took too long (timed_out), or nothing could be agreed on (other).";
    PASSED_THROUGH = Counter "laneway_passed_through_connections_total" [] "Connections copied byte by byte: no known service, or no HTTP.";
    POOL_REQUESTS = Counter "laneway_pool_requests_total" [label::RESULT] "Where the connection for a request came from.";
    POOL_IDLE = Gauge "laneway_pool_idle_connections" [] "Connections to instances that wait for the next request.";
    RETRIES = Counter "laneway_retries_total" [label::REASON] "Requests tried again.";
    LOOPS = Counter "laneway_loops_total" [] "Requests refused because they had come round to this process too often.";
    FREED = Counter "laneway_freed_requests_total" [] "Requests taken back from an instance that became unhealthy, or was lost, before it answered.";
    TAPPED = Counter "laneway_tapped_requests_total" [label::RESULT] "Requests that somebody watches (`laneway tap`): told by this data plane, dropped because there were more than it tells in a second or than could wait; or, by a control plane, missed: not told to a watcher that reads too slowly.";
    TAP_WATCHERS = Gauge "laneway_tap_watchers" [] "Who watches requests at the moment, at this control plane.";
    EJECTIONS = Counter "laneway_ejections_total" [] "Instances put aside for a while: a connect to them failed, or they left several requests in a row unanswered.";
    UNREACHABLE = Gauge "laneway_unreachable_instances" [] "Instances to which the last connect failed, or that left the last requests unanswered.";

    // Lanes.
    LANE_ENDPOINTS = Gauge "laneway_lane_endpoints" [label::APPLICATION, label::LANE_GROUP, label::LANE] "Usable instances of an application in a lane, as this process sees them.";
    LANE_ENTERED = Counter "laneway_lane_entered_total" [label::LANE_GROUP, label::LANE] "Requests that this process put into a lane as an entrance of its group; an empty lane is base.";
    MISROUTED = Counter "laneway_misrouted_arrivals_total" [] "Requests that arrived at an instance that does not serve them: their lane does not allow it, or another service was called.";
    UNKNOWN_TAGS = Counter "laneway_unknown_tags_total" [] "Lane members whose tag is not known: treated as base.";
    AMBIGUOUS_ADDRESSES = Counter "laneway_ambiguous_addresses_total" [] "Connections to an address that several services share, passed through.";
    CORRELATION = Counter "laneway_correlation_total" [label::RESULT] "Look-ups of a lane context by correlation id, by result.";
    CORRELATION_DROPPED = Counter "laneway_correlation_dropped_total" [] "Contexts forgotten early, or not remembered, because the table was full.";
    CORRELATION_ENTRIES = Gauge "laneway_correlation_entries" [] "Contexts remembered by correlation id.";

    CONTEXT_LOST = Counter "laneway_context_lost_total" [label::LANE_GROUP, label::LANE, label::CERTAINTY] "Calls of the application to services without lane context while it served requests of the lane: certain where it served nothing else.";
    OPAQUE = Counter "laneway_opaque_connections_total" [label::ROLE, label::SERVICE, label::PROTOCOL] "Connections to a service that passed unread, and so outside lanes: through a TLSRoute (gateway), of the application to others (sidecar_outbound), of others to the application (sidecar_inbound); by what they speak: tls or other, or tcp where its port says so; as dubbo single requests in its protocol that could not be read.";
    UNDECLARED = Counter "laneway_undeclared_calls_total" [] "Captured connections to ports, on hosts of registered instances, that nobody has declared: they go past the lanes.";

    // Configuration.
    CONFIG_GENERATION = Gauge "laneway_config_generation" [] "Number of the configuration in use.";
    CERTIFICATE_EXPIRY = Gauge "laneway_certificate_expiry_timestamp_seconds" [label::NAMESPACE, label::CERTIFICATE] "When a certificate of the control plane expires, in seconds since 1970; of several authorities the earliest.";
    CONFIG_AGE = Gauge "laneway_config_age_seconds" [] "Time since the control plane last confirmed the configuration in use.";
    CONFIG_REJECTED = Counter "laneway_config_rejected_total" [] "Configuration that this process could not take and refused.";
    CONTROL_CONNECTED = Gauge "laneway_control_connected" [] "1 while connected to the control plane.";
    LOOKUPS_WAITED = Counter "laneway_lookups_waited_total" [label::RESULT] "Look-ups of names not yet subscribed, by how the wait ended.";
    DATA_PLANES = Gauge "laneway_data_planes" [] "Data planes the control plane knows.";
    REFUSING_DATA_PLANES = Gauge "laneway_refusing_data_planes" [] "Data planes that refuse some of what they were sent, and serve by what they had before.";
    STORE_WRITABLE = Gauge "laneway_store_writable" [] "1 unless what was changed last could not be stored: the disk is full, or broken.";
    STORE_DOUBTED_BY = Gauge "laneway_store_doubted_by_data_planes" [] "Data planes that hold the configuration of another control plane, while this one's store is new and empty: they keep it until something is applied here.";
    SERVICES = Gauge "laneway_services" [] "Services known.";
    ENDPOINTS = Gauge "laneway_endpoints" [] "Instances known.";
    SOURCE_SYNCED = Gauge "laneway_source_synced" [label::SOURCE] "1 when a service source has told everything it has at least once.";
    SOURCE_AGE = Gauge "laneway_source_age_seconds" [label::SOURCE] "Time since a service source was last in contact: 0 while it is, none while it never was.";
    SOURCE_SERVICES = Gauge "laneway_source_services" [label::SOURCE] "Services that a source has.";
    SOURCE_INSTANCES = Gauge "laneway_source_instances" [label::SOURCE] "Instances that a source has, usable or not; one that is of several services counts for each.";
    REGISTRATIONS = Counter "laneway_registrations_total" [label::RESULT] "Changes in the embedded registry.";
    RESOURCE_FILES_KEPT = Gauge "laneway_resource_files_kept" [] "Files of the resources directory whose objects stay as they were, because of what the files are at the moment.";

    // The process.
    BUILD = Gauge "laneway_build_info" [label::VERSION] "Always 1; the label tells the version.";
    STARTED = Gauge "laneway_start_timestamp_seconds" [] "When the process started, in Unix time.";
    LABEL_SETS_OVERFLOWED = Counter "laneway_label_sets_overflowed_total" [] "Requests counted under `other` because there were too many label sets.";
    API_REFUSED = Counter "laneway_api_refused_total" [label::REASON] "Requests to the API or the admin address that were refused at the door, by what was wrong: host, origin or token.";
    LISTENER_REFUSED = Counter "laneway_listener_refused_total" [label::LISTENER] "Connections to the API, the admin address or discovery that were closed at once because there were too many.";
    LOG_LINES_DROPPED = Counter "laneway_log_lines_dropped_total" [] "Log lines dropped because standard error was not read fast enough.";
    ACCESS_LOG_LINES = Counter "laneway_access_log_lines_total" [label::RESULT] "Lines of the access log: written, dropped because too many waited, or failed because the file took none.";
    ACCESS_LOG_STALLED = Gauge "laneway_access_log_stalled_seconds" [] "For how long whoever takes the access log has not taken what is being written; 0 where nothing waits for that.";
    SPANS = Counter "laneway_spans_total" [label::RESULT] "Spans of traced requests: exported to the collector, dropped because too many waited, or failed because the collector took none.";
    LOG_LINES_SUPPRESSED = Counter "laneway_log_lines_suppressed_total" [] "Log lines left out because the same place in the code had written too many in that second.";
}

/// Names of labels.
pub mod label {
    /// What the process does with the request: see [`crate::Role`].
    pub const ROLE: &str = "role";
    /// The application that serves.
    pub const APPLICATION: &str = "application";
    /// The service that was called.
    pub const SERVICE: &str = "service";
    /// The lane group that governed.
    pub const LANE_GROUP: &str = "lane_group";
    /// The lane, by tag; empty is the base.
    pub const LANE: &str = "lane";
    /// See [`crate::Outcome`].
    pub const OUTCOME: &str = "outcome";
    /// See [`crate::CodeClass`].
    pub const CODE_CLASS: &str = "code_class";
    /// `downstream` (towards callers) or `upstream` (towards instances).
    pub(crate) const SIDE: &str = "side";
    /// `received` or `sent`.
    pub(crate) const DIRECTION: &str = "direction";
    /// Why.
    pub const REASON: &str = "reason";
    /// How something ended.
    pub const RESULT: &str = "result";
    /// A service source.
    pub const SOURCE: &str = "source";
    /// Whether something is known or only may be: certain or uncertain.
    pub const CERTAINTY: &str = "certainty";
    /// The namespace of an object.
    pub const NAMESPACE: &str = "namespace";
    /// A certificate, by its name.
    pub const CERTIFICATE: &str = "certificate";
    /// What a connection speaks.
    pub const PROTOCOL: &str = "protocol";
    /// A listener beside those that move requests: api, admin or discovery.
    pub const LISTENER: &str = "listener";
    /// Upper bound of a histogram's bucket.
    pub const LE: &str = "le";
    /// A version.
    pub const VERSION: &str = "version";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_say_their_kind() {
        let mut seen = std::collections::HashSet::new();
        for metric in ALL {
            assert!(seen.insert(metric.name), "{} is declared twice", metric.name);
            assert!(metric.name.starts_with("laneway_"), "{}", metric.name);
            assert!(
                metric.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
                "{}",
                metric.name
            );
            assert!(metric.help.ends_with('.'), "{}: help is a sentence", metric.name);
            assert_eq!(
                metric.name.ends_with("_total"),
                metric.kind == Kind::Counter,
                "{}",
                metric.name
            );
            if metric.kind == Kind::Histogram {
                assert!(
                    metric.name.ends_with("_seconds") || metric.name.ends_with("_bytes"),
                    "{}",
                    metric.name
                );
            }
        }
    }

    /// The reference of all metrics, as Markdown.
    fn reference() -> String {
        let mut text = String::from(
            "# Metrics\n\nGenerated from `crates/telemetry/src/names.rs`; `UPDATE=1 cargo test -p telemetry \
             metrics_reference` writes it anew.\n\nEvery process serves them as Prometheus text at `/metrics` of its \
             admin address. Counters begin at 0 when a process starts. Numbers of requests are at most a second old.\n\n\
             | metric | kind | labels | meaning |\n|---|---|---|---|\n",
        );
        for metric in ALL {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let (name, labels, help) = (metric.name, labels.join(" "), metric.help);
            text.push_str(&format!("| `{name}` | {kind} | {labels} | {help} |\n"));
        }
        text.push_str(
            "\n| label | values |\n|---|---|\n\
             | `role` | `gateway`, `sidecar_inbound`, `sidecar_outbound` |\n\
             | `outcome` | `lane`: served by the request's lane; `fallback`: by another, because the lane could not; \
             `base`: in no lane that governs the service; `denied`; `failed`; `cut`: the answer began and did not arrive whole |\n\
             | `code_class` | `1xx` to `5xx`; `none`: no response |\n\
             | `lane_group`, `lane` | empty: no lane |\n",
        );
        text
    }

    #[test]
    fn metrics_reference_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/metrics.md");
        let fresh = reference();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &fresh).expect("write docs/reference/metrics.md");
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(committed, fresh, "run `cargo xtask codegen` and commit the difference");
    }
}
