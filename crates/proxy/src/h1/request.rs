//! A request head: what it means, and how rules see it.

use std::net::IpAddr;

use super::fields::{self, Framing};
use super::head::{
    Field, HeadError, HeadParser, METHOD_BYTES_MAX, Progress, Span, TARGET_BYTES_MAX, minor_version,
};
use super::name::Name;
use super::target::{self, Form, PathPolicy};

/// How strict to be with what senders and servers understand differently.
#[derive(Debug, Clone, Copy)]
pub struct RequestPolicy {
    /// For paths.
    pub path: PathPolicy,
    /// Drop fields with `_` in the name: CGI-like applications cannot tell them from those with `-`.
    pub drop_underscored: bool,
}

/// Text of the head itself, or of its scratch where it had to be changed.
#[derive(Debug, Clone, Copy)]
enum Text {
    Head(Span),
    Scratch(Span),
}

/// A request head as offsets into the received bytes. Reused: it keeps its memory between requests.
#[derive(Debug)]
pub struct RequestHead {
    parser: HeadParser,
    scratch: Vec<u8>,
    /// The method.
    pub method: Span,
    /// The target as sent.
    pub target: Span,
    /// Its form.
    pub form: Form,
    path: Text,
    /// The query without `?`.
    pub query: Span,
    host: Text,
    /// Host as sent, with port; empty only for HTTP/1.0.
    pub authority: Span,
    /// 0 or 1.
    pub minor_version: u8,
    /// The client will send more requests on this connection.
    pub keep_alive: bool,
    /// How long the body is.
    pub framing: Framing,
    /// The protocol to upgrade to, where one is asked for.
    pub upgrade: Option<Span>,
    /// The client waits for `100 Continue`.
    pub expects_continue: bool,
    /// Bytes of the head.
    pub head_bytes: usize,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self {
            parser: HeadParser::default(),
            scratch: Vec::new(),
            method: Span::default(),
            target: Span::default(),
            form: Form::Origin,
            path: Text::Head(Span::default()),
            query: Span::default(),
            host: Text::Head(Span::default()),
            authority: Span::default(),
            minor_version: 1,
            keep_alive: false,
            framing: Framing::None,
            upgrade: None,
            expects_continue: false,
            head_bytes: 0,
        }
    }
}

impl RequestHead {
    /// Ready for the next request, keeping its memory.
    pub fn reset(&mut self) {
        self.parser.reset();
        self.scratch.clear();
        self.upgrade = None;
        self.expects_continue = false;
        self.head_bytes = 0;
    }

    /// Takes in what has been received so far; true when the head is complete and understood.
    pub fn advance(&mut self, bytes: &[u8], policy: RequestPolicy) -> Result<bool, HeadError> {
        match self.parser.advance(bytes)? {
            Progress::Partial => Ok(false),
            Progress::Complete(end) => {
                self.head_bytes = end;
                self.interpret(bytes, policy)?;
                Ok(true)
            }
        }
    }

    /// Whether nothing of a request has arrived but the empty line that may precede it.
    pub fn is_untouched(&self, received: usize) -> bool {
        self.parser.is_untouched(received)
    }

    /// The fields in order.
    pub fn fields(&self) -> &[Field] {
        &self.parser.fields
    }

    /// The fields in order, to drop some.
    pub fn fields_mut(&mut self) -> &mut [Field] {
        &mut self.parser.fields
    }

    /// Drops every field called `name`; true when there was one.
    pub fn drop_named(&mut self, bytes: &[u8], name: &[u8]) -> bool {
        let mut any = false;
        for field in &mut self.parser.fields {
            if field.keep && field.name_of(bytes).eq_ignore_ascii_case(name) {
                field.keep = false;
                any = true;
            }
        }
        any
    }

