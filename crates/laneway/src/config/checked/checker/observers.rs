//! Who is told of single requests: the access log, and where spans are sent.

use std::{fs::File, io, io::Read as _, path::PathBuf};

use telemetry::{
    access_log::AccessLogConfig,
    traces::{Collector, Endpoint, HEADERS_BYTES_MAX, Headers, Protocol, RootSampler},
};

use super::{Checker, Observers, hundredths};
use crate::config::raw;

/// The largest that a file of the access log may be set to: a terabyte.
const ACCESS_LOG_MEGABYTES_MAX: u32 = 1_000_000;

/// More files of an access log than anybody reads, each of which has a new name whenever one is put aside.
const ACCESS_LOG_FILES_MAX: u32 = 1000;

/// What is shown of what may be a secret.
const NOT_SHOWN: &str = "***";

impl Checker<'_> {
    pub(in crate::config::checked) fn observers(
        &mut self,
        raw: raw::Observers,
    ) -> Option<Observers> {
        let megabytes = &raw.access_log_megabytes;
        let megabytes = self.number("access-log-megabytes", megabytes, 1, ACCESS_LOG_MEGABYTES_MAX);
        let files_max =
            self.number("access-log-files", &raw.access_log_files, 1, ACCESS_LOG_FILES_MAX);
        let traces = self.traces(&raw);
        let path = match raw.access_log {
            Some(text) if text.is_empty() || text.ends_with('/') => {
                self.refuse("access-log", &text, "name a file, or - for standard output");
                return None;
            }
            text => text.map(|text| (text != "-").then(|| PathBuf::from(text))),
        };
        let (megabytes, files_max) = (megabytes?, files_max?);
        let file_bytes_max = u64::from(megabytes) * 1_000_000;
        let access_log = path.map(|path| AccessLogConfig { path, file_bytes_max, files_max });
        Some(Observers { access_log, traces: traces? })
    }

    /// `Some(None)`: they are sent nowhere.
    fn traces(&mut self, raw: &raw::Observers) -> Option<Option<(Collector, RootSampler)>> {
        const PERCENT: &str = "otlp-root-percent";
        let percent = &raw.otlp_root_percent;
        let sampler = hundredths(percent).map(RootSampler::of_hundredths);
        if sampler.is_none() {
            self.refuse(PERCENT, percent, "use a number from 0 to 100 with at most two decimals");
        }
        let protocol = Protocol::named(&raw.otlp_protocol);
        if protocol.is_none() {
            self.refuse("otlp-protocol", &raw.otlp_protocol, "use http/protobuf or grpc");
        }
        let headers = self.otlp_headers(raw);
        let Some(base) = &raw.otlp_endpoint else {
            let of_nobody = [
                ("otlp-ca-file", raw.otlp_ca_file.as_deref()),
                ("otlp-headers-file", raw.otlp_headers_file.as_deref()),
                ("otlp-headers", raw.otlp_headers.as_ref().map(|_| NOT_SHOWN)),
            ];
            for (key, value) in of_nobody {
                if let Some(value) = value {
                    let remedy = "name the collector that it is for, too: otlp-endpoint";
                    self.refuse(key, value, remedy);
                }
            }
            return self.problems.is_empty().then_some(None);
        };
        let collector = self.collector(base, protocol?, raw.otlp_ca_file.as_deref(), headers?);
        Some(Some((collector?, sampler?)))
    }

    fn collector(
        &mut self,
        base: &str,
        protocol: Protocol,
        ca_file: Option<&str>,
        headers: Headers,
    ) -> Option<Collector> {
        let endpoint = match Endpoint::of(base, protocol) {
            Ok(endpoint) => endpoint,
            Err(problem) => {
                self.refuse("otlp-endpoint", base, problem.to_string());
                return None;
            }
        };
        if let Some(file) = ca_file.filter(|_| !endpoint.is_secure()) {
            let remedy = "name a collector that is reached in TLS, as https://…, or leave this out";
            self.refuse("otlp-ca-file", file, remedy);
            return None;
        }
        let collector = Collector { endpoint, ca_file: ca_file.map(PathBuf::from), headers };
        match (collector.tls(), ca_file) {
            (Ok(_), _) => Some(collector),
            (Err(error), Some(file)) => {
                let remedy = format!("name a file with certificates in PEM ({error})");
                self.refuse_for_now("otlp-ca-file", file, remedy);
                None
            }
            (Err(error), None) => {
                let remedy = format!("name whom to believe in TLS: otlp-ca-file ({error})");
                self.refuse_for_now("otlp-endpoint", base, remedy);
                None
            }
        }
    }

    fn otlp_headers(&mut self, raw: &raw::Observers) -> Option<Headers> {
        const OF_FILE: &str = "otlp-headers-file";
        const KEY: &str = "otlp-headers";
        let is_seen = self.origins.get(KEY).is_some_and(|origin| origin.starts_with("--"));
        if raw.otlp_headers.is_some() && is_seen {
            let remedy = "everybody on this machine sees what is written there: use the variable LANEWAY_OTLP_HEADERS, or otlp-headers-file";
            self.refuse(KEY, NOT_SHOWN, remedy);
            return None;
        }
        let (key, shown, text) = match (&raw.otlp_headers_file, &raw.otlp_headers) {
            (None, None) => return Some(Headers::default()),
            (Some(path), Some(_)) => {
                self.refuse(OF_FILE, path, "say the headers once: there is otlp-headers, too");
                return None;
            }
            (None, Some(text)) => (KEY, NOT_SHOWN, text.clone()),
            (Some(path), None) => match read_bounded(path) {
                Ok(text) => (OF_FILE, path.as_str(), text),
                Err(error) => {
                    let remedy = format!("name a file with headers that can be read ({error})");
                    self.refuse_for_now(OF_FILE, path, remedy);
                    return None;
                }
            },
        };
        match Headers::parse(&text) {
            Ok(headers) if headers.is_empty() => {
                self.refuse(key, shown, "write name=value into it, or leave it out");
                None
            }
            Ok(headers) => Some(headers),
            Err(problem) => {
                self.refuse(key, shown, problem.to_string());
                None
            }
        }
    }
}

/// As much as headers may be, and one byte more.
fn read_bounded(path: &str) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(HEADERS_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}
