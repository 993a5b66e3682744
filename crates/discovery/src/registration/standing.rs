//! How a registration stands, for people and for readiness.

use serde_json::{Value, json};

use crate::Readiness;

/// How the registration stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The application answers its probe.
    pub(super) healthy: bool,
    /// The control plane has confirmed the instance.
    pub registered: bool,
    /// Why it is not registered, though it should be.
    pub problem: Option<String>,
}

impl Standing {
    /// For `/readyz`: whether a sidecar can do its work, given how its configuration stands.
    pub fn readiness(&self, configuration: Readiness) -> Readiness {
        // Without a control plane nobody can register; what callers knew before still holds.
        if !configuration.ready || configuration.stale || self.registered {
            return configuration;
        }
        let reason = self.problem.as_deref().unwrap_or("the application does not answer yet");
        Readiness { ready: false, stale: false, reason: format!("not registered: {reason}") }
    }

    /// For `/status`.
    pub fn status(&self) -> Value {
        json!({
            "applicationAnswers": self.healthy,
            "registered": self.registered,
            "problem": self.problem,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(ready: bool, stale: bool) -> Readiness {
        Readiness { ready, stale, reason: "the configuration's".into() }
    }

    #[test]
    fn a_sidecar_is_ready_when_registered_or_when_nobody_can_be() {
        let unregistered = Standing::default();
        let registered = Standing { healthy: true, registered: true, problem: None };
        for (standing, ready, stale, is_ready, reason) in [
            (&registered, true, false, true, "the configuration's"),
            (
                &unregistered,
                true,
                false,
                false,
                "not registered: the application does not answer yet",
            ),
            (&unregistered, true, true, true, "the configuration's"),
            (&unregistered, false, false, false, "the configuration's"),
            (&registered, false, false, false, "the configuration's"),
        ] {
            let readiness = standing.readiness(configuration(ready, stale));
            assert_eq!((readiness.ready, readiness.reason.as_str()), (is_ready, reason));
        }
        let refused = Standing { problem: Some("no such service".into()), ..unregistered };
        let readiness = refused.readiness(configuration(true, false));
        assert_eq!(readiness.reason, "not registered: no such service");
    }
}
