//! A Nacos server: its services in one namespace, followed as they change.
//!
//! One connection at a time, to whichever of the servers answers. Names are listed again and again, which finds new
//! services and, since each call is bounded, a server that is there no more; changes of the known ones are pushed. What
//! is believed of all this is [`picture`]'s to judge.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use ::nacos::{Connection, Error, Pushed, Pushes, Server, ServiceInfo};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::{sync::watch, time::Instant};

use crate::source::{Ended, Sink, Source};

mod picture;
mod registered;

pub use picture::TagCovers;
use picture::{Key, Picture};

/// How often names are listed, and how much longer than a listing took that is at least: a small registry's new service
/// is found within a second, and a large one is not kept busy.
const LISTED_EVERY: Duration = Duration::from_secs(1);
const LISTING_SHARE: u32 = 10;

/// Subscriptions under way at once: a thousand services take a second or two, and the server has others to serve.
const ASKED_AT_ONCE: usize = 64;

/// How often it is looked whether what is kept is to go.
const SETTLING: Duration = Duration::from_millis(250);

/// Least and most pause before servers are tried again, and the pause of one that refuses us: it counts failed logins.
const PAUSE_LEAST: Duration = Duration::from_millis(500);
const PAUSE_MOST: Duration = Duration::from_secs(5);
const PAUSE_REFUSED: Duration = Duration::from_secs(20);

/// What a Nacos source runs with.
#[derive(Debug, Clone)]
pub struct NacosSettings {
    /// The servers of one cluster; at least one.
    pub servers: Vec<Server>,
    /// Namespace, credentials, TLS.
    pub client: ::nacos::Settings,
    /// The groups whose services are taken.
    pub groups: BTreeSet<String>,
    /// What of an address a tag covers.
    pub tag_covers: TagCovers,
}

impl NacosSettings {
    /// Whether other services, or other tags, are meant than by `other`.
    fn means_others(&self, other: &Self) -> bool {
        self.client.namespace != other.client.namespace
            || self.groups != other.groups
            || self.tag_covers != other.tag_covers
    }
}

/// A Nacos server, whose settings can change while it is followed.
#[derive(Debug)]
pub struct NacosSource {
    name: String,
    edited: watch::Receiver<Arc<NacosSettings>>,
    picture: Option<Picture>,
}

impl NacosSource {
    /// The source `name`, with settings as they are now and will be.
    pub fn new(name: &str, edited: watch::Receiver<Arc<NacosSettings>>) -> Self {
        Self { name: name.to_owned(), edited, picture: None }
    }

    fn picture(&self, settings: &NacosSettings) -> Picture {
        // Written or not, there is one name for it.
        let namespace = match settings.client.namespace.trim() {
            "" => "public",
            namespace => namespace,
        };
        Picture::new(&self.name, namespace, settings.tag_covers)
    }
}

impl Source for NacosSource {
    async fn run(&mut self, sink: &mut Sink) -> Result<(), Ended> {
        // A run that ended by a fault of ours told things that its picture may not know of.
        self.picture = None;
        loop {
            let settings = Arc::clone(&self.edited.borrow_and_update());
            let mut picture = match self.picture.take() {
                Some(picture) => picture,
                None => self.picture(&settings),
            };
            let mut servers = Servers::new(&settings);
            tokio::select! {
                changed = self.edited.changed() => if changed.is_err() {
                    // Whoever could edit it is gone, and stops this too.
                    return std::future::pending().await;
                },
                never = servers.follow(&mut picture, sink) => match never {},
            }
            if self.edited.borrow().means_others(&settings) {
                // What is not told again is not meant any more.
                sink.begin();
            } else {
                self.picture = Some(picture);
            }
        }
    }
}

/// The servers of a cluster, tried in turn.
struct Servers<'s> {
    settings: &'s NacosSettings,
    next: usize,
    pause: Duration,
    /// Why we are out of contact, as it was told last.
    told: Option<String>,
}

/// What never is.
enum Never {}

impl<'s> Servers<'s> {
    fn new(settings: &'s NacosSettings) -> Self {
        Self { settings, next: 0, pause: PAUSE_LEAST, told: None }
    }

    /// Follows one server after the other.
    async fn follow(&mut self, picture: &mut Picture, sink: &mut Sink) -> Never {
        loop {
            let server = &self.settings.servers[self.next % self.settings.servers.len()];
            self.next += 1;
            let error = match Connection::open(server, &self.settings.client).await {
                Ok((connection, pushes)) => {
                    picture.connected(Instant::now());
                    let mut session = Session::new(connection, self.settings, picture);
                    let error = session.follow(pushes, sink).await;
                    if session.has_told_all {
                        (self.pause, self.told) = (PAUSE_LEAST, None);
                    }
                    error
                }
                Err(error) => error,
            };
            let is_refused = matches!(
                error,
                Error::Login { .. }
                    | Error::Forbidden { .. }
                    | Error::Secrets(_)
                    | Error::NoNamespace { .. }
            );
            let why = format!("{server}: {error}");
            if self.told.as_ref() != Some(&why) {
                sink.stale(why.clone());
                self.told = Some(why);
            }
            tokio::time::sleep(if is_refused { PAUSE_REFUSED } else { self.pause }).await;
            if self.next.is_multiple_of(self.settings.servers.len()) {
                self.pause = (self.pause * 2).min(PAUSE_MOST);
            }
        }
    }
}

type Names = Vec<(String, BTreeSet<String>)>;

