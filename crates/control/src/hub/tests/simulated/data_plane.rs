//! A data plane: the stream to its control plane, what is on its way, what it has made of what came.

use std::{collections::VecDeque, mem};

use ::discovery::picture::{Picture, Reader};
use api::discovery::EncodedControlMessage;

use super::*;

/// Messages on their way at a time: what a connection's buffers take.
const ON_ITS_WAY_MAX: usize = 3;

pub(super) struct DataPlane {
    node: String,
    /// Where its instance lives; none beside a gateway.
    place: Option<usize>,
    pub(super) letter: usize,
    picture: Picture,
    pub(super) published: routes::Published,
    stream: Option<Connection>,
    on_its_way: VecDeque<EncodedControlMessage>,
    /// Nothing passes between it and its control plane.
    pub(super) is_cut: bool,
    /// The last step at which it knew all that the control plane knew.
    pub(super) fresh_at: u64,
    copy: (Vec<bytes::Bytes>, v1::Generation, u64),
    has_heard: bool,
}

impl DataPlane {
    pub(super) fn gateway(node: &str) -> Self {
        Self::new(node.to_owned(), None, 0)
    }

    pub(super) fn sidecar(node: String, place: usize, letter: usize) -> Self {
        Self::new(node, Some(place), letter)
    }

    fn new(node: String, place: Option<usize>, letter: usize) -> Self {
        let picture = Picture::new(reader(place, letter));
        Self {
            node,
            place,
            letter,
            published: picture.published(),
            picture,
            stream: None,
            on_its_way: VecDeque::new(),
            is_cut: false,
            fresh_at: 0,
            copy: Default::default(),
            has_heard: false,
        }
    }

    pub(super) fn place(&self) -> Option<usize> {
        self.place
    }

    /// What was on its way is lost; the hub hears of it when the stream is opened anew.
    pub(super) fn lose_stream(&mut self) {
        self.stream = None;
        self.on_its_way.clear();
    }

    /// Connections that have missed something do not go on.
    pub(super) fn heal(&mut self) {
        if mem::take(&mut self.is_cut) {
            self.lose_stream();
        }
    }

    /// The control plane has noticed that nothing comes any more.
    pub(super) fn is_noticed(&mut self, world: &mut World) {
        if let Some(connection) = self.stream.take() {
            world.hub.disconnect(&self.node, connection, world.now);
        }
        self.on_its_way.clear();
    }

    /// Opens a stream where there is none.
    pub(super) fn open_stream(&mut self, world: &mut World) {
        if self.stream.is_some() {
            return;
        }
        let (role, name) = match self.place {
            None => (v1::Role::Gateway, "edge".to_owned()),
            Some(_) => (v1::Role::Sidecar, format!("app-{}", LETTERS[self.letter])),
        };
        let hello = v1::Hello {
            node: self.node.clone(),
            role: role.into(),
            name,
            held: self.picture.held(),
            held_of: self.picture.generation().epoch.clone(),
            ..v1::Hello::default()
        };
        self.stream = world.hub.connect(hello, Way::Private, Arc::default(), world.now);
    }

    /// The control plane sends what it has to tell.
    pub(super) fn send(&mut self, world: &mut World) {
        let Some(connection) = self.stream else { return };
        if self.on_its_way.len() >= ON_ITS_WAY_MAX {
            return;
        }
        if let Some(told) = world.hub.next_message(&self.node, connection) {
            let encoded = told.message("epoch").encode_to_vec();
            self.on_its_way.push_back(EncodedControlMessage::decode(&*encoded).unwrap());
        }
    }

    /// One message arrives, is taken and confirmed.
    pub(super) fn arrive(&mut self, world: &mut World, planted: Planted) {
        let Some(connection) = self.stream else { return };
        let Some(mut message) = self.on_its_way.pop_front() else { return };
        let is_first = !mem::replace(&mut self.has_heard, true);
        message.upserts.retain(|encoded| is_first || !is_lost(planted, encoded));
        let generation = message.generation.clone();
        let refused = self.picture.apply(message);
        assert!(refused.is_empty(), "{refused:?}");
        self.published = self.picture.published();
        let ack = v1::Ack { generation, refused };
        let _another_stream =
            world.hub.receive(&self.node, connection, Message::Ack(ack), world.now);
    }

    /// Takes note when it knows all there is to know.
    pub(super) fn note_fresh(&mut self, world: &mut World, step: u64) {
        if self.stream.is_none() || self.is_cut || !self.on_its_way.is_empty() {
            return;
        }
        self.send(world);
        if self.on_its_way.is_empty() {
            self.fresh_at = step;
        }
    }

    /// Keeps a copy on disk.
    pub(super) fn keep_copy(&mut self) {
        let resources = self.picture.encoded().map(bytes::Bytes::copy_from_slice).collect();
        self.copy = (resources, self.picture.generation().clone(), self.fresh_at);
    }

    /// Ends and begins again with the copy, however old it is.
    pub(super) fn restart(&mut self) {
        let (upserts, generation, fresh_at) = self.copy.clone();
        self.picture = Picture::new(reader(self.place, self.letter));
        let generation = Some(generation);
        let message = EncodedControlMessage {
            generation,
            upserts,
            removals: Vec::new(),
            synced: false,
            digest: None,
            traffic_every_ms: 0,
            taps: None,
        };
        self.picture.apply(message);
        self.published = self.picture.published();
        self.fresh_at = fresh_at;
        self.lose_stream();
    }
}

fn reader(place: Option<usize>, letter: usize) -> Reader {
    match place {
        None => Reader::Gateway,
        Some(_) => Reader::Sidecar { application: format!("app-{}", LETTERS[letter]) },
    }
}

fn is_lost(planted: Planted, encoded: &[u8]) -> bool {
    use v1::resource::Body;
    let body = || v1::Resource::decode(encoded).unwrap().body;
    match planted {
        Planted::Nothing | Planted::NobodyRefuses => false,
        Planted::ServicesAreLost => matches!(body(), Some(Body::Service(_))),
        Planted::LanesAreLost => matches!(body(), Some(Body::Group(_))),
    }
}
