//! Bytes, half-close, idling and who holds a buffer when.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time,
};

use super::*;

/// Buffers that know how many are out.
#[derive(Default)]
struct Counted {
    pool: BufferPool,
    out: Cell<usize>,
}

impl Buffers for Counted {
    fn take(&self) -> Vec<u8> {
        self.out.set(self.out.get() + 1);
        self.pool.take()
    }

    fn give(&self, buffer: Vec<u8>) {
        self.out.set(self.out.get() - 1);
        self.pool.give(buffer);
    }
}

const IDLE: Duration = Duration::from_secs(30);

const UNTAKEN: Duration = Duration::from_secs(100);

const PATIENCE: Patience = Patience { idle: IDLE, untaken: Some(UNTAKEN) };

fn clock() -> Instant {
    time::Instant::now().into_std()
}

/// What one end-to-end copy left behind.
struct Outcome {
    result: Result<(), PassError>,
    passed: Passed,
    buffers_out: usize,
}

/// Runs `script` with the far ends of both sockets while bytes are passed between the near ends.
async fn with_pass<F: Future<Output = ()>>(
    already_read: AlreadyRead<'_>,
    socket_bytes: usize,
    script: impl FnOnce(DuplexStream, DuplexStream) -> F,
) -> Outcome {
    let (caller, mut caller_end) = duplex(socket_bytes);
    let (instance, mut instance_end) = duplex(socket_bytes);
    let (buffers, passed) = (Counted::default(), Cell::default());
    let pass = pass_through(
        &mut caller_end,
        &mut instance_end,
        already_read,
        &buffers,
        &clock,
        PATIENCE,
        &passed,
    );
    let (result, ()) = tokio::join!(pass, script(caller, instance));
    Outcome { result, passed: passed.get(), buffers_out: buffers.out.get() }
}

#[tokio::test]
async fn bytes_pass_both_ways_and_one_side_may_end_first() {
    let already_read = AlreadyRead { from_caller: b"GET", from_instance: b"220 " };
    let outcome = with_pass(already_read, 64, async |mut caller, mut instance| {
        caller.write_all(b" / ").await.unwrap();
        caller.shutdown().await.unwrap();
        let mut request = String::new();
        instance.read_to_string(&mut request).await.unwrap();
        assert_eq!(request, "GET / ");
        // The caller has ended; the answer still reaches it.
        instance.write_all(b"welcome").await.unwrap();
        instance.shutdown().await.unwrap();
        let mut answer = String::new();
        caller.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "220 welcome");
    })
    .await;
    outcome.result.unwrap();
    assert_eq!(outcome.passed, Passed { to_instance: 6, to_caller: 11 });
    assert_eq!(outcome.buffers_out, 0);
}

#[tokio::test]
async fn much_passes_through_little_sockets() {
    let upload: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
    let download: Vec<u8> = upload.iter().rev().copied().collect();
    let outcome = with_pass(AlreadyRead::default(), 1000, async |caller, instance| {
        let (mut from_caller, mut to_caller) = (Vec::new(), Vec::new());
        let (mut caller_reads, mut caller_writes) = tokio::io::split(caller);
        let (mut instance_reads, mut instance_writes) = tokio::io::split(instance);
        tokio::join!(
            async {
                caller_writes.write_all(&upload).await.unwrap();
                caller_writes.shutdown().await.unwrap();
            },
            async {
                instance_writes.write_all(&download).await.unwrap();
                instance_writes.shutdown().await.unwrap();
            },
            async { assert!(instance_reads.read_to_end(&mut from_caller).await.is_ok()) },
            async { assert!(caller_reads.read_to_end(&mut to_caller).await.is_ok()) },
        );
        assert!(from_caller == upload && to_caller == download);
    })
    .await;
    outcome.result.unwrap();
    assert_eq!(outcome.passed, Passed { to_instance: 300_000, to_caller: 300_000 });
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_nothing_moves_and_not_before() {
    let outcome = with_pass(AlreadyRead::default(), 64, async |mut caller, mut instance| {
        for _ in 0..4 {
            time::sleep(Duration::from_secs(20)).await;
            caller.write_all(b".").await.unwrap();
        }
        let mut all = [0; 4];
        instance.read_exact(&mut all).await.unwrap();
        // Both ends stay open until the idle time is over.
        time::sleep(IDLE + Duration::from_secs(1)).await;
    })
    .await;
    assert!(matches!(outcome.result, Err(PassError::Idle(IDLE))), "{:?}", outcome.result);
    assert_eq!(outcome.passed, Passed { to_instance: 4, to_caller: 0 });
}

#[tokio::test(start_paused = true)]
async fn it_ends_where_one_side_takes_nothing_whatever_moves_the_other_way() {
    let outcome = with_pass(AlreadyRead::default(), 64, async |mut caller, mut instance| {
        // As much again waits for its socket.
        instance.write_all(&[1; 128]).await.unwrap();
        for at in 1..=12 {
            time::sleep(Duration::from_secs(22)).await;
            caller.write_all(b".").await.unwrap();
            if at == 4 {
                // From here on it has as long once more.
                caller.read_exact(&mut [0; 64]).await.unwrap();
                instance.write_all(&[1; 64]).await.unwrap();
            }
        }
    })
    .await;
    assert!(matches!(outcome.result, Err(PassError::Untaken(UNTAKEN))), "{:?}", outcome.result);
    // After 188 s.
    assert_eq!(outcome.passed, Passed { to_instance: 8, to_caller: 128 });
    assert_eq!(outcome.buffers_out, 0);
}

#[tokio::test]
async fn a_quiet_connection_holds_no_buffer_and_a_blocked_one_holds_one() {
    let (mut caller, mut caller_end) = duplex(64);
    let (mut instance, mut instance_end) = duplex(64);
    let (buffers, passed) = (Counted::default(), Cell::default());
    let already_read = AlreadyRead::default();
    let mut pass = Box::pin(pass_through(
        &mut caller_end,
        &mut instance_end,
        already_read,
        &buffers,
        &clock,
        PATIENCE,
        &passed,
    ));
    let mut poll_once =
        async || poll_fn(|context| Poll::Ready(pass.as_mut().poll(context).is_ready())).await;

    assert!(!poll_once().await);
    assert_eq!(buffers.out.get(), 0, "nothing moves");
    caller.write_all(&[1; 64]).await.unwrap();
    assert!(!poll_once().await);
    assert_eq!(buffers.out.get(), 0, "all was written");
    caller.write_all(&[2; 64]).await.unwrap();
    assert!(!poll_once().await);
    assert_eq!(buffers.out.get(), 1, "the instance does not read");
    instance.read_exact(&mut [0; 128][..64]).await.unwrap();
    assert!(!poll_once().await);
    assert_eq!(buffers.out.get(), 0, "it has read");
}

#[tokio::test]
async fn a_broken_side_is_named() {
    let outcome = with_pass(AlreadyRead::default(), 64, async |mut caller, instance| {
        drop(instance);
        caller.write_all(b"nobody reads this").await.unwrap();
    })
    .await;
    assert!(matches!(outcome.result, Err(PassError::Instance(_))), "{:?}", outcome.result);
    assert_eq!(outcome.buffers_out, 0);
}
