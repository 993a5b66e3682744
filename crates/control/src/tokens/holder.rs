//! Who was let in, and what that allows: everything to the mesh, its own application to an application.

use api::{
    discovery::v1::{self, Hello, Instance},
    resource::DEFAULT_NAMESPACE,
};
use lanes::{Problem, Tag, name::BASE};
use tokio::sync::watch;

use crate::{hub::Hub, store::StoredToken};

/// Who has shown a good token, or was asked for none.
#[derive(Debug)]
pub(crate) struct Holder(Option<OfApplication>);

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
    pub(crate) const MESH: Self = Self(None);

    pub(super) fn of(token: &StoredToken, good: watch::Receiver<()>) -> Self {
        Self(Some(OfApplication {
            id: token.id.clone(),
            namespace: token.namespace.clone(),
            application: token.application.clone(),
            tag: token.tag.clone(),
            good,
        }))
    }

    /// Whether it may do everything.
    pub(crate) fn is_of_mesh(&self) -> bool {
        self.0.is_none()
    }

    /// Returns when the token is revoked.
    pub(crate) async fn revoked(&mut self) {
        match &mut self.0 {
            Some(of) => while of.good.changed().await.is_ok() {},
            None => std::future::pending().await,
        }
    }

    /// Whether it may follow as this data plane.
    pub(crate) fn may_follow(&self, hello: &Hello, hub: &Hub) -> Result<(), Problem> {
        let Some(of) = &self.0 else { return Ok(()) };
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
        let Some(of) = &self.0 else { return Ok(()) };
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
