//! Who was let in, and what that allows: everything to the mesh, its own application to an application.

use std::time::SystemTime;

use api::{
    discovery::v1::{self, Hello, Instance},
    join::DataPlaneName,
    resource::DEFAULT_NAMESPACE,
};
use lanes::{Problem, Tag, name::BASE};
use tokio::sync::watch;
use tonic::Status;

use super::certificates;
use crate::{hub::Hub, store::StoredToken};

/// Who has shown a good token, or a certificate that was made of one, or was asked for neither.
#[derive(Debug)]
pub(crate) struct Holder {
    of: Option<OfApplication>,
    certificate: Option<Certificate>,
}

/// A certificate was shown.
#[derive(Debug)]
struct Certificate {
    name: DataPlaneName,
    /// Until when the last one of this data plane is good.
    until: watch::Receiver<SystemTime>,
}

/// Why somebody is let in no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The token was revoked.
    Revoked,
    /// The certificate has ended and was not renewed.
    Expired,
}

impl Ended {
    /// What its holder is told.
    pub(crate) fn status(&self) -> Status {
        Status::unauthenticated(match self {
            Self::Revoked => {
                "join_token is unknown or was revoked: show another, made with `laneway token create`"
            }
            Self::Expired => {
                "the certificate has ended and was not renewed in time: join again with a token (--join-token-file)"
            }
        })
    }
}

/// The token of an application was shown.
#[derive(Debug)]
struct OfApplication {
    id: String,
    namespace: String,
    application: String,
    /// None: any. Empty: base.
    tag: Option<String>,
    /// Closed when the token is revoked.
    good: watch::Receiver<()>,
}

impl Holder {
    /// May do everything, for ever.
    pub(crate) const MESH: Self = Self { of: None, certificate: None };

    pub(super) fn of(token: &StoredToken, good: watch::Receiver<()>) -> Self {
        let of = OfApplication {
            id: token.id.clone(),
            namespace: token.namespace.clone(),
            application: token.application.clone(),
            tag: token.tag.clone(),
            good,
        };
        Self { of: Some(of), certificate: None }
    }

    /// The same, shown by a certificate.
    pub(super) fn by_certificate(
        self,
        name: DataPlaneName,
        until: watch::Receiver<SystemTime>,
    ) -> Self {
        Self { certificate: Some(Certificate { name, until }), ..self }
    }

    /// Whether a certificate was shown.
    pub(crate) fn has_certificate(&self) -> bool {
        self.certificate.is_some()
    }

    /// Whose certificate was shown.
    pub(super) fn name(&self) -> Option<&DataPlaneName> {
        self.certificate.as_ref().map(|certificate| &certificate.name)
    }

    /// The public part of the application's token.
    pub(super) fn token(&self) -> Option<&str> {
        self.of.as_ref().map(|of| of.id.as_str())
    }

    /// What a certificate of this is made out to, for people.
    pub(super) fn shown(&self) -> String {
        match &self.of {
            Some(of) => format!("{}/{}", of.namespace, of.application),
            None => "the mesh".to_owned(),
        }
    }

    /// Whether a certificate that was shown is of this node.
    pub(super) fn is_of_node(&self, node: &str) -> Result<(), Problem> {
        match self.name() {
            Some(name) if !name.is_of(node) => {
                let remedy = format!(
                    "use {}, whose certificate this is, or give that data plane a directory and a join token of its own (--data, --join-token-file)",
                    name.node
                );
                Err(Problem::new("node", node, remedy))
            }
            _ => Ok(()),
        }
    }

    /// Whether it may do everything.
    pub(crate) fn is_of_mesh(&self) -> bool {
        self.of.is_none()
    }

