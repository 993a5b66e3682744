//! The decision at an entrance: which lane of each group a request belongs to (design §2.2 – 2.5).

use crate::{Context, Request, Snapshot, explain::Observer};

/// Where a request is first matched.
#[derive(Debug, Clone, Copy)]
pub enum Entrance<'a> {
    /// A gateway and the name of the route that matched.
    Gateway {
        /// The gateway's name.
        gateway: &'a str,
        /// The route's name; `None` when no route matched.
        route: Option<&'a str>,
    },
    /// An application's sidecar or agent, for inbound requests.
    Application(&'a str),
}

impl Snapshot {
    /// Decides for every group that has `entrance` and no member in `context` yet, and adds the members.
    /// A gateway starts with an empty context. `random` gives 16 bytes and is called once per ratio group
    /// whose key is absent. `observer` sees every step; [`()`](Observer) sees nothing and costs nothing.
    pub fn enter<R: Request, O: Observer>(
        &self,
        entrance: Entrance<'_>,
        request: &R,
        random: &mut impl FnMut() -> [u8; 16],
        context: &mut Context,
        observer: &mut O,
    ) {
        let _ = (entrance, request, random, context, observer);
        todo!()
    }

    /// Whether any group has this application as an entrance, and whether one of them is an edge.
    pub fn application_entrance(&self, application: &str) -> Option<ApplicationEntrance> {
        todo!("{application}")
    }
}

/// What a sidecar must do with inbound requests of an application that is an entrance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplicationEntrance {
    /// Strip lane members before deciding.
    pub edge: bool,
}
