//! What entrances tell of their own settings, which no resource says.

use std::collections::HashMap;

use routes::entrance::CorrelationHeaders;

/// Where correlation ids are looked for: what an entrance drops that does not believe its clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reported {
    gateways: HashMap<String, CorrelationHeaders>,
    applications: HashMap<String, CorrelationHeaders>,
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
        self.gateways.get(name).unwrap_or(&self.usual)
    }

    /// That of an application.
    pub fn of_application(&self, name: &str) -> &CorrelationHeaders {
        self.applications.get(name).unwrap_or(&self.usual)
    }
}
