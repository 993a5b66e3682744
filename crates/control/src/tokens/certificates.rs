//! Certificates that data planes have of their tokens: until when each is good that was made or shown since the start.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use api::join::{DataPlaneCertificate, DataPlaneName};
use tokio::sync::watch;

use crate::authority::is_of_mesh;

/// Data planes whose certificates are known: more than can be connected at once. Of others is not known how many there are,
/// and their streams end with the certificate that they were opened with.
const KNOWN_MAX: usize = 100_000;

/// By whose they are.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    until: HashMap<DataPlaneName, watch::Sender<SystemTime>>,
}

/// What stands for the token of the mesh here: its public part is another under each authority, and whoever renews under a new
/// one is who he was. Of another secret than the mesh's of now none is noted.
const MESH: &str = "mesh";

impl Certificates {
    /// One was made, or shown. Whoever holds what this answers hears of those that are made later for the same data plane.
    pub(crate) fn note(
        &mut self,
        certificate: &DataPlaneCertificate,
        now: SystemTime,
    ) -> watch::Receiver<SystemTime> {
        let DataPlaneCertificate { name, ends } = certificate;
        let token = if is_of_mesh(&name.token) { MESH } else { &name.token };
        let name = DataPlaneName { token: token.to_owned(), node: name.node.clone() };
        if self.until.len() >= KNOWN_MAX && !self.until.contains_key(&name) {
            self.until.retain(|_, until| *until.borrow() > now);
            if self.until.len() >= KNOWN_MAX {
                return watch::Sender::new(*ends).subscribe();
            }
        }
        let known = self.until.entry(name).or_insert_with(|| watch::Sender::new(*ends));
        known.send_if_modified(|until| {
            let is_later = *ends > *until;
            *until = (*until).max(*ends);
            is_later
        });
        known.subscribe()
    }

    /// Of a token: how many are good, and until when the last of them is.
    pub(crate) fn of(&self, token: &str, now: SystemTime) -> (u32, Option<SystemTime>) {
        let of_token = self.until.iter().filter(|(name, _)| name.token == token);
        let good = of_token.map(|(_, until)| *until.borrow()).filter(|until| *until > now);
        good.fold((0, None), |(count, last), until| (count + 1, last.max(Some(until))))
    }

    /// A token is no more, and what was made of it with it.
    pub(crate) fn forget(&mut self, token: &str) {
        self.until.retain(|name, _| name.token != token);
    }
}

/// Returns when the last certificate of a data plane has ended.
pub(super) async fn ended(until: &mut watch::Receiver<SystemTime>) {
    loop {
        let ends = *until.borrow_and_update();
        let left = ends.duration_since(SystemTime::now()).unwrap_or_default();
        tokio::select! {
            () = tokio::time::sleep(left) => {
                // A clock that was set back makes it good again.
                if *until.borrow() == ends && ends <= SystemTime::now() + Duration::from_millis(10) {
                    return;
                }
            }
            Ok(()) = until.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_renewal_under_another_authority_is_one_of_the_same_data_plane_of_the_mesh() {
        let now = SystemTime::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut certificates = Certificates::default();
        let mut note = |token: &str, node: &str, ends| {
            let name = DataPlaneName { token: token.to_owned(), node: node.to_owned() };
            certificates.note(&DataPlaneCertificate { name, ends }, now)
        };
        let (of_mesh, of_token) = (note("mesh_0a", "n", at(10)), note("id", "n", at(10)));
        note("mesh_0b", "n", at(20));
        assert_eq!((*of_mesh.borrow(), *of_token.borrow()), (at(20), at(10)));
        // And the renewals after that one.
        note("mesh_0b", "n", at(30));
        assert_eq!(*of_mesh.borrow(), at(30));
        note("mesh_0b", "another", at(40));
        note("another", "n", at(40));
        assert_eq!((*of_mesh.borrow(), *of_token.borrow()), (at(30), at(10)));
    }
}
