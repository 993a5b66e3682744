//! Connections to instances that many requests share: HTTP/2.

use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    rc::{Rc, Weak},
};

use hashbrown::HashMap;
use tokio::sync::Notify;

use super::pool::{IDLE_MS_MAX, Place};
use crate::{
    error::{Kind, ProxyError},
    h2::session::SharedSession,
    transport::Connection,
};

/// One thread's connections that many requests share.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    open: RefCell<HashMap<Place, Vec<Used>>>,
    /// At most one at a time to a place.
    opening: RefCell<HashMap<Place, Weak<Opening>>>,
}

/// A connection, and what goes over it.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) session: SharedSession,
    pub(super) connection: Rc<Connection>,
}

#[derive(Debug)]
struct Used {
    shared: Shared,
    used_ms: u64,
}

impl Sessions {
    /// A connection on which another request can go out now.
    pub(super) fn find(&self, place: Place, now_ms: u64) -> Option<Shared> {
        let mut open = self.open.borrow_mut();
        let used = open.get_mut(&place)?;
        let free = used.iter_mut().find(|it| it.shared.session.borrow().may_open())?;
        free.used_ms = now_ms;
        Some(free.shared.clone())
    }

    pub(super) fn add(&self, place: Place, shared: Shared, used_ms: u64) {
        self.open.borrow_mut().entry(place).or_default().push(Used { shared, used_ms });
    }

    /// What becomes of the connection that somebody is opening there; `None`: nobody is.
    pub(super) fn opening(&self, place: Place) -> Option<Rc<Outcome>> {
        let opening = self.opening.borrow().get(&place)?.upgrade()?;
        Some(Rc::clone(&opening.outcome))
    }

    /// Begins to open a connection.
    pub(super) fn begin_to_open(&self, place: Place) -> Rc<Opening> {
        let opening = Rc::new(Opening::default());
        self.opening.borrow_mut().insert(place, Rc::downgrade(&opening));
        opening
    }

    /// Opens nothing more on connections to an address: it has gone, or fails. What is under way goes on.
    pub(crate) fn forget(&self, address: SocketAddr) {
        self.open.borrow_mut().retain(|place, used| {
            let stays = place.address != address;
            if !stays {
                used.iter().for_each(|it| it.shared.session.borrow_mut().leave());
            }
            stays
        });
    }

    /// Ends what nobody has used for long, before anybody could begin to use it again; forgets what has ended.
    pub(crate) fn sweep(&self, now_ms: u64) {
        self.open.borrow_mut().retain(|_, used| {
            used.retain_mut(|it| {
                let mut session = it.shared.session.borrow_mut();
                if session.stream_count() > 0 {
                    it.used_ms = now_ms;
                } else if it.used_ms + IDLE_MS_MAX <= now_ms {
                    session.leave();
                }
                !session.is_leaving()
            });
            !used.is_empty()
        });
        self.opening.borrow_mut().retain(|_, opening| opening.strong_count() > 0);
    }
}

/// A connection that somebody opens, until others can use it, or never will: then it is dropped.
#[derive(Debug, Default)]
pub(super) struct Opening {
    outcome: Rc<Outcome>,
}

impl Opening {
    /// Nobody can connect.
    pub(super) fn failed(&self, error: &ProxyError) {
        self.outcome.failed.replace(match &error.kind {
            Kind::Shortage(error) => Some(Failed::Shortage(error.kind())),
            Kind::Connect(error) | Kind::Reset(error) => Some(Failed::Connect(error.kind())),
            Kind::UpstreamTls(why) => Some(Failed::Tls(why.clone())),
            _ => None,
        });
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.outcome.told.notify_waiters();
    }
}

/// What becomes of it, for those who wait.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    told: Notify,
    failed: RefCell<Option<Failed>>,
}

/// Why nobody can connect.
#[derive(Debug, Clone)]
enum Failed {
    /// For want of something of our own.
    Shortage(io::ErrorKind),
    Connect(io::ErrorKind),
    Tls(String),
}

impl Outcome {
    /// Waits until there is something to be used, or whoever opened it has given up. An error where it failed.
    pub(super) async fn wait(&self) -> Result<(), ProxyError> {
        self.told.notified().await;
        let kind = match self.failed.borrow().clone() {
            None => return Ok(()),
            Some(Failed::Shortage(kind)) => Kind::Shortage(kind.into()),
            Some(Failed::Connect(kind)) => Kind::Connect(kind.into()),
            Some(Failed::Tls(why)) => Kind::UpstreamTls(why),
        };
        Err(ProxyError::unsent(kind))
    }
}
