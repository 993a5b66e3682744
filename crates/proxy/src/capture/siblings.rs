//! Which addresses of the other family this host has beside one of its own, as the kernel tells (rtnetlink, RTM_GETADDR).

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// Bytes of the kernel's answer that are read at a time: more than it sends at a time.
const ANSWER_BYTES: usize = 64 * 1024;

/// Addresses taken for one instance's at most: of one interface they are few.
const SIBLINGS_MAX: usize = 8;

/// `struct nlmsghdr`, and `struct ifaddrmsg` behind it.
const HEADER_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 8;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// `RT_SCOPE_UNIVERSE`: an address that means the same to other hosts.
const SCOPE_UNIVERSE: u8 = 0;
/// Temporary or secondary, double, deprecated: addresses that nobody is told to call.
const NOT_TO_BE_CALLED: u8 = 0x01 | 0x08 | 0x20;

/// An address of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Own {
    ip: IpAddr,
    interface: u32,
    is_to_be_called: bool,
}

/// The addresses of the other family at the interface that has `ip`; none where it is not this host's.
pub fn siblings(ip: IpAddr) -> io::Result<Vec<IpAddr>> {
    let ip = ip.to_canonical();
    let own = own_addresses()?;
    let at = own.iter().find(|it| it.ip == ip && !ip.is_loopback()).map(|it| it.interface);
    let siblings = own.iter().filter(|it| {
        Some(it.interface) == at && it.ip.is_ipv4() != ip.is_ipv4() && it.is_to_be_called
    });
    Ok(siblings.map(|it| it.ip).take(SIBLINGS_MAX).collect())
}

fn own_addresses() -> io::Result<Vec<Own>> {
    // Protocol 0 is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let mut request = Vec::with_capacity(HEADER_BYTES + ADDRESS_BYTES);
    request.extend(((HEADER_BYTES + ADDRESS_BYTES) as u32).to_ne_bytes());
    request.extend(RTM_GETADDR.to_ne_bytes());
    request.extend(DUMP.to_ne_bytes());
    // Number and port are nobody's; of every family, at every interface.
    request.resize(HEADER_BYTES + ADDRESS_BYTES, 0);
    send(&socket, &request, SendFlags::empty())?;
    let mut own = Vec::new();
    let mut answer = vec![0; ANSWER_BYTES];
    loop {
        let (received, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
        match read(&answer[..received], &mut own) {
            Some(true) => return Ok(own),
            Some(false) => {}
            None => return Err(io::Error::other("the kernel does not tell this host's addresses")),
        }
    }
}

/// Reads the messages of one answer. Whether that is the last; `None`: it is not what was asked for.
fn read(mut messages: &[u8], own: &mut Vec<Own>) -> Option<bool> {
    while !messages.is_empty() {
        let length = u32::from_ne_bytes(*messages.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes(*messages.get(4..)?.first_chunk()?);
        let body = messages.get(HEADER_BYTES..length)?;
        match kind {
            NLMSG_DONE => return Some(true),
            NLMSG_ERROR => return None,
            RTM_NEWADDR => own.extend(read_address(body)),
            _ => {}
        }
        messages = messages.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(false)
}

fn read_address(body: &[u8]) -> Option<Own> {
    let [_family, _prefix, flags, scope, interface @ ..] = *body.first_chunk::<ADDRESS_BYTES>()?;
    let mut attributes = BTreeMap::new();
    let mut rest = &body[ADDRESS_BYTES..];
    while let Some(length) = rest.first_chunk().map(|it| usize::from(u16::from_ne_bytes(*it))) {
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        attributes.insert(kind, rest.get(4..length)?);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    // Where both are told, the first is the other end's.
    let bytes = *attributes.get(&IFA_LOCAL).or_else(|| attributes.get(&IFA_ADDRESS))?;
    let ip = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(*bytes.first_chunk::<4>()?)),
        _ => IpAddr::V6(Ipv6Addr::from(*bytes.first_chunk::<16>()?)),
    };
    let is_to_be_called = scope == SCOPE_UNIVERSE && flags & NOT_TO_BE_CALLED == 0;
    Some(Own { ip, interface: u32::from_ne_bytes(interface), is_to_be_called })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_the_addresses_of_this_host() {
        let own = own_addresses().unwrap();
        let loopback = own.iter().find(|it| it.ip == IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
        assert!(!loopback.is_to_be_called, "it means something else to others");
        assert!(siblings(Ipv4Addr::LOCALHOST.into()).unwrap().is_empty());
        assert!(siblings("192.0.2.1".parse().unwrap()).unwrap().is_empty());
    }

    #[test]
    fn what_is_cut_is_not_read() {
        let mut own = Vec::new();
        assert_eq!(read(&[24, 0, 0, 0, 20], &mut own), None);
        assert_eq!(read(&[0; 16], &mut own), None);
        assert!(own.is_empty());
    }
}
