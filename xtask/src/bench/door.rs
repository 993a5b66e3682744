//! Where a contender is asked, and on which way.

/// Where a contender is asked, and so what it speaks to both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// HTTP/1.1 in the clear; HTTP/1.1 to the upstream.
    Clear,
    /// HTTP/1.1 in TLS 1.3; HTTP/1.1 to the upstream.
    Tls,
    /// HTTP/2 in the clear; HTTP/1.1 to the upstream.
    H2c,
    /// HTTP/2 in TLS 1.3; HTTP/2 in the clear to the upstream.
    SecureH2,
    /// HTTP/2 in the clear on both sides.
    Grpc,
}

impl Door {
    pub(super) const ALL: [Self; 5] =
        [Self::Clear, Self::Tls, Self::H2c, Self::SecureH2, Self::Grpc];

    /// What stands before the address in a URL.
    pub(super) const fn scheme(self) -> &'static str {
        match self {
            Self::Tls | Self::SecureH2 => "https",
            Self::Clear | Self::H2c | Self::Grpc => "http",
        }
    }

    /// The path whose requests take the door's way.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Clear | Self::Tls | Self::H2c => "/a",
            Self::SecureH2 => "/h",
            Self::Grpc => "/bench.Echo/Unary",
        }
    }
}

/// Which contenders a column is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// One proxy between client and upstream.
    Gateway,
    /// Two: the caller's and the instance's.
    Mesh,
}