    /// Values of all kept fields called `name`.
    pub fn values<'h>(
        &'h self,
        bytes: &'h [u8],
        name: Name,
    ) -> impl Iterator<Item = &'h [u8]> + Clone {
        self.parser
            .fields
            .iter()
            .filter(move |field| field.keep && field.name == name)
            .map(|field| field.value.of(bytes))
    }

    /// The first value of the kept fields called `name` (lower-case).
    pub fn first_value<'h>(&'h self, bytes: &'h [u8], name: &str) -> Option<&'h [u8]> {
        let known = Name::of(name.as_bytes());
        let is_named = |field: &&Field| {
            field.name == known
                && (known != Name::Other
                    || field.name_of(bytes).eq_ignore_ascii_case(name.as_bytes()))
        };
        self.parser
            .fields
            .iter()
            .filter(|field| field.keep)
            .find(is_named)
            .map(|field| field.value.of(bytes))
    }

    /// The normalised path.
    pub fn path<'h>(&'h self, bytes: &'h [u8]) -> &'h [u8] {
        self.text(self.path, bytes)
    }

    /// The host, lower-case, without port.
    pub fn host<'h>(&'h self, bytes: &'h [u8]) -> &'h [u8] {
        self.text(self.host, bytes)
    }

    /// The port of the authority, if it names one.
    pub fn port(&self, bytes: &[u8]) -> Option<u16> {
        let (_, port) = target::split_port(self.authority.of(bytes));
        std::str::from_utf8(port?).ok()?.parse().ok()
    }

    fn text<'h>(&'h self, text: Text, bytes: &'h [u8]) -> &'h [u8] {
        match text {
            Text::Head(span) => span.of(bytes),
            Text::Scratch(span) => span.of(&self.scratch),
        }
    }

    /// Appends what frames the body and asks for an upgrade; the fields that did were for one hop alone.
    pub fn write_framing(&self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.framing == Framing::Chunked {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        if let Some(protocol) = self.upgrade {
            out.extend_from_slice(b"connection: upgrade\r\n");
            fields::write_field("upgrade", protocol.of(bytes), out);
        }
    }

    fn interpret(&mut self, bytes: &[u8], policy: RequestPolicy) -> Result<(), HeadError> {
        let line = self.parser.start_line();
        let text = line.of(bytes);
        let first = memchr::memchr(b' ', text).ok_or(HeadError::StartLine)?;
        let last = memchr::memrchr(b' ', text).ok_or(HeadError::StartLine)?;
        let method_is_token = text[..first].iter().all(|byte| super::head::is_token(*byte));
        if first == 0 || first == last || first > METHOD_BYTES_MAX || !method_is_token {
            return Err(HeadError::StartLine);
        }
        self.minor_version = minor_version(&text[last + 1..])?;
        let start = line.start as usize;
        self.method = Span::new(start, start + first);
        self.target = Span::new(start + first + 1, start + last);
        let target_text = self.target.of(bytes);
        if target_text.len() > TARGET_BYTES_MAX {
            return Err(HeadError::TargetTooLong);
        }
        let target = target::parse(self.method.of(bytes), target_text)?;
        self.interpret_target(bytes, &target, policy)?;
        self.interpret_fields(bytes, policy)?;
        self.interpret_host(bytes, &target)?;
        self.form = target.form;
        Ok(())
    }

    fn interpret_target(
        &mut self,
        bytes: &[u8],
        target: &target::Target,
        policy: RequestPolicy,
    ) -> Result<(), HeadError> {
        let base = self.target.start as usize;
        self.query = Span::new(base + target.query.start, base + target.query.end);
        let path = &self.target.of(bytes)[target.path.clone()];
        let scratch_start = self.scratch.len();
        if path.is_empty() && target.form != Form::Authority {
            self.scratch.push(b'/');
            self.path = Text::Scratch(Span::new(scratch_start, self.scratch.len()));
        } else if target::normalise(path, policy.path, &mut self.scratch)? {
            self.path = Text::Scratch(Span::new(scratch_start, self.scratch.len()));
        } else {
            self.path = Text::Head(Span::new(base + target.path.start, base + target.path.end));
        }
        Ok(())
    }

    fn interpret_fields(&mut self, bytes: &[u8], policy: RequestPolicy) -> Result<(), HeadError> {
        let fields = &mut self.parser.fields;
        if policy.drop_underscored {
            for field in fields.iter_mut().filter(|field| field.name == Name::Other) {
                if memchr::memchr(b'_', field.name_of(bytes)).is_some() {
                    field.keep = false;
                }
            }
        }
        let framing = fields::framing(bytes, fields)?;
        if self.minor_version == 0 && framing == Some(Framing::Chunked) {
            return Err(HeadError::TransferEncoding);
        }
        self.framing = match framing {
            None | Some(Framing::Length(0)) => Framing::None,
            Some(framing) => framing,
        };
        let options = fields::hop_by_hop(bytes, fields);
        self.keep_alive = !options.close && (self.minor_version == 1 || options.keep_alive);
        let mut upgrades = fields.iter().filter(|field| field.name == Name::Upgrade);
        self.upgrade = match (upgrades.next(), upgrades.next()) {
            (Some(only), None)
                if options.upgrade
                    && self.minor_version == 1
                    && self.framing == Framing::None
                    && is_upgradable(only.value.of(bytes)) =>
            {
                Some(only.value)
            }
            _ => None,
        };
        self.expects_continue = self.minor_version == 1
            && fields.iter().any(|field| {
                field.name == Name::Expect
                    && field.value.of(bytes).eq_ignore_ascii_case(b"100-continue")
            });
        Ok(())
    }

    fn interpret_host(&mut self, bytes: &[u8], target: &target::Target) -> Result<(), HeadError> {
        let mut hosts = self.parser.fields.iter().filter(|field| field.name == Name::Host);
        let host = match (hosts.next(), hosts.next()) {
            (Some(only), None) if target::is_valid_host(only.value.of(bytes)) => Some(only.value),
            (None, _) if self.minor_version == 0 => None,
            _ => return Err(HeadError::Host),
        };
        let base = self.target.start as usize;
        let from_target = match &target.form {
            Form::Absolute { authority, .. } => {
                Some(Span::new(base + authority.start, base + authority.end))
            }
            Form::Authority => Some(self.target),
            Form::Origin | Form::Asterisk => None,
        };
        // The target wins by the standard; two different hosts in one request are an attack or a mistake.
        self.authority = match (from_target, host) {
            (Some(target), Some(host))
                if !target.of(bytes).eq_ignore_ascii_case(host.of(bytes)) =>
            {
                return Err(HeadError::Host);
            }
            (Some(target), _) => target,
            (None, Some(host)) => host,
            (None, None) => Span::default(),
        };
        let (name, _) = target::split_port(self.authority.of(bytes));
        if name.iter().any(u8::is_ascii_uppercase) {
            let start = self.scratch.len();
            self.scratch.extend(name.iter().map(u8::to_ascii_lowercase));
            self.host = Text::Scratch(Span::new(start, self.scratch.len()));
        } else {
            let start = self.authority.start as usize;
            self.host = Text::Head(Span::new(start, start + name.len()));
        }
        Ok(())
    }
}

