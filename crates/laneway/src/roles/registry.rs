//! The embedded registry behind the control plane's door for sidecars.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use api::{convert::wire::protocol_from, discovery::v1};
use control::Control;
use lanes::{EMBEDDED_SOURCE, Problem};
use registry::{
    Embedded, Joined, RegisterError, Supervised,
    embedded::{EXPIRY, HEARTBEAT_PERIOD},
    supervise,
};
use telemetry::Metrics;

use super::sources::ToControl;

/// Takes what sidecars say to [`Embedded`], and what that says to the control plane.
#[derive(Debug)]
pub(crate) struct Registry {
    control: Arc<Control>,
    metrics: Arc<Metrics>,
    /// What it says, for sources that are joined to it.
    joined: Joined,
    /// Set by `restore`, which comes before everything else.
    embedded: OnceLock<(Embedded, Supervised)>,
}

impl Registry {
    pub(crate) fn new(control: Arc<Control>, metrics: Arc<Metrics>, joined: Joined) -> Self {
        Self { control, metrics, joined, embedded: OnceLock::new() }
    }
}

impl control::Registrations for Registry {
    fn restore(&self, instances: Vec<v1::Instance>) {
        let journal = instances
            .into_iter()
            .filter_map(|instance| {
                let node = instance.node.clone();
                from_wire(instance)
                    .inspect_err(|problem| {
                        tracing::warn!(node, %problem, "a registration of before cannot be restored");
                    })
                    .ok()
            })
            .collect();
        let (embedded, registrar) = Embedded::new(journal);
        embedded.count_in(&self.metrics);
        let told = ToControl::new(EMBEDDED_SOURCE, &self.control);
        let told = self.joined.hearing(EMBEDDED_SOURCE, told);
        let supervised = supervise(EMBEDDED_SOURCE, registrar, told);
        let _ = self.embedded.set((embedded, supervised));
    }

    async fn register(&self, instance: v1::Instance) -> Result<v1::Registered, Problem> {
        let instance = from_wire(instance)?;
        let stopped =
            || Problem::new("", "", "the control plane is stopping; register again later");
        let (embedded, _) = self.embedded.get().ok_or_else(stopped)?;
        match embedded.register(instance).await {
            Ok(Ok(())) => Ok(v1::Registered {
                heartbeat_ms: HEARTBEAT_PERIOD.as_millis() as u32,
                expiry_ms: EXPIRY.as_millis() as u32,
            }),
            Ok(Err(RegisterError::Invalid(problem))) => Err(problem),
            Ok(Err(full @ RegisterError::Full)) => Err(Problem::new("", "", full.to_string())),
            Err(registry::embedded::Stopped) => Err(stopped()),
        }
    }

    async fn heartbeat(&self, node: &str, healthy: bool) -> bool {
        match self.embedded.get() {
            Some((embedded, _)) => embedded.heartbeat(node, healthy).await.unwrap_or(false),
            None => false,
        }
    }

    async fn deregister(&self, node: &str) {
        if let Some((embedded, _)) = self.embedded.get() {
            let _ = embedded.deregister(node).await;
        }
    }
}

/// What a sidecar says of its application, as the registry takes it.
fn from_wire(instance: v1::Instance) -> Result<registry::Instance, Problem> {
    let address = |field: &str, text: &str| {
        text.parse::<SocketAddr>().map_err(|_| {
            Problem::new(field, text, "use an address and a port, e.g. 10.0.0.7:15006")
        })
    };
    let application_address = match instance.application_address.as_str() {
        "" => None,
        text => Some(address("application_address", text)?),
    };
    let all = |field: &str, texts: &[String]| {
        texts.iter().map(|text| address(field, text)).collect::<Result<Vec<_>, _>>()
    };
    let protocol = |protocol: i32| {
        protocol_from("protocol", protocol).map_err(|_| {
            Problem::new("protocol", protocol.to_string(), "this control plane knows http and tcp")
        })
    };
    let further_port = |port: v1::FurtherPort| {
        Ok::<_, Problem>(registry::FurtherPort {
            protocol: protocol(port.protocol)?,
            application_addresses: all("application_addresses", &port.application_addresses)?,
            service: port.service,
        })
    };
    Ok(registry::Instance {
        address: address("address", &instance.address)?,
        application_address,
        further_addresses: all("further_addresses", &instance.further_addresses)?,
        further_application_addresses: all(
            "further_application_addresses",
            &instance.further_application_addresses,
        )?,
        protocol: protocol(instance.protocol)?,
        further_ports: (instance.further_ports.into_iter().enumerate())
            .map(|(index, port)| {
                further_port(port)
                    .map_err(|problem: Problem| problem.under(&format!("further_ports[{index}]")))
            })
            .collect::<Result<_, _>>()?,
        node: instance.node,
        service: instance.service,
        namespace: instance.namespace,
        application: instance.application,
        tag: instance.tag,
        weight: instance.weight,
        metadata: instance.metadata.into_iter().collect(),
        healthy: instance.healthy,
    })
}
