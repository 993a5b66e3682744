//! What a process may run out of: which errors of the system say that it is our own shortage, and how many files may be
//! open.

use std::io;

use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

/// What the system answers when this process, or its host, cannot do what was asked: it says nothing about the other
/// side. Descriptors of the process and of the host, memory, buffers, free local ports, room in a queue, a local rule.
const OURS: [Errno; 9] = [
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOMEM,
    Errno::NOBUFS,
    Errno::ADDRNOTAVAIL,
    Errno::ADDRINUSE,
    Errno::AGAIN,
    Errno::PERM,
    Errno::ACCESS,
];

/// Whether connecting to somebody failed for want of something of our own.
pub fn is_ours(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| OURS.contains(&Errno::from_raw_os_error(code)))
}

/// How many files, sockets among them, this process may have open.
pub fn open_files_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Lets this process open as many files as it may allow itself; tells how many.
pub fn raise_open_files() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    Ok(open_files_max())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_other_side_does_is_not_our_shortage() {
        for errno in OURS {
            assert!(is_ours(&errno.into()), "{errno:?}");
        }
        for errno in [
            Errno::CONNREFUSED,
            Errno::CONNRESET,
            Errno::TIMEDOUT,
            Errno::HOSTUNREACH,
            Errno::NETUNREACH,
            Errno::PIPE,
        ] {
            assert!(!is_ours(&errno.into()), "{errno:?}");
        }
        assert!(!is_ours(&io::ErrorKind::TimedOut.into()), "a wait that was given up");
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let raised = raise_open_files().unwrap();
        assert_eq!(Some(raised), getrlimit(Resource::Nofile).maximum.or(Some(u64::MAX)));
        assert_eq!(raised, open_files_max());
    }
}
