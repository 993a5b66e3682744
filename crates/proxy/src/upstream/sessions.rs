//! Connections to instances that many requests share: HTTP/2.

use std::{cell::RefCell, net::SocketAddr, rc::Rc};

use hashbrown::HashMap;

use super::pool::{IDLE_MS_MAX, Place};
use crate::h2::session::SharedSession;

/// One thread's connections that many requests share.
#[derive(Debug, Default)]
pub(crate) struct Sessions(RefCell<HashMap<Place, Vec<Shared>>>);

#[derive(Debug)]
struct Shared {
    session: SharedSession,
    used_ms: u64,
}

impl Sessions {
    /// A connection on which another request can go out now.
    pub(super) fn find(&self, place: Place, now_ms: u64) -> Option<SharedSession> {
        let mut by_place = self.0.borrow_mut();
        let shared = by_place.get_mut(&place)?;
        let free = shared.iter_mut().find(|it| it.session.borrow().may_open())?;
        free.used_ms = now_ms;
        Some(Rc::clone(&free.session))
    }

    pub(super) fn add(&self, place: Place, session: &SharedSession, now_ms: u64) {
        let shared = Shared { session: Rc::clone(session), used_ms: now_ms };
        self.0.borrow_mut().entry(place).or_default().push(shared);
    }

    /// Opens nothing more on connections to an address: it has gone, or fails. What is under way goes on.
    pub(crate) fn forget(&self, address: SocketAddr) {
        self.0.borrow_mut().retain(|place, shared| {
            let stays = place.address != address;
            if !stays {
                shared.iter().for_each(|it| it.session.borrow_mut().leave());
            }
            stays
        });
    }

    /// Ends what nobody has used for long, before anybody could begin to use it again; forgets what has ended.
    pub(crate) fn sweep(&self, now_ms: u64) {
        self.0.borrow_mut().retain(|_, shared| {
            shared.retain_mut(|it| {
                let mut session = it.session.borrow_mut();
                if session.stream_count() > 0 {
                    it.used_ms = now_ms;
                } else if it.used_ms + IDLE_MS_MAX <= now_ms {
                    session.leave();
                }
                !session.is_leaving()
            });
            !shared.is_empty()
        });
    }
}
