//! The picture of the moment, as one thread holds it.

use std::{ops::Deref, rc::Rc, sync::Arc};

use crate::published::Published;

/// A counted pointer of this thread around the one that threads share, so that taking it for a request touches no
/// memory of other cores.
#[derive(Debug, Clone)]
pub(crate) struct Picture(Rc<Taken>);

#[derive(Debug)]
struct Taken {
    published: Arc<Published>,
    serial: u64,
}

impl Picture {
    pub(crate) fn new(published: Arc<Published>, serial: u64) -> Self {
        Self(Rc::new(Taken { published, serial }))
    }

    /// Counts the pictures this thread has taken: never the same for two.
    pub(crate) fn serial(&self) -> u64 {
        self.0.serial
    }
}

impl Deref for Picture {
    type Target = Published;

    fn deref(&self) -> &Published {
        &self.0.published
    }
}