    /// Returns when it is let in no longer.
    pub(crate) async fn ended(&mut self) -> Ended {
        let revoked = async {
            match &mut self.of {
                Some(of) => while of.good.changed().await.is_ok() {},
                None => std::future::pending().await,
            }
        };
        let expired = async {
            match &mut self.certificate {
                Some(certificate) => certificates::ended(&mut certificate.until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = revoked => Ended::Revoked,
            () = expired => Ended::Expired,
        }
    }

    /// Whether it may follow as this data plane.
    pub(crate) fn may_follow(&self, hello: &Hello, hub: &Hub) -> Result<(), Problem> {
        self.is_of_node(&hello.node)?;
        let Some(of) = &self.of else { return Ok(()) };
        if !matches!(hello.role(), v1::Role::Sidecar | v1::Role::Agent) {
            let remedy = format!(
                "show the join token of the mesh: {of} is good for sidecars and agents alone"
            );
            return Err(Problem::new("role", crate::hello::role(hello), remedy));
        }
        let namespace = match hello.namespace.as_str() {
            "" => DEFAULT_NAMESPACE,
            namespace => namespace,
        };
        of.check("name", &hello.name, namespace, &hello.tag)?;
        // Also while it is away for a moment.
        match hub.data_plane(&hello.node).map(crate::distribute::DataPlane::hello) {
            Some(other) if other.role() != hello.role() || other.name != hello.name => {
                let remedy = format!(
                    "give this {} a node of its own (a sidecar: --data): it is the node of {}",
                    crate::hello::role(hello),
                    crate::hello::shown(other)
                );
                Err(Problem::new("node", &hello.node, remedy))
            }
            _ => Ok(()),
        }
    }

    /// Whether it may register this instance.
    pub(crate) fn may_register(&self, instance: &Instance, hub: &Hub) -> Result<(), Problem> {
        self.is_of_node(&instance.node)?;
        let Some(of) = &self.of else { return Ok(()) };
        of.check("application", instance.application.trim(), &instance.namespace, &instance.tag)?;
        if of.tag.is_some()
            && let Some(key) = instance.metadata.keys().min()
        {
            // Some keys name a tag, and are believed before what is announced.
            let remedy = format!("announce without metadata: {of} is good for one tag");
            return Err(Problem::new(format!("metadata[{key}]"), "", remedy));
        }
        of.check_service("service", &instance.service, &instance.namespace, hub)?;
        for (index, port) in instance.further_ports.iter().enumerate() {
            let field = format!("further_ports[{index}].service");
            of.check_service(&field, &port.service, &instance.namespace, hub)?;
        }
        Ok(())
    }
}

impl OfApplication {
    fn check(
        &self,
        field: &str,
        application: &str,
        namespace: &str,
        tag: &str,
    ) -> Result<(), Problem> {
        let refuse = |field: &str, value: &str, what: &str, good: &str| {
            let remedy =
                format!("use {good}, or show another token: {self} is good for no other {what}");
            Err(Problem::new(field, value, remedy))
        };
        if application != self.application {
            return refuse(field, application, "application", &self.application);
        }
        if namespace != self.namespace {
            return refuse("namespace", namespace, "namespace", &self.namespace);
        }
        let Some(good) = &self.tag else { return Ok(()) };
        let announced = Tag::parse(tag.trim());
        match announced.as_ref().map(|tag| tag.as_ref().map_or("", Tag::as_str)) {
            Ok(announced) if announced == good => Ok(()),
            _ => refuse("tag", shown(tag), "tag", shown(good)),
        }
    }
}

fn shown(tag: &str) -> &str {
    if tag.is_empty() { BASE } else { tag }
}

impl OfApplication {
    /// Whether a service is none of another application's.
    fn check_service(
        &self,
        field: &str,
        name: &str,
        namespace: &str,
        hub: &Hub,
    ) -> Result<(), Problem> {
        let mut services = hub.picture().services.all();
        let other = services.find(|service| {
            service.name().eq_ignore_ascii_case(name)
                && service.id().namespace() == namespace
                && **service.application() != *self.application
        });
        let Some(other) = other else { return Ok(()) };
        let remedy = format!(
            "name a service of {}, or show the join token of the mesh: it is a service of {}",
            self.application,
            other.application()
        );
        Err(Problem::new(field, name, remedy))
    }
}

/// By its public part, for people.
impl std::fmt::Display for OfApplication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "token {} of application {}", self.id, self.application)
    }
}
