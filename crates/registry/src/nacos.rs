//! A Nacos server: its services in one namespace, followed as they change.
//!
//! One connection at a time, to whichever of the servers answers. Names are listed again and again, which finds new
//! services and, since each call is bounded, a server that is there no more; changes of the known ones are pushed. What
//! is believed of all this is [`picture`]'s to judge.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use ::nacos::{Connection, Error, Pushed, Pushes, Server, ServiceInfo};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::{sync::watch, time::Instant};

use crate::{
    joined::Joined,
    source::{Ended, Sink, Source},
};

mod followed;
mod joins;
mod picture;
mod registered;
mod rules;

use followed::{Followed, Listing};
use joins::Joins;
pub use picture::TagCovers;
use picture::{Key, Picture};
use rules::{Found, Rules};

/// The pause between two listings: as many times what the last took, which keeps a large registry from being busy with
/// us. At least a second, within which a small one's new service is found; at most what a lost server may be looked for.
const LISTING_SHARE: u32 = 10;
const PAUSE_BETWEEN_LEAST: Duration = Duration::from_secs(1);
const PAUSE_BETWEEN_MOST: Duration = Duration::from_secs(10);

/// How long the listing of all groups may take.
const LISTING_TIMEOUT: Duration = Duration::from_secs(30);

/// Subscriptions under way at once: a thousand services take a second or two, and the server has others to serve.
const ASKED_AT_ONCE: usize = 64;

/// How often it is looked whether what is kept is to go, or what is held back is to be told.
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
    /// Sources that may say the tag of an instance where nothing here does, by name; the first that knows its address
    /// counts.
    pub joins: Vec<String>,
}

impl NacosSettings {
    /// Whether other services, or other tags, are meant than by `other`.
    fn means_others(&self, other: &Self) -> bool {
        self.client.namespace != other.client.namespace
            || self.groups != other.groups
            || self.tag_covers != other.tag_covers
            || self.joins != other.joins
    }
}

/// A Nacos server, whose settings can change while it is followed.
#[derive(Debug)]
pub struct NacosSource {
    name: String,
    edited: watch::Receiver<Arc<NacosSettings>>,
    joined: Joined,
    picture: Option<Picture>,
    /// The id of the namespace, once a server said which it is.
    namespace: Option<String>,
}

impl NacosSource {
    /// The source `name`, with settings as they are now and will be, and what other sources say.
    pub fn new(name: &str, edited: watch::Receiver<Arc<NacosSettings>>, joined: Joined) -> Self {
        Self { name: name.to_owned(), edited, joined, picture: None, namespace: None }
    }

