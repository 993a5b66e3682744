//! What instances answer in HTTP/2 and clients get in HTTP/1.1 is read alike by everybody, as what they answer in HTTP/1.1 is.

use std::{collections::HashMap, sync::Arc, time::Duration};

use testkit::Random;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    Conversation, Tally, clients, compare, conversations, differences, generate::Stream, said,
};
use crate::{
    differential::{
        SEED, STREAMS_AT_ONCE, asked_for,
        frames::{self, ACK, HEADERS, PREFACE, SETTINGS, frame},
        generate::NUMBER,
        seeds,
    },
    origin::Said,
    world::{Instance, Proxy, World},
};
use generate::NUMBER_BYTES;

mod generate;

/// Connections of clients where nobody asks for more: each is read by five, one of which is a process of its own.
const STREAMS: u64 = 250;

#[tokio::test]
#[allow(clippy::print_stderr, reason = "a run says how it is repeated, and what it has shown")]
async fn what_comes_back_of_http2_is_read_alike_by_everybody() {
    if !testkit::needs("suites") || !testkit::needs("servers") || !testkit::needs("python") {
        return;
    }
    let (streams, seed) =
        (asked_for("LANEWAY_DIFFERENTIAL", STREAMS), asked_for("LANEWAY_SEED", SEED));
    eprintln!("LANEWAY_SEED={seed} LANEWAY_DIFFERENTIAL={streams}");
    let place = tempfile::tempdir().unwrap();
    let clients = clients::all(place.path()).await;
    let (mut random, seeds) = (Random::new(seed), seeds(&["translation", "header_block"]));
    let mut tally = Tally::default();
    let (mut number, mut shown) = (0, 0);
    while shown < streams as usize {
        let count = STREAMS_AT_ONCE.min(streams as usize - shown);
        let made: Vec<_> = (0..count)
            .map(|_| {
                let stream = generate::stream(&mut random, number, &seeds);
                number += stream.asked.len();
                stream
            })
            .collect();
        for (at, conversation) in come_back(&made, &mut tally).await.into_iter().enumerate() {
            compare(&clients, place.path(), shown + at, &conversation, &mut tally).await;
        }
        shown += count;
        differences(&tally, seed);
    }
    eprintln!("{tally:?}");
    tally.shows_enough_of(streams);
}

/// Asks through a gateway what an instance answers so. What came of it at the clients.
async fn come_back(streams: &[Stream], tally: &mut Tally) -> Vec<Conversation> {
    let instance = Instance::new().await;
    let mut world = World::new(&[instance.address]);
    world.backends_speak_http2 = true;
    let said = Arc::new(said(streams));
    let serving = tokio::spawn(async move {
        while let Ok(stream) = instance.take().await {
            tokio::spawn(answer_all(stream, Arc::clone(&said)));
        }
    });
    let proxy = Proxy::gateway(&world);
    let conversations = conversations(&proxy, streams, tally).await;
    proxy.running.drain(Duration::from_secs(5)).await;
    serving.abort();
    conversations
}

/// Answers in frames what comes in frames.
async fn answer_all(mut stream: TcpStream, said: Arc<HashMap<String, Said>>) {
    let mut greeting = vec![0; PREFACE.len()];
    if stream.read_exact(&mut greeting).await.is_err()
        || stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.is_err()
    {
        return;
    }
    let mut received = Vec::new();
    loop {
        while let Some(asked) = frames::take(&mut received) {
            let (bytes, closes) = match asked.kind {
                SETTINGS if !asked.has(ACK) => (frame(SETTINGS, ACK, 0, &[]), false),
                HEADERS => {
                    let said = number_in(&asked.payload).and_then(|number| said.get(&number));
                    let Some(Said { bytes, closes }) = said else { return };
                    (on_stream(bytes, asked.stream), *closes)
                }
                _ => (Vec::new(), false),
            };
            if stream.write_all(&bytes).await.is_err() || closes {
                return;
            }
        }
        if stream.read_buf(&mut received).await.unwrap_or_default() == 0 {
            return;
        }
    }
}

/// Which request it is that a block asks for: a gateway compresses neither names nor values.
fn number_in(block: &[u8]) -> Option<String> {
    let name = NUMBER.as_bytes();
    let at = block.windows(name.len()).position(|it| it == name)? + name.len();
    let value = block.get(at + 1..at + 1 + NUMBER_BYTES)?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// The frames of an answer on its stream, and those of the stream behind it on the one behind. What is no frame stays what it
/// is.
fn on_stream(said: &[u8], id: u32) -> Vec<u8> {
    let (mut rest, mut bytes) = (said.to_vec(), Vec::new());
    while let Some(mut frame) = frames::take(&mut rest) {
        frame.stream = match frame.stream {
            0 => 0,
            stream => id + stream - 1,
        };
        bytes.extend(frame.bytes());
    }
    bytes.extend(rest);
    bytes
}
