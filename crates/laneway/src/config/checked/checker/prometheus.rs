//! Which Prometheus is asked what passed.

use std::{fs, path::PathBuf};

use control::PrometheusSettings;
use hyper::Uri;

use super::Checker;
use crate::config::raw;

const REMEDY: &str = "name where Prometheus answers, e.g. http://10.0.0.9:9090 or https://metrics.example/prometheus: no user, query or fragment in it";

impl Checker<'_> {
    /// `Some(None)`: none is named.
    pub(super) fn prometheus(
        &mut self,
        raw: &raw::ControlPlane,
    ) -> Option<Option<PrometheusSettings>> {
        let files = [
            ("prometheus-token-file", &raw.prometheus_token_file),
            ("prometheus-ca-file", &raw.prometheus_ca_file),
        ];
        let Some(url) = &raw.prometheus_url else {
            let matchers = Some(raw.prometheus_matchers.clone()).filter(|it| !it.is_empty());
            for (key, value) in files.into_iter().chain([("prometheus-matchers", &matchers)]) {
                if let Some(value) = value {
                    self.refuse(
                        key,
                        value,
                        "name the Prometheus that it is for, too: prometheus-url",
                    );
                }
            }
            return Some(None);
        };
        if !is_url(url) {
            self.refuse("prometheus-url", url, REMEDY);
            return None;
        }
        for (key, file) in files {
            if let Some(file) = file
                && let Err(error) = fs::read(file)
            {
                self.refuse_for_now(key, file, format!("name a file that can be read: {error}"));
                return None;
            }
        }
        Some(Some(PrometheusSettings {
            url: url.trim_end_matches('/').to_owned(),
            matchers: raw.prometheus_matchers.clone(),
            token_file: raw.prometheus_token_file.clone().map(PathBuf::from),
            ca_file: raw.prometheus_ca_file.clone().map(PathBuf::from),
        }))
    }
}

/// Whether this may stand before `/api/v1`.
fn is_url(text: &str) -> bool {
    let Ok(url) = text.parse::<Uri>() else { return false };
    let authority = url.authority().map(|it| it.as_str()).unwrap_or_default();
    matches!(url.scheme_str(), Some("http" | "https"))
        && !authority.is_empty()
        && !authority.contains('@')
        && url.query().is_none()
        && !text.contains('#')
}

#[cfg(test)]
mod tests {
    use super::is_url;

    #[test]
    fn a_prometheus_is_named_by_where_it_answers() {
        for (text, expected) in [
            ("http://10.0.0.9:9090", true),
            ("https://metrics.example/prometheus/", true),
            ("http://[::1]:9090", true),
            ("10.0.0.9:9090", false),
            ("metrics.example", false),
            ("ftp://metrics.example", false),
            ("http://user:word@metrics.example", false),
            ("http://metrics.example/?a=b", false),
            ("http://metrics.example/#a", false),
            ("http://", false),
            ("", false),
        ] {
            assert_eq!(is_url(text), expected, "{text}");
        }
    }
}
