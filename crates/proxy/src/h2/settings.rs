//! What a side asks of the other (RFC 9113 §6.5).

use super::{
    error::{Code, Fatal},
    frame::{FRAME_BYTES_MAX, Kind, WINDOW_MAX, flag, write_head},
};

/// Bytes of one setting.
const SETTING_BYTES: usize = 6;

const HEADER_TABLE_SIZE: u16 = 0x1;
const ENABLE_PUSH: u16 = 0x2;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;
/// CONNECT may ask for another protocol on a stream (RFC 8441).
const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;

/// What the other side has asked for; at first what the standard says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    /// Streams that we may have open.
    pub(super) streams_max: u32,
    /// What we may send on a new stream.
    pub(super) window: i64,
    /// Bytes of a frame beside its head.
    pub(super) frame_bytes_max: usize,
    /// CONNECT may ask for another protocol.
    pub(super) takes_protocols: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            streams_max: u32::MAX,
            window: 65_535,
            frame_bytes_max: FRAME_BYTES_MAX,
            takes_protocols: false,
        }
    }
}

impl Settings {
    /// Takes over what a frame says.
    pub(super) fn read(&mut self, said: &[u8]) -> Result<(), Fatal> {
        let (settings, rest) = said.as_chunks::<SETTING_BYTES>();
        if !rest.is_empty() {
            return Err(Fatal::frame_size("settings that are not whole"));
        }
        for [a, b, value @ ..] in settings {
            let (name, value) = (u16::from_be_bytes([*a, *b]), u32::from_be_bytes(*value));
            match name {
                ENABLE_PUSH if value > 1 => return Err(Fatal::protocol("malformed ENABLE_PUSH")),
                MAX_CONCURRENT_STREAMS => self.streams_max = value,
                INITIAL_WINDOW_SIZE if i64::from(value) > WINDOW_MAX => {
                    return Err(Fatal::new(Code::FlowControl, "INITIAL_WINDOW_SIZE too large"));
                }
                INITIAL_WINDOW_SIZE => self.window = i64::from(value),
                MAX_FRAME_SIZE if !(16_384..1 << 24).contains(&value) => {
                    return Err(Fatal::protocol("malformed MAX_FRAME_SIZE"));
                }
                // Nobody takes back what others may have begun to use (RFC 8441 §3).
                ENABLE_CONNECT_PROTOCOL if value > 1 || (self.takes_protocols && value == 0) => {
                    return Err(Fatal::protocol("malformed ENABLE_CONNECT_PROTOCOL"));
                }
                ENABLE_CONNECT_PROTOCOL => self.takes_protocols = value == 1,
                // No frame of ours is larger than everybody must take.
                MAX_FRAME_SIZE => {}
                // We remember nothing for the other side to read by, and our heads are what others sent.
                _ => {}
            }
        }
        Ok(())
    }
}

/// Appends what we ask for.
pub(super) fn write_settings(ours: &super::Limits, is_client: bool, out: &mut Vec<u8>) {
    let mut settings = vec![
        (INITIAL_WINDOW_SIZE, ours.first_window),
        (MAX_HEADER_LIST_SIZE, ours.head_bytes_max),
        (HEADER_TABLE_SIZE, ours.table_bytes_max),
    ];
    if is_client {
        settings.push((ENABLE_PUSH, 0));
    } else {
        settings.push((MAX_CONCURRENT_STREAMS, ours.streams_max));
        settings.push((ENABLE_CONNECT_PROTOCOL, 1));
    }
    write_head(settings.len() * SETTING_BYTES, Kind::Settings, 0, 0, out);
    for (name, value) in settings {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Appends that the other side's settings hold from here on.
pub(super) fn write_acknowledgement(out: &mut Vec<u8>) {
    write_head(0, Kind::Settings, flag::ACKNOWLEDGED, 0, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(u16, u32)]) -> Result<Settings, Fatal> {
        let mut said = Vec::new();
        for (name, value) in settings {
            said.extend_from_slice(&name.to_be_bytes());
            said.extend_from_slice(&value.to_be_bytes());
        }
        let mut read = Settings::default();
        read.read(&said)?;
        Ok(read)
    }

    #[test]
    fn the_last_value_counts_and_unknown_settings_are_ignored() {
        let settings = read(&[(3, 7), (4, 10), (3, 8), (0xff, 1), (8, 0), (8, 1)]).unwrap();
        let expected =
            Settings { streams_max: 8, window: 10, takes_protocols: true, ..Settings::default() };
        assert_eq!(settings, expected);
    }

    #[test]
    fn values_out_of_range_end_the_connection() {
        for (name, value, code) in [
            (2, 2, Code::Protocol),
            (4, 1 << 31, Code::FlowControl),
            (5, 16_383, Code::Protocol),
            (5, 1 << 24, Code::Protocol),
            (8, 2, Code::Protocol),
        ] {
            assert_eq!(read(&[(name, value)]).unwrap_err().code, code, "{name} {value}");
        }
        assert_eq!(read(&[(8, 1), (8, 0)]).unwrap_err().code, Code::Protocol);
        let torn = Settings::default().read(&[0; 5]);
        assert_eq!(torn.unwrap_err().code, Code::FrameSize);
    }
}
