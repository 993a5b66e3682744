//! Where handshakes are computed: on a thread of its own beside each that moves requests. A signature takes as long as many
//! requests do, and whoever has a request on the same thread would wait for each of a flood of them.
//!
//! That thread has a smaller share of a processor than the one it works for: where both want one, requests come first, and
//! handshakes get the fourth part.

use std::{
    cell::OnceCell,
    collections::{HashMap, VecDeque},
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use parking_lot::{Condvar, Mutex};
use rustix::process::{getpriority_process, setpriority_process};
use tokio::sync::oneshot;

/// How much nicer the thread is than the one it works for: a third of the weight.
const NICER: i32 = 5;

/// What there is to compute.
type Job = Box<dyn FnOnce() + Send>;

/// What is computed for the connections of one thread.
#[derive(Default)]
pub(crate) struct Computing {
    /// Begun with the first handshake: without TLS there is no thread.
    queue: OnceCell<Arc<Shared>>,
}

impl fmt::Debug for Computing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Computing").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    comes: Condvar,
}

/// How far the client is for whom something is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has said hello, from this address.
    Hello(IpAddr),
    /// It goes on with a handshake that has cost us a signature already.
    Begun,
}

impl Computing {
    /// Computes something when it is its turn. Whoever does not wait for it any more has it not computed. What is shared with
    /// the thread that computes must be all that is needed.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        stage: Stage,
        compute: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let Some(shared) = self.shared() else { return compute() };
        let (done, computed) = oneshot::channel();
        let job = Box::new(move || {
            if !done.is_closed() {
                // Whoever waits may have left meanwhile.
                let _ = done.send(compute());
            }
        });
        shared.queue.lock().put(stage, job);
        shared.comes.notify_one();
        match computed.await {
            Ok(computed) => computed,
            Err(_) => unreachable!("jobs are done or their queue is dropped with whoever waits"),
        }
    }

    /// The queue and its thread; none where the system has no thread to give.
    fn shared(&self) -> Option<&Arc<Shared>> {
        if let Some(shared) = self.queue.get() {
            return Some(shared);
        }
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        let name = format!("{}-tls", std::thread::current().name().unwrap_or("proxy"));
        match std::thread::Builder::new().name(name).spawn(move || work(&of_thread)) {
            Ok(_) => Some(self.queue.get_or_init(|| shared)),
            Err(error) => {
                tracing::warn!(%error, "no thread for handshakes: they are computed between requests");
                None
            }
        }
    }
}

impl Drop for Computing {
    fn drop(&mut self) {
        if let Some(shared) = self.queue.get() {
            shared.queue.lock().is_over = true;
            shared.comes.notify_one();
        }
    }
}

/// What the thread does, until nobody asks any more.
fn work(shared: &Shared) {
    // Of this thread alone, as the kernel has it. Where it must not be nicer it is as nice as the others.
    if let Ok(nice) = getpriority_process(None) {
        let _ = setpriority_process(None, nice + NICER);
    }
    let mut queue = shared.queue.lock();
    while !queue.is_over {
        match queue.take() {
            Some(job) => parking_lot::MutexGuard::unlocked(&mut queue, job),
            None => shared.comes.wait(&mut queue),
        }
    }
}

/// Who is next. Those who have begun come first: each of them is one less under way. Of others each address has its turn, so
/// that a flood from one makes nobody else wait for more than one of its own.
#[derive(Default)]
struct Queue {
    begun: VecDeque<Job>,
    /// Addresses in their turn, and what each has waiting: never nothing.
    turns: VecDeque<IpAddr>,
    waiting: HashMap<IpAddr, VecDeque<Job>>,
    /// Nobody waits any more.
    is_over: bool,
}

impl Queue {
    fn put(&mut self, stage: Stage, job: Job) {
        let Stage::Hello(address) = stage else { return self.begun.push_back(job) };
        let address = of_one(address);
        let waiting = self.waiting.entry(address).or_default();
        if waiting.is_empty() {
            self.turns.push_back(address);
        }
        waiting.push_back(job);
    }

    fn take(&mut self) -> Option<Job> {
        if let Some(job) = self.begun.pop_front() {
            return Some(job);
        }
        let address = self.turns.pop_front()?;
        let waiting = self.waiting.get_mut(&address)?;
        let job = waiting.pop_front();
        if waiting.is_empty() {
            self.waiting.remove(&address);
        } else {
            self.turns.push_back(address);
        }
        job
    }
}

/// The address of whoever may have many: a host has a whole /64 of IPv6 to call from.
fn of_one(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from_bits(prefix))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// As nice as the kernel lets anybody be.
    const NICEST: i32 = 19;

    fn hello(address: &str) -> Stage {
        Stage::Hello(address.parse().unwrap())
    }

    #[test]
    fn each_address_has_its_turn_and_those_who_have_begun_come_first() {
        let (mut queue, order) = (Queue::default(), Arc::<Mutex<Vec<&str>>>::default());
        let mut put = |stage, name| {
            let order = Arc::clone(&order);
            queue.put(stage, Box::new(move || order.lock().push(name)));
        };
        for name in ["flood 1", "flood 2", "flood 3"] {
            put(hello("10.0.0.1"), name);
        }
        put(hello("2001:db8::1"), "flood of a host 1");
        put(hello("2001:db8::2"), "flood of a host 2");
        put(hello("::ffff:10.0.0.2"), "other");
        put(Stage::Begun, "begun");
        while let Some(job) = queue.take() {
            job();
        }
        let expected = [
            "begun",
            "flood 1",
            "flood of a host 1",
            "other",
            "flood 2",
            "flood of a host 2",
            "flood 3",
        ];
        assert_eq!(*order.lock(), expected);
        assert!(queue.waiting.is_empty() && queue.turns.is_empty(), "nothing is kept of anybody");
    }

    #[tokio::test]
    async fn whoever_has_a_request_waits_for_no_handshake() {
        let computing = Computing::default();
        let (release, wait) = mpsc::channel();
        let long = computing.run(hello("10.0.0.1"), move || wait.recv().is_ok());
        let request = async {
            // Others have all the turns they want, while it is computed.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            release.send(()).unwrap();
        };
        assert_eq!(tokio::join!(long, request), (true, ()));
    }

    #[tokio::test]
    async fn requests_come_first_where_both_want_a_processor() {
        let nice = || getpriority_process(None).unwrap();
        let of_requests = nice();
        let of_handshakes = Computing::default().run(hello("10.0.0.1"), nice).await;
        assert_eq!(of_handshakes, (of_requests + NICER).min(NICEST));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_computed() {
        let computing = Computing::default();
        let (release, wait) = mpsc::channel::<()>();
        let (computed, was_computed) = mpsc::channel();
        let mut first = Box::pin(computing.run(hello("10.0.0.1"), move || wait.recv().is_ok()));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut given_up =
            Box::pin(computing.run(hello("10.0.0.1"), move || computed.send(()).is_ok()));
        assert!(futures_util::poll!(&mut given_up).is_pending(), "the first is not done");
        drop(given_up);
        release.send(()).unwrap();
        assert!(first.await);
        assert!(computing.run(hello("10.0.0.1"), || true).await);
        assert!(was_computed.recv().is_err(), "it was computed for nobody");
    }
}
