//! The TCP sockets of this machine, as the kernel's tables tell: whose they are.

use std::{
    fs,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::Path,
};

use lanes::directory::canonical;

/// The state of a socket that accepts connections.
const LISTENING: u8 = 0x0A;

/// One line of `/proc/net/tcp` or `tcp6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// This end, in its shortest spelling.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// As the kernel numbers states.
    pub state: u8,
    /// Whose it is.
    pub user: u32,
    /// By which its process holds it; 0 when none does any more.
    pub inode: u64,
}

/// Looks at every socket there is until one is what is looked for.
pub fn find<T>(look: impl Fn(&Socket) -> Option<T>) -> Option<T> {
    ["/proc/self/net/tcp", "/proc/self/net/tcp6"].iter().find_map(|table| {
        let table = fs::read_to_string(table).ok()?;
        table.lines().filter_map(Socket::read).find_map(|socket| look(&socket))
    })
}

/// Who listens at an address, or at one that takes it in, in words: as far as this process may know.
pub fn listener_at(address: SocketAddr) -> Option<String> {
    let socket = listening_at(address)?;
    let who = match holder(socket.inode) {
        Some(process) if process == std::process::id() => "this process itself".to_owned(),
        Some(process) => match program(process) {
            Some(program) => format!("process {process} ({program})"),
            None => format!("process {process}"),
        },
        // Its files are not for us to see.
        None => format!("a process of user {}", socket.user),
    };
    Some(format!("{who} listens on {}", socket.local))
}

/// Whether a connection to `address` would arrive at `listener`.
pub fn arrives_at(address: SocketAddr, listener: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    listener.port() == address.port()
        && (listener.ip().to_canonical() == ip
            || listener.ip().is_unspecified() && is_of_this_host(ip))
}

/// Whether an address is one of this host's: only then can a socket be bound to it.
fn is_of_this_host(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// Another process that a connection to an address would arrive at, and that runs this one's program with the same first
/// word: its number.
pub fn another_of_this_kind_at(address: SocketAddr) -> Option<u32> {
    let (address, own) = (canonical(address), std::process::id());
    let is_exact =
        find(|socket| (socket.state == LISTENING && socket.local == address).then_some(()));
    find(|socket| {
        // Whoever listens at the very address has it, and not who listens at all of them.
        let arrives = match is_exact {
            Some(()) => socket.local == address,
            None => {
                socket.local.is_ipv4() == address.is_ipv4() && arrives_at(address, socket.local)
            }
        };
        let process = (socket.state == LISTENING && arrives).then(|| holder(socket.inode))??;
        (process != own && program(process)? == program(own)?).then_some(process)
    })
}

fn listening_at(address: SocketAddr) -> Option<Socket> {
    let (ip, port) = (address.ip().to_canonical(), address.port());
    find(|socket| {
        let at = socket.local.ip();
        let is_there = at == ip || at.is_unspecified() || ip.is_unspecified();
        (socket.state == LISTENING && socket.local.port() == port && is_there).then_some(*socket)
    })
}

/// The process that holds a socket, if this one may see it.
fn holder(inode: u64) -> Option<u32> {
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut numbered = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbered.find(|process: &u32| {
        let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|it| it == Path::new(&wanted))
    })
}

/// The name of a process's program, and its first word where that is no option: what more it was told may be secret.
fn program(process: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{process}/cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let program = words.next()?;
    let program = Path::new(&*program).file_name()?.to_string_lossy().into_owned();
    let verb = words.next().filter(|verb| {
        !verb.is_empty() && verb.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    });
    let verb = verb.filter(|verb| !verb.starts_with('-'));
    Some(verb.map_or_else(|| program.clone(), |verb| format!("{program} {verb}")))
}

impl Socket {
    fn read(line: &str) -> Option<Self> {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let (local, remote) = (address(columns.next()?)?, address(columns.next()?)?);
        let state = u8::from_str_radix(columns.next()?, 16).ok()?;
        let mut columns = columns.skip(3);
        let user = columns.next()?.parse().ok()?;
        let inode = columns.nth(1)?.parse().ok()?;
        Some(Self { local, remote, state, user, inode })
    }
}

/// `0100007F:1DB0`: words of the address in the order of this machine's bytes, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let word = |at: usize| {
        let word = words.get(8 * at..8 * at + 8)?;
        Some(u32::from_str_radix(word, 16).ok()?.to_ne_bytes())
    };
    let ip = match words.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let bytes = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)
        }
        _ => return None,
    };
    Some(canonical(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_line_of_the_table_is_a_socket() {
        let heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        assert_eq!(Socket::read(heading), None);
        let line = "0: 0100007F:1F90 0100007F:1DB0 01 00000000:00000000 00:00000000 00000000  1000        0 7 1 0 20 4";
        let expected = Socket {
            local: "127.0.0.1:8080".parse().unwrap(),
            remote: "127.0.0.1:7600".parse().unwrap(),
            state: 1,
            user: 1000,
            inode: 7,
        };
        assert_eq!(Socket::read(line), Some(expected));
        let six = "0: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:1DB0 01 0:0 0:0 0 1000 0 7";
        assert_eq!(Socket::read(six), Some(expected));
    }

    #[test]
    fn who_listens_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let everywhere = SocketAddr::new([0, 0, 0, 0].into(), address.port());
        for asked in [address, everywhere] {
            let named = listener_at(asked);
            let expected = format!("this process itself listens on {address}");
            assert_eq!(named.as_deref(), Some(&*expected), "{asked}");
        }
        drop(listener);
        assert_eq!(listener_at(address), None);
        assert!(program(std::process::id()).unwrap().starts_with("proxy-"));
    }
}
