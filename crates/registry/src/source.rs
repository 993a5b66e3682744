//! What every source of instances is, and what it promises.

use std::{future::Future, sync::Arc, time::Instant};

use lanes::{Problem, Service, ServiceId};

mod sink;

pub(crate) use sink::Sink;

/// Something that knows instances. [`supervise`](crate::supervise) runs it.
///
/// Whatever it talks to, a source keeps these promises, on which "a tagged instance is never taken for base" and
/// "the last good picture stays" rest:
///
/// - *Whole services.* It tells a service as it is now, never a difference. An instance that was seen healthy stays
///   usable until the source itself says otherwise: an answer that cannot be read is no absence.
/// - *Everything first.* It tells all it has and then says [`Sink::synced`]. Until then nobody believes that what
///   it did not tell is not there. What an earlier run told and this one does not tell before it is synced is gone;
///   so a run that cannot yet know everything is not synced.
/// - *The last picture stays.* When it cannot reach what it watches (a registry is down, credentials are refused) it
///   says [`Sink::stale`] with the reason in words, tells nothing away, and goes on trying; when it is in contact
///   again it tells what changed and says `synced` again. It may also end with the reason: what it told stays all the
///   same, and it is begun again after a pause. A registry that comes back with much less than it had is believed
///   only as far as the source can tell a real loss from one that is still filling.
/// - *Identity.* Tag and application come from `identity::tag_of` and
///   `identity::application_of`, a change of tag is told as a removal and then an addition, and the
///   four parts of a [`ServiceId`] are the source's own words, with the object's name as the source.
/// - *Bounds.* It holds no more than it needs to tell differences, and no lock across an await: a full control plane
///   slows it down, and aborting it between two awaits leaves nothing behind.
///
/// A network source (a registry of others) owns its client and credentials, and waits in `run`. One that is joined to
/// another by address ([`Joined`](crate::Joined)) holds an instance back there until the other knows the address, or time is over.
pub trait Source: Send + 'static {
    /// Tells what there is, and then what changes, for as long as it is polled. Ending, with or without a reason, is
    /// a fault: the same source is run again, and tells everything anew.
    fn run(&mut self, sink: &mut Sink) -> impl Future<Output = Result<(), Ended>> + Send;
}

/// Why a run ended, in words.
pub(crate) type Ended = Box<dyn std::error::Error + Send + Sync>;

/// Whom a source's picture and standing are told to.
pub trait Receiver: Send + Sync + 'static {
    /// Services as they are now, in order; of one service there may be several. In force when it returns.
    fn changed(&self, changes: Vec<Change>);

    /// How the source stands from now on.
    fn stands(&self, standing: &Standing);

    /// All rules of others that the source knows, where they are otherwise than before. Most know none.
    fn ruled(&self, rules: &[Rule]);
}

/// How a source stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It has not told everything yet, since the control plane started.
    Syncing {
        /// What keeps it from that, if it is known.
        problem: Option<String>,
    },
    /// It has told everything, and is in contact.
    Synced,
    /// The same, and what it is told is not as somebody will want it.
    SyncedBut {
        /// What is odd, for people.
        problem: String,
    },
    /// It is out of contact, and its last picture stays.
    Stale {
        /// Since when.
        since: Instant,
        /// Why, for people.
        problem: String,
    },
}

/// A rule of somebody else's that chooses among the instances of an application.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Of which application.
    pub application: String,
    /// The configuration that says it, by group and id.
    pub configuration: String,
}

/// One service as it is now.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which.
    pub service: ServiceId,
    /// What it is; `None`: the source knows it no more. A service whose last instance has left is known all
    /// the same, as one without endpoints.
    pub state: Option<Arc<Service>>,
    /// What is wrong with instances of it: tags that are none, applications that disagree.
    pub problems: Vec<Problem>,
}

impl Change {
    /// A service that is no more.
    pub(crate) fn gone(service: ServiceId) -> Self {
        Self { service, state: None, problems: Vec::new() }
    }
}
