//! The last good picture on disk, as the messages it came in, so that a data plane that restarts while the
//! control plane is away serves at once.
//!
//! The file: [`MAGIC`], the CRC-32 of all that follows, then length-delimited messages: a `ControlMessage` with
//! the generation, a `Subscribe` with what had been asked for, and every `Resource`.

use anyhow::{Context, ensure};
use api::discovery::v1;
use prost::Message;

/// What the file begins with; its last byte is the format's version.
const MAGIC: &[u8; 8] = b"LANEWAY\x02";

/// Bytes before the messages.
const HEADER_BYTES: usize = MAGIC.len() + size_of::<u32>();

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Stored {
    /// Which picture it is.
    pub(crate) generation: v1::Generation,
    /// What had been asked for.
    pub(crate) subscribed: v1::Subscribe,
    /// Every resource.
    pub(crate) resources: Vec<v1::Resource>,
}

/// Writes the file's content. `resources` are encoded already: they are kept that way.
pub(crate) fn encode<'a>(
    generation: &v1::Generation,
    subscribed: &v1::Subscribe,
    resources: impl Iterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut content = vec![0; HEADER_BYTES];
    let first = v1::ControlMessage { generation: Some(generation.clone()), ..Default::default() };
    content.extend(first.encode_length_delimited_to_vec());
    content.extend(subscribed.encode_length_delimited_to_vec());
    for resource in resources {
        // Never fails: a vector grows.
        let _ = prost::encode_length_delimiter(resource.len(), &mut content);
        content.extend_from_slice(resource);
    }
    let checksum = crc32fast::hash(&content[HEADER_BYTES..]);
    content[..MAGIC.len()].copy_from_slice(MAGIC);
    content[MAGIC.len()..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    content
}

/// Reads the file's content.
pub(crate) fn decode(content: &[u8]) -> anyhow::Result<Stored> {
    let (name, version) = (&MAGIC[..MAGIC.len() - 1], MAGIC[MAGIC.len() - 1]);
    let rest = content.strip_prefix(name).context("it begins as no such file does")?;
    let (written, rest) = rest.split_first().context("it is cut short")?;
    ensure!(
        *written == version,
        "its format is version {written}; this release reads version {version}"
    );
    let (checksum, mut messages) = rest.split_first_chunk().context("it is cut short")?;
    ensure!(
        u32::from_le_bytes(*checksum) == crc32fast::hash(messages),
        "its checksum does not fit its content"
    );
    let first = v1::ControlMessage::decode_length_delimited(&mut messages)?;
    let subscribed = v1::Subscribe::decode_length_delimited(&mut messages)?;
    let mut resources = Vec::new();
    while !messages.is_empty() {
        resources.push(v1::Resource::decode_length_delimited(&mut messages)?);
    }
    Ok(Stored { generation: first.generation.unwrap_or_default(), subscribed, resources })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Stored {
        let resource = |name: &str| v1::Resource {
            key: format!("name/{name}"),
            version: 7,
            body: Some(v1::resource::Body::Name(v1::NameAnswer {
                name: name.to_owned(),
                ..Default::default()
            })),
        };
        Stored {
            generation: v1::Generation { epoch: "e".into(), number: 3 },
            subscribed: v1::Subscribe { names: vec!["sc-b".into()], ..Default::default() },
            resources: vec![resource("sc-b"), resource("sc-c")],
        }
    }

    fn written() -> Vec<u8> {
        let stored = stored();
        let encoded: Vec<_> = stored.resources.iter().map(Message::encode_to_vec).collect();
        encode(&stored.generation, &stored.subscribed, encoded.iter().map(Vec::as_slice))
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(decode(&written()).unwrap(), stored());
    }

    #[test]
    fn another_version_is_refused_by_its_number() {
        let mut older = written();
        older[MAGIC.len() - 1] = 1;
        let refused = decode(&older).unwrap_err().to_string();
        assert_eq!(refused, "its format is version 1; this release reads version 2");
    }

    #[test]
    fn any_changed_or_missing_byte_is_noticed() {
        let whole = written();
        for index in 0..whole.len() {
            let mut changed = whole.clone();
            changed[index] ^= 1;
            assert!(decode(&changed).is_err(), "byte {index} changed");
            assert!(decode(&whole[..index]).is_err(), "cut at {index}");
        }
    }
}
