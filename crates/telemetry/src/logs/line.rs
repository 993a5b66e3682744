//! One event is one line: whatever control characters a name, a tag or an error brings along are written escaped, so
//! that nobody who may choose a name can forge a line or steer a terminal.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write},
};

use tracing_appender::non_blocking::NonBlocking;
use tracing_subscriber::fmt::MakeWriter;

/// Writes events to the queue, each as one line.
#[derive(Debug, Clone)]
pub(super) struct Lines(pub(super) NonBlocking);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Lines {
    /// The formatter hands over whole events.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(&one_line(event))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// An event with nothing that ends a line but its end. The escapes are also JSON's.
fn one_line(event: &[u8]) -> Cow<'_, [u8]> {
    let (text, end) = match event.strip_suffix(b"\n") {
        Some(text) => (text, "\n"),
        None => (event, ""),
    };
    // The second byte of what UTF-8 makes of U+0080 to U+009F follows this one.
    const LEADS_TO_CONTROL: u8 = 0xC2;
    let suspicious =
        |byte: &u8| byte.is_ascii_control() || matches!(*byte, LEADS_TO_CONTROL | 0xE2);
    if !text.iter().any(suspicious) {
        return Cow::Borrowed(event);
    }
    let text = String::from_utf8_lossy(text);
    let mut line = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            // Line and paragraph separators, and what turns the direction of writing, are no better.
            '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => escape(character, &mut line),
            control if control.is_control() => escape(control, &mut line),
            other => line.push(other),
        }
    }
    line.push_str(end);
    Cow::Owned(line.into_bytes())
}

fn escape(character: char, line: &mut String) {
    // Writing to a string does not fail.
    let _ = write!(line, "\\u{:04x}", u32::from(character));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        for (event, line) in [
            ("plain é “text”\n", "plain é “text”\n"),
            ("a\nERROR forged\r\tb\n", "a\\nERROR forged\\r\\tb\n"),
            ("\u{1b}[31mred\u{7f}\u{9b}2J\u{0}", "\\u001b[31mred\\u007f\\u009b2J\\u0000"),
            ("a\u{2028}b\u{202e}c\u{2066}\n", "a\\u2028b\\u202ec\\u2066\n"),
            ("\n", "\n"),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8_lossy(&one_line(event.as_bytes())), line);
        }
    }
}
