//! What traffic can cause must not fill a disk: each place in the code writes so many lines a second and no more, and what
//! was left out is told.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tracing::{Event, Level, Metadata, Subscriber, callsite::Identifier};
use tracing_subscriber::{Layer, layer::Context};

/// Lines one place in the code writes in a second. Enough to see what it says and to whom; a thousandth of what traffic
/// can cause.
pub(super) const LINES_PER_SECOND_MAX: u32 = 20;

/// What lines are counted by, and how often what was left out is told.
const PERIOD: Duration = Duration::from_secs(1);

/// Leaves out what one place writes too much of. What is asked for by `debug` or `trace` is written whole.
pub(super) struct Suppression {
    places: Mutex<Places>,
    left_out: Arc<AtomicU64>,
}

/// Every place that has written something: as many as the program has.
struct Places {
    by_place: HashMap<Identifier, Place>,
    next_look: Instant,
}

struct Place {
    metadata: &'static Metadata<'static>,
    since: Instant,
    lines: u32,
    left_out: u64,
}

impl Suppression {
    pub(super) fn new() -> Self {
        let places = Places { by_place: HashMap::new(), next_look: Instant::now() + PERIOD };
        Self { places: Mutex::new(places), left_out: Arc::default() }
    }

    /// How many lines were left out so far.
    pub(super) fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.left_out)
    }
}

impl Places {
    /// Whether a place may write a line now.
    fn admit(&mut self, metadata: &'static Metadata<'static>, now: Instant) -> bool {
        let new = Place { metadata, since: now, lines: 0, left_out: 0 };
        let place = self.by_place.entry(metadata.callsite()).or_insert(new);
        if now.saturating_duration_since(place.since) >= PERIOD {
            place.since = now;
            place.lines = 0;
        }
        place.lines += 1;
        let admitted = place.lines <= LINES_PER_SECOND_MAX;
        if !admitted {
            place.left_out += 1;
        }
        admitted
    }

    /// What was left out and not told yet, once in a period.
    fn untold(&mut self, now: Instant) -> Vec<(&'static Metadata<'static>, u64)> {
        if now < self.next_look {
            return Vec::new();
        }
        self.next_look = now + PERIOD;
        let places = self.by_place.values_mut().filter(|place| place.left_out > 0);
        places.map(|place| (place.metadata, std::mem::take(&mut place.left_out))).collect()
    }
}

impl<S: Subscriber> Layer<S> for Suppression {
    fn event_enabled(&self, event: &Event<'_>, context: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO {
            return true;
        }
        let now = Instant::now();
        let (untold, admitted) = {
            let mut places = self.places.lock();
            (places.untold(now), places.admit(metadata, now))
        };
        if !admitted {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        for (place, left_out) in untold {
            tell(place, left_out, &context);
        }
        admitted
    }
}

/// Says it in the name of the place whose lines were left out.
fn tell<S: Subscriber>(place: &'static Metadata<'static>, left_out: u64, context: &Context<'_, S>) {
    let Some(message) = place.fields().field("message") else { return };
    let text = format!("{left_out} more lines of this place were left out");
    let values = [(&message, Some(&text.as_str() as &dyn tracing::Value))];
    context.event(&Event::new(place, &place.fields().value_set(&values)));
}

impl fmt::Debug for Suppression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suppression").field("left_out", &self.left_out).finish_non_exhaustive()
    }
}