/// One protocol name, and not a way to speak HTTP/2 past the rules.
fn is_upgradable(protocol: &[u8]) -> bool {
    !protocol.is_empty()
        && protocol.iter().all(|byte| super::head::is_token(*byte) || *byte == b'/')
        && !protocol.eq_ignore_ascii_case(b"h2c")
        && !protocol.eq_ignore_ascii_case(b"h2")
}

/// How rules see a request: after stripping, before filters.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'h> {
    head: &'h RequestHead,
    bytes: &'h [u8],
    method: &'h str,
    host: &'h str,
    path: &'h str,
    query: &'h str,
    client_ip: IpAddr,
    hide_baggage: bool,
}

impl<'h> RequestView<'h> {
    /// A view of `head`, whose bytes these are. `hide_baggage`: it holds lane members that are not believed.
    pub fn new(
        head: &'h RequestHead,
        bytes: &'h [u8],
        client_ip: IpAddr,
        hide_baggage: bool,
    ) -> Self {
        // The parser admitted only ASCII in these parts.
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        Self {
            head,
            bytes,
            method: text(head.method.of(bytes)),
            host: text(head.host(bytes)),
            path: text(head.path(bytes)),
            query: text(head.query.of(bytes)),
            client_ip,
            hide_baggage,
        }
    }
}

impl lanes::Request for RequestView<'_> {
    fn method(&self) -> &str {
        self.method
    }

    fn host(&self) -> &str {
        self.host
    }

    fn path(&self) -> &str {
        self.path
    }

    fn query(&self) -> &str {
        self.query
    }

    fn client_ip(&self) -> IpAddr {
        self.client_ip
    }

    fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let hidden = |field: &&Field| self.hide_baggage && field.name == Name::Baggage;
        self.head.fields().iter().filter(move |field| field.keep && !hidden(field)).map(|field| {
            let name = field.name.as_str().unwrap_or_else(|| {
                std::str::from_utf8(field.name_of(self.bytes)).unwrap_or_default()
            });
            (name, field.value.of(self.bytes))
        })
    }
}