/// What is under way on one connection.
struct Session<'s> {
    connection: Arc<Connection>,
    groups: &'s BTreeSet<String>,
    picture: &'s mut Picture,
    /// Services that were asked for, and when the server looked at what it told of each last.
    asked: HashMap<Key, i64>,
    waiting: VecDeque<Key>,
    asking: FuturesUnordered<BoxFuture<'static, (Key, Result<ServiceInfo, Error>)>>,
    listing: BoxFuture<'static, Result<(Names, Duration), Error>>,
    is_listed: bool,
    /// What was refused or not understood, and groups that nobody registers in.
    odd: Option<String>,
    has_told_all: bool,
}

/// What happens next.
enum Next {
    Listed(Result<(Names, Duration), Error>),
    Answered(Key, Result<ServiceInfo, Error>),
    Pushed(Pushed),
    Settling,
}

impl<'s> Session<'s> {
    fn new(connection: Connection, settings: &'s NacosSettings, picture: &'s mut Picture) -> Self {
        let connection = Arc::new(connection);
        let groups = &settings.groups;
        Self {
            listing: list(Arc::clone(&connection), groups.clone(), Duration::ZERO),
            connection,
            groups,
            picture,
            asked: HashMap::new(),
            waiting: VecDeque::new(),
            asking: FuturesUnordered::new(),
            is_listed: false,
            odd: None,
            has_told_all: false,
        }
    }

    /// Follows the server until the connection is over; says why it is.
    async fn follow(&mut self, mut pushes: Pushes, sink: &mut Sink) -> Error {
        let mut settling = tokio::time::interval(SETTLING);
        loop {
            let next = tokio::select! {
                listed = &mut self.listing => Next::Listed(listed),
                Some((key, answer)) = self.asking.next() => Next::Answered(key, answer),
                pushed = pushes.next() => Next::Pushed(pushed),
                _ = settling.tick(), if self.picture.keeps() => Next::Settling,
            };
            if let Err(error) = self.take(next) {
                return error;
            }
            self.ask_more();
            // A service that is told before all are known could be told as base, though another names its tag.
            if self.is_listed && self.waiting.is_empty() && self.asking.is_empty() {
                self.has_told_all = true;
            }
            if self.has_told_all {
                sink.changed(self.picture.take_changes());
                match self.odd.clone().or_else(|| self.picture.remark()) {
                    Some(odd) => sink.synced_but(odd),
                    None => sink.synced(),
                }
            }
        }
    }

    fn take(&mut self, next: Next) -> Result<(), Error> {
        let now = Instant::now();
        match next {
            Next::Listed(listed) => {
                let (names, took) = listed?;
                self.listed(names, now);
                let pause = LISTED_EVERY.max(took * LISTING_SHARE);
                self.listing = list(Arc::clone(&self.connection), self.groups.clone(), pause);
            }
            Next::Answered(key, Ok(info)) => self.told(&key, &info, now),
            // Of this one nothing is known: its last picture stays, and it is asked for again.
            Next::Answered(key, Err(error)) if error.is_of_one_call() => {
                self.asked.remove(&key);
                self.odd = Some(error.to_string());
            }
            Next::Answered(_, Err(error)) => return Err(error),
            Next::Pushed(Pushed::Service(info)) => {
                let (group, name) = info.group_and_name();
                let key = Key { group: group.to_owned(), name: name.to_owned() };
                // Others may be told of that nobody asked for, or asks for any more.
                if self.asked.contains_key(&key) {
                    self.told(&key, &info, now);
                }
            }
            Next::Pushed(Pushed::Ended(error)) => return Err(error),
            Next::Settling => self.picture.settle(now),
        }
        Ok(())
    }

    fn listed(&mut self, names: Names, now: Instant) {
        let empty = names.iter().find(|(_, names)| names.is_empty());
        self.odd = empty.map(|(group, _)| format!("no service is registered in group `{group}`"));
        let all: BTreeSet<Key> = names
            .into_iter()
            .flat_map(|(group, names)| {
                names.into_iter().map(move |name| Key { group: group.clone(), name })
            })
            .collect();
        self.picture.listed(&all, now);
        self.asked.retain(|key, _| all.contains(key));
        for key in all {
            if !self.asked.contains_key(&key) {
                self.asked.insert(key.clone(), i64::MIN);
                self.waiting.push_back(key);
            }
        }
        self.is_listed = true;
    }

    /// Takes a service as the server saw it, unless it was told later how it is.
    fn told(&mut self, key: &Key, info: &ServiceInfo, now: Instant) {
        let Some(seen) = self.asked.get_mut(key) else { return };
        if info.last_ref_time >= *seen {
            *seen = info.last_ref_time;
            self.picture.told(key, &info.hosts, now);
        }
    }

    fn ask_more(&mut self) {
        while self.asking.len() < ASKED_AT_ONCE
            && let Some(key) = self.waiting.pop_front()
        {
            let connection = Arc::clone(&self.connection);
            let ask = async move {
                let answer = connection.subscribe(&key.group, &key.name).await;
                (key, answer)
            };
            self.asking.push(ask.boxed());
        }
    }
}

/// Lists the services of all groups, after a pause, and says how long that took.
fn list(
    connection: Arc<Connection>,
    groups: BTreeSet<String>,
    pause: Duration,
) -> BoxFuture<'static, Result<(Names, Duration), Error>> {
    let listing = async move {
        tokio::time::sleep(pause).await;
        let began = Instant::now();
        let mut all = Vec::with_capacity(groups.len());
        for group in groups {
            let names = connection.services(&group).await?;
            all.push((group, names));
        }
        Ok((all, began.elapsed()))
    };
    listing.boxed()
}
