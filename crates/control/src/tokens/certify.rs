//! Certificates of data planes: made of a token, renewed with one another, and what they let in as.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use api::{
    discovery::v1::{CertifyRequest, CertifyResponse, Instance},
    join::{DataPlaneCertificate, DataPlaneName, can_name},
};
use tonic::Status;

use super::Holder;
use crate::{
    Control,
    arrived::Arrived,
    authority::{self, CertifyError},
};

impl Control {
    /// Who came with a certificate: as what its token was made for, as long as that is good.
    pub(super) fn admit_by_certificate(
        &self,
        der: &[u8],
        now: SystemTime,
    ) -> Result<Holder, Status> {
        let certificate = self.authorities.verify(der, now);
        let certificate =
            certificate.map_err(|not_good| Status::unauthenticated(not_good.to_string()))?;
        let DataPlaneCertificate { name, .. } = &certificate;
        let mut tokens = self.tokens();
        let holder = match authority::is_of_mesh(&name.token) {
            true => self.has_name_of_mesh(&name.token, now).then_some(Holder::MESH),
            false => tokens.holder_of(&name.token),
        };
        let Some(holder) = holder else {
            return Err(Status::unauthenticated(format!(
                "the certificate was made of token {}, which was revoked or is no more: show another (--join-token-file), made with `laneway token create`",
                name.token
            )));
        };
        let until = tokens.certificates.note(&certificate, now);
        Ok(holder.by_certificate(name.clone(), until))
    }

    /// Whether the join token of the mesh is still the one that has this public part.
    fn has_name_of_mesh(&self, name: &str, now: SystemTime) -> bool {
        self.join_secret().is_some_and(|secret| {
            self.authorities.names_of_mesh(secret, now).iter().any(|known| known == name)
        })
    }

    /// Makes a certificate for who shows a token, or renews the one that the connection was made with.
    pub(crate) fn certify(
        self: &Arc<Self>,
        request: &CertifyRequest,
        arrived: &Arrived,
        now: SystemTime,
    ) -> Result<CertifyResponse, Status> {
        let CertifyRequest { node, join_token, signing_request } = request;
        if !arrived.in_tls {
            return Err(Status::failed_precondition(
                "certificates are made in TLS alone: connect in TLS (a token of `laneway token create`, or --control-ca)",
            ));
        }
        let holder = self.admit(join_token, arrived)?;
        holder.is_of_node(node).map_err(|problem| {
            let reason = problem.to_string();
            let instance = Instance { node: node.clone(), ..Instance::default() };
            if self.refusals().add(&instance, &reason, Instant::now()) {
                tracing::warn!(node, reason, "a certificate is refused");
            }
            Status::permission_denied(reason)
        })?;
        if !can_name(node) {
            let text = format!("node: `{node}`: use at most 64 letters, digits, - and _");
            return Err(Status::invalid_argument(text));
        }
        let token = match holder.token() {
            Some(token) => Some(token.to_owned()),
            None if self.is_join_token(join_token) || holder.has_certificate() => {
                let newest = self.authorities.newest();
                self.join_secret().and_then(|secret| newest?.name_of_mesh(secret))
            }
            None => None,
        };
        let Some(token) = token else {
            return Err(Status::failed_precondition(
                "join_token: show one: a certificate is made of a token, and none was shown that lasts",
            ));
        };
        let name = DataPlaneName { token, node: node.clone() };
        let made = self.authorities.certify(signing_request, &name, &holder.shown(), now);
        let made = made.map_err(|error| match error {
            CertifyError::Request(_) => Status::invalid_argument(error.to_string()),
            CertifyError::Nobody | CertifyError::Made(_) => Status::unavailable(error.to_string()),
        })?;
        let token = name.token.clone();
        self.tokens().certificates.note(&DataPlaneCertificate { name, ends: made.ends }, now);
        tracing::info!(node, token, renewed = holder.has_certificate(), "a certificate was made");
        let believed = self.authorities.believed(now);
        Ok(CertifyResponse {
            certificate: made.certificate,
            authorities: believed.iter().map(|it| it.certificate.clone()).collect(),
            life_seconds: self.authorities.life().as_secs() as u32,
        })
    }
}
