//! What entrances tell of their own settings, which no resource says.

use std::collections::BTreeMap;

use routes::entrance::CorrelationHeaders;

/// Where correlation ids are looked for: what an entrance drops that does not believe its clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reported {
    gateways: BTreeMap<String, CorrelationHeaders>,
    applications: BTreeMap<String, CorrelationHeaders>,
    /// What who tells nothing looks for.
    usual: CorrelationHeaders,
}

impl Reported {
    /// A gateway's; of several with one name the last counts.
    pub fn add_gateway(&mut self, name: &str, headers: CorrelationHeaders) {
        self.gateways.insert(name.to_owned(), headers);
    }

    /// That of the sidecars of an application; of several the last counts.
    pub fn add_application(&mut self, name: &str, headers: CorrelationHeaders) {
        self.applications.insert(name.to_owned(), headers);
    }

    /// That of a gateway.
    pub fn of_gateway(&self, name: &str) -> &CorrelationHeaders {
        self.told_by_gateway(name).unwrap_or(&self.usual)
    }

    /// That of a gateway that tells it.
    pub fn told_by_gateway(&self, name: &str) -> Option<&CorrelationHeaders> {
        self.gateways.get(name)
    }

    /// Those of the sidecars that tell it, by application.
    pub fn applications(&self) -> impl Iterator<Item = (&str, &CorrelationHeaders)> {
        self.applications.iter().map(|(application, headers)| (application.as_str(), headers))
    }

    /// That of an application.
    pub fn of_application(&self, name: &str) -> &CorrelationHeaders {
        self.applications.get(name).unwrap_or(&self.usual)
    }
}
