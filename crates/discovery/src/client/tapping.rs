//! What of this data plane's requests somebody watches: for as long as the control plane says so, and no longer.

use std::time::Duration;

use api::discovery::{EncodedControlMessage, v1};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

/// The longest lease that is believed: one that is forgotten must not cost requests anything for long.
const LEASE_MAX: Duration = Duration::from_secs(60);

/// What is watched, and what is told of it.
pub(super) struct Tapping {
    watched: watch::Sender<v1::Taps>,
    tapped: mpsc::Receiver<v1::Tapped>,
    /// Until it is over, unless it is told again.
    until: Option<Instant>,
}

/// What happens next of it.
pub(super) enum Next {
    /// Something is to be told.
    Tell(v1::Tapped),
    /// The lease has ended.
    Over,
}

impl Tapping {
    pub(super) fn new(
        watched: watch::Sender<v1::Taps>,
        tapped: mpsc::Receiver<v1::Tapped>,
    ) -> Self {
        Self { watched, tapped, until: None }
    }

    /// Takes a message that says what is watched; any other is given back.
    pub(super) fn unless_told(
        &mut self,
        message: EncodedControlMessage,
    ) -> Option<EncodedControlMessage> {
        let Some(mut taps) = message.taps else { return Some(message) };
        let lease = Duration::from_millis(std::mem::take(&mut taps.lease_ms).into());
        if taps.taps.is_empty() {
            self.end();
        } else {
            self.until = Some(Instant::now() + lease.min(LEASE_MAX));
            self.watch(taps);
        }
        None
    }

    /// Waits for what happens next. `may_tell`: the stream has room.
    pub(super) async fn next(&mut self, may_tell: bool) -> Next {
        let over = async {
            match self.until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(tapped) = self.tapped.recv(), if may_tell => Next::Tell(tapped),
            () = over => Next::Over,
        }
    }

    /// Nothing is watched any more.
    pub(super) fn end(&mut self) {
        self.until = None;
        self.watch(v1::Taps::default());
        // What was not told is nobody's now.
        while self.tapped.try_recv().is_ok() {}
    }

    fn watch(&self, taps: v1::Taps) {
        self.watched.send_if_modified(|known| {
            let is_other = *known != taps;
            *known = taps;
            is_other
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lease_ms: u32, groups: &[&str]) -> EncodedControlMessage {
        let tap = |group: &&str| v1::Tap { group: (*group).to_owned(), ..v1::Tap::default() };
        let taps = groups.iter().map(tap).collect();
        let taps = Some(v1::Taps { taps, lease_ms, per_second_max: 50 });
        EncodedControlMessage { taps, ..EncodedControlMessage::default() }
    }

    fn tapping() -> (Tapping, watch::Receiver<v1::Taps>, mpsc::Sender<v1::Tapped>) {
        let (watched, told) = watch::channel(v1::Taps::default());
        let (tell, tapped) = mpsc::channel(1);
        (Tapping::new(watched, tapped), told, tell)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_watched_is_over_with_its_lease() {
        let (mut tapping, mut watched, _tell) = tapping();
        assert!(tapping.unless_told(told(10_000, &["trade"])).is_none());
        assert!(watched.has_changed().unwrap());
        assert_eq!(watched.borrow_and_update().taps[0].group, "trade");
        tokio::time::advance(Duration::from_secs(9)).await;
        // Told again it goes on, and nothing is begun anew.
        assert!(tapping.unless_told(told(10_000, &["trade"])).is_none());
        assert!(!watched.has_changed().unwrap());
        let begun = Instant::now();
        assert!(matches!(tapping.next(true).await, Next::Over));
        assert_eq!(begun.elapsed(), Duration::from_secs(10));
        tapping.end();
        assert_eq!(*watched.borrow(), v1::Taps::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_believed_for_a_minute_at_most() {
        let (mut tapping, _watched, _tell) = tapping();
        assert!(tapping.unless_told(told(u32::MAX, &["trade"])).is_none());
        let begun = Instant::now();
        assert!(matches!(tapping.next(true).await, Next::Over));
        assert_eq!(begun.elapsed(), LEASE_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_tapped_waits_for_room_and_goes_when_nobody_watches() {
        let (mut tapping, _watched, tell) = tapping();
        assert!(tapping.unless_told(EncodedControlMessage::default()).is_some());
        assert!(tapping.unless_told(told(10_000, &["trade"])).is_none());
        tell.try_send(v1::Tapped::default()).unwrap();
        let short = Duration::from_secs(9);
        assert!(
            tokio::time::timeout(short, tapping.next(false)).await.is_err(),
            "there is no room"
        );
        assert!(matches!(tapping.next(true).await, Next::Tell(_)));
        assert!(matches!(tapping.next(true).await, Next::Over));
        tell.try_send(v1::Tapped::default()).unwrap();
        tapping.end();
        assert_eq!(tell.capacity(), 1, "nothing of before is told to who comes after");
        // Nor where nobody watches any more before that.
        assert!(tapping.unless_told(told(10_000, &["trade"])).is_none());
        tell.try_send(v1::Tapped::default()).unwrap();
        assert!(tapping.unless_told(told(10_000, &[])).is_none());
        assert_eq!((tell.capacity(), tapping.until), (1, None));
    }
}
