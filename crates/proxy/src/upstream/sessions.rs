//! Connections to instances that many requests share: HTTP/2.

use std::{cell::RefCell, net::SocketAddr, rc::Rc};

use hashbrown::HashMap;

use crate::h2::session::SharedSession;

/// One thread's connections that many requests share.
#[derive(Debug, Default)]
pub(crate) struct Sessions(RefCell<HashMap<SocketAddr, Vec<SharedSession>>>);

impl Sessions {
    /// A connection on which another request can go out now.
    pub(super) fn find(&self, address: SocketAddr) -> Option<SharedSession> {
        let mut by_address = self.0.borrow_mut();
        let shared = by_address.get_mut(&address)?;
        shared.retain(|it| !it.borrow().is_leaving());
        shared.iter().find(|it| it.borrow().may_open()).cloned()
    }

    pub(super) fn add(&self, address: SocketAddr, shared: &SharedSession) {
        self.0.borrow_mut().entry(address).or_default().push(Rc::clone(shared));
    }

    /// Opens nothing more on connections to an address: it has gone, or fails. What is under way goes on.
    pub(crate) fn forget(&self, address: SocketAddr) {
        for shared in self.0.borrow_mut().remove(&address).unwrap_or_default() {
            shared.borrow_mut().leave();
        }
    }

    /// Forgets connections that have ended.
    pub(crate) fn sweep(&self) {
        self.0.borrow_mut().retain(|_, shared| {
            shared.retain(|it| !it.borrow().is_leaving());
            !shared.is_empty()
        });
    }
}
