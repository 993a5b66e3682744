//! What ends streams and connections (RFC 9113 §5.4, §7).

use std::fmt;

use thiserror::Error;

/// Why something ends, as it is told the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Code {
    NoError = 0x0,
    Protocol = 0x1,
    Internal = 0x2,
    FlowControl = 0x3,
    SettingsTimeout = 0x4,
    StreamClosed = 0x5,
    FrameSize = 0x6,
    RefusedStream = 0x7,
    Cancel = 0x8,
    Compression = 0x9,
    Connect = 0xa,
    EnhanceYourCalm = 0xb,
    InadequateSecurity = 0xc,
    Http11Required = 0xd,
}

impl Code {
    /// An unknown one means nothing more than that something was wrong.
    pub(super) fn of(number: u32) -> Self {
        match number {
            0x0 => Self::NoError,
            0x1 => Self::Protocol,
            0x3 => Self::FlowControl,
            0x4 => Self::SettingsTimeout,
            0x5 => Self::StreamClosed,
            0x6 => Self::FrameSize,
            0x7 => Self::RefusedStream,
            0x8 => Self::Cancel,
            0x9 => Self::Compression,
            0xa => Self::Connect,
            0xb => Self::EnhanceYourCalm,
            0xc => Self::InadequateSecurity,
            0xd => Self::Http11Required,
            _ => Self::Internal,
        }
    }
}

impl fmt::Display for Code {
    /// As the standard calls it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoError => "NO_ERROR",
            Self::Protocol => "PROTOCOL_ERROR",
            Self::Internal => "INTERNAL_ERROR",
            Self::FlowControl => "FLOW_CONTROL_ERROR",
            Self::SettingsTimeout => "SETTINGS_TIMEOUT",
            Self::StreamClosed => "STREAM_CLOSED",
            Self::FrameSize => "FRAME_SIZE_ERROR",
            Self::RefusedStream => "REFUSED_STREAM",
            Self::Cancel => "CANCEL",
            Self::Compression => "COMPRESSION_ERROR",
            Self::Connect => "CONNECT_ERROR",
            Self::EnhanceYourCalm => "ENHANCE_YOUR_CALM",
            Self::InadequateSecurity => "INADEQUATE_SECURITY",
            Self::Http11Required => "HTTP_1_1_REQUIRED",
        })
    }
}

/// What ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{what}")]
pub(crate) struct Fatal {
    /// As it is told the other side.
    pub(crate) code: Code,
    /// As a log says it.
    pub(crate) what: &'static str,
}

impl Fatal {
    pub(super) const fn new(code: Code, what: &'static str) -> Self {
        Self { code, what }
    }

    pub(super) const fn protocol(what: &'static str) -> Self {
        Self::new(Code::Protocol, what)
    }

    pub(super) const fn frame_size(what: &'static str) -> Self {
        Self::new(Code::FrameSize, what)
    }
}
