//! What goes wrong, in gRPC's words: its callers look for a status of gRPC's own, whatever HTTP says.

/// What begins the line of a message's type in the text of a head.
const TYPE_LINE: &[u8] = b"\r\ncontent-type: ";

/// Whether a message is gRPC's, by its `content-type`: not that of gRPC-Web, which says the same in another way.
pub(crate) fn is_grpc(content_type: &[u8]) -> bool {
    let after = content_type.strip_prefix(b"application/grpc");
    after.is_some_and(|after| matches!(after.first(), None | Some(b'+' | b';' | b' ' | b'\r')))
}

/// The same by the text of its head in HTTP/2, whatever is wrong with it.
pub(crate) fn is_head_of_grpc(text: &[u8]) -> bool {
    let at = memchr::memmem::find(text, TYPE_LINE);
    at.is_some_and(|at| is_grpc(&text[at + TYPE_LINE.len()..]))
}

/// The status that says the same as one of HTTP, of the proxy's own answers.
pub(crate) fn status_of(http: u16) -> u8 {
    match http {
        // CANCELLED
        499 => 1,
        // DEADLINE_EXCEEDED
        408 | 504 => 4,
        // PERMISSION_DENIED
        403 => 7,
        // RESOURCE_EXHAUSTED
        413 | 414 | 429 | 431 => 8,
        // UNIMPLEMENTED: no such method
        404 | 405 | 501 => 12,
        // INTERNAL
        400 | 417 | 500 | 505 | 508 => 13,
        // UNAVAILABLE: trying again may help
        421 | 502 | 503 => 14,
        // UNAUTHENTICATED
        401 => 16,
        // UNKNOWN
        _ => 2,
    }
}

/// A message as a field's value: what is no printable ASCII is percent-encoded.
pub(crate) fn message(text: &str) -> Vec<u8> {
    let mut value = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => value.push(byte),
            _ => value.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for (content_type, expected) in [
            (&b"application/grpc"[..], true),
            (b"application/grpc+proto", true),
            (b"application/grpc; charset=utf-8", true),
            (b"application/grpc-web", false),
            (b"application/grpc-web+proto", false),
            (b"application/json", false),
            (b"", false),
        ] {
            assert_eq!(is_grpc(content_type), expected, "{}", content_type.escape_ascii());
            let head = [b"POST / HTTP/1.1\r\ncontent-type: ", content_type, b"\r\n\r\n"].concat();
            assert_eq!(is_head_of_grpc(&head), expected, "{}", head.escape_ascii());
        }
    }

    #[test]
    fn messages_are_values_of_fields() {
        assert_eq!(message("no 100% ä\n"), b"no 100%25 %C3%A4%0A");
    }
}