    fn picture(&self, settings: &NacosSettings) -> Picture {
        // Written or not, there is one name for it.
        let namespace = match settings.client.namespace.trim() {
            "" => "public",
            namespace => namespace,
        };
        let shares_ip = settings.tag_covers == TagCovers::Address;
        let joins = Joins::new(&self.joined, &settings.joins, shares_ip);
        Picture::new(&self.name, namespace, settings.tag_covers, joins)
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
            let mut servers = Servers::new(&settings, &mut self.namespace);
            tokio::select! {
                changed = self.edited.changed() => if changed.is_err() {
                    // Whoever could edit it is gone, and stops this too.
                    return std::future::pending().await;
                },
                never = servers.follow(&mut picture, sink) => match never {},
            }
            if self.edited.borrow().means_others(&settings) {
                // What is not told again is not meant any more, and neither are the rules that were there.
                sink.begin();
                sink.ruled(Vec::new());
                self.namespace = None;
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
    /// Whether one of this round refused us.
    is_refused: bool,
    /// Why we are out of contact, as it was told of each last.
    told: HashMap<usize, String>,
    namespace: &'s mut Option<String>,
}

/// What never is.
enum Never {}

impl<'s> Servers<'s> {
    fn new(settings: &'s NacosSettings, namespace: &'s mut Option<String>) -> Self {
        let (pause, told) = (PAUSE_LEAST, HashMap::new());
        Self { settings, next: 0, pause, is_refused: false, told, namespace }
    }

    /// Follows one server after the other.
    async fn follow(&mut self, picture: &mut Picture, sink: &mut Sink) -> Never {
        loop {
            let number = self.next % self.settings.servers.len();
            let server = &self.settings.servers[number];
            self.next += 1;
            let opening = Connection::open(server, &self.settings.client, self.namespace);
            let opened = while_away(picture, sink, opening).await;
            let error = match opened {
                Ok((connection, pushes)) => {
                    picture.connected(Instant::now());
                    let mut session = Session::new(connection, self.settings, picture);
                    let error = session.follow(pushes, sink).await;
                    if session.followed.has_told_all {
                        (self.pause, self.is_refused) = (PAUSE_LEAST, false);
                        self.told.clear();
                    }
                    error
                }
                Err(error) => error,
            };
            self.is_refused |= matches!(
                error,
                Error::Login { .. }
                    | Error::Forbidden { .. }
                    | Error::Secrets(_)
                    | Error::NoNamespace { .. }
            );
            let why = format!("{server}: {error}");
            if self.told.get(&number) != Some(&why) {
                sink.stale(why.clone());
                self.told.insert(number, why);
            }
            // Another server may take us.
            let is_round_over = self.next.is_multiple_of(self.settings.servers.len());
            let is_refused = is_round_over && std::mem::take(&mut self.is_refused);
            let pause = tokio::time::sleep(if is_refused { PAUSE_REFUSED } else { self.pause });
            while_away(picture, sink, pause).await;
            if is_round_over {
                self.pause = (self.pause * 2).min(PAUSE_MOST);
            }
        }
    }
}

/// Awaits something while no server is followed: what joined sources say is heard all the same.
async fn while_away<T>(
    picture: &mut Picture,
    sink: &mut Sink,
    awaited: impl Future<Output = T>,
) -> T {
    let (mut joined, mut looking) = (picture.joined_changes(), tokio::time::interval(SETTLING));
    tokio::pin!(awaited);
    loop {
        tokio::select! {
            awaited = &mut awaited => return awaited,
            Ok(()) = joined.changed() => {}
            _ = looking.tick(), if picture.waits() => {}
        }
        picture.look_at_joined(Instant::now());
        let changes = picture.take_changes_of_told();
        if !changes.is_empty() {
            sink.changed(changes);
        }
    }
}

/// What is under way on one connection.
struct Session<'s> {
    connection: Arc<Connection>,
    groups: &'s BTreeSet<String>,
    followed: Followed<'s>,
    asking: FuturesUnordered<BoxFuture<'static, (Key, Result<ServiceInfo, Error>)>>,
    listing: BoxFuture<'static, Result<(Listing, Duration), Error>>,
    rules: Rules,
    /// One look at most.
    looking: FuturesUnordered<BoxFuture<'static, Result<Found, Error>>>,
}

/// What happens next.
enum Next {
    Listed(Result<(Listing, Duration), Error>),
    Answered(Key, Result<ServiceInfo, Error>),
    Pushed(Pushed),
    /// A source that this one is joined to says something else.
    Joined,
    Looked(Result<Found, Error>),
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
            followed: Followed::new(picture),
            asking: FuturesUnordered::new(),
            rules: Rules::new(Instant::now()),
            looking: FuturesUnordered::new(),
        }
    }

    /// Follows the server until the connection is over; says why it is.
    async fn follow(&mut self, mut pushes: Pushes, sink: &mut Sink) -> Error {
        let mut settling = tokio::time::interval(SETTLING);
        let mut joined = self.followed.picture.joined_changes();
        loop {
            let next = tokio::select! {
                listed = &mut self.listing => Next::Listed(listed),
                Some((key, answer)) = self.asking.next() => Next::Answered(key, answer),
                pushed = pushes.next() => Next::Pushed(pushed),
                Ok(()) = joined.changed() => Next::Joined,
                Some(found) = self.looking.next() => Next::Looked(found),
                _ = settling.tick(), if self.followed.waits() => Next::Settling,
            };
            let before = self.followed.obstacle();
            if let Err(error) = self.take(next, sink) {
                return error;
            }
            self.ask_more();
            let obstacle = self.followed.obstacle();
            if let Some(changes) = self.followed.take_changes(Instant::now()) {
                sink.changed(changes);
                match self.followed.remark() {
                    Some(odd) => sink.synced_but(odd),
                    None => sink.synced(),
                }
            } else if obstacle != before
                && !self.followed.has_told_all
                && let Some(obstacle) = obstacle
            {
                sink.stale(obstacle);
            }
        }
    }

    fn take(&mut self, next: Next, sink: &mut Sink) -> Result<(), Error> {
        let now = Instant::now();
        match next {
            Next::Listed(listed) => {
                let (listing, took) = listed?;
                self.followed.listed(listing, now)?;
                let pause = (took * LISTING_SHARE).clamp(PAUSE_BETWEEN_LEAST, PAUSE_BETWEEN_MOST);
                self.listing = list(Arc::clone(&self.connection), self.groups.clone(), pause);
                self.look_at_rules(now);
            }
            Next::Answered(key, answer) => self.followed.answered(key, answer, now)?,
            Next::Pushed(Pushed::Service(info)) => self.followed.pushed(&info, now),
            Next::Pushed(Pushed::Unread { group, name }) => {
                self.followed.unread(&Key::new(&group, &name));
            }
            Next::Pushed(Pushed::Config(id)) => {
                self.rules.pushed(&id, now);
                self.look_at_rules(now);
            }
            Next::Looked(found) => {
                if let Some(rules) = self.rules.found(found)? {
                    sink.ruled(rules);
                }
            }
            Next::Pushed(Pushed::Ended(error)) => return Err(error),
            Next::Joined => self.followed.picture.look_at_joined(now),
            Next::Settling => self.followed.picture.settle(now),
        }
        Ok(())
    }

    fn look_at_rules(&mut self, now: Instant) {
        // Whoever has not told everything knows not everybody who may have rules.
        if self.followed.has_told_all {
            let places = self.followed.picture.places_of_rules();
            self.looking.extend(self.rules.look(places, &self.connection, now));
        }
    }

    fn ask_more(&mut self) {
        while self.asking.len() < ASKED_AT_ONCE
            && let Some(key) = self.followed.waiting.pop_front()
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
) -> BoxFuture<'static, Result<(Listing, Duration), Error>> {
    let listing = async move {
        tokio::time::sleep(pause).await;
        let began = Instant::now();
        let mut all = Vec::with_capacity(groups.len());
        for group in groups {
            let names = connection.services(&group).await;
            match names {
                Err(error) if !error.is_of_one_call() => return Err(error),
                names => all.push((group, names)),
            }
        }
        Ok((all, began.elapsed()))
    };
    let late = |_| Error::Late { what: "list all groups".to_owned(), within: LISTING_TIMEOUT };
    let bounded = tokio::time::timeout(pause + LISTING_TIMEOUT, listing);
    bounded.map(move |listed| listed.map_err(late)?).boxed()
}
