//! A request head: what it means.

use lanes::is_token_byte;
use routes::entrance::{self, Fields, Head, NOMINATIONS_MAX, Name, Names, Nominated};

use super::fields::{self, FieldLines, Framing};
use super::head::{
    Field, HeadError, HeadParser, METHOD_BYTES_MAX, Progress, Span, TARGET_BYTES_MAX, minor_version,
};
use super::target::{self, Form, PathPolicy};

/// How strict to be with what senders and servers understand differently.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestPolicy {
    /// For paths.
    pub(crate) path: PathPolicy,
    /// Drop fields with `_` in the name: CGI-like applications cannot tell them from those with `-`.
    pub(crate) drop_underscored: bool,
}

/// Text of the head itself, or of its scratch where it had to be changed.
#[derive(Debug, Clone, Copy)]
enum Text {
    Head(Span),
    Scratch(Span),
}

impl Text {
    fn of<'h>(self, bytes: &'h [u8], scratch: &'h [u8]) -> &'h [u8] {
        match self {
            Self::Head(span) => span.of(bytes),
            Self::Scratch(span) => span.of(scratch),
        }
    }
}

/// A request head as offsets into the received bytes. Reused: it keeps its memory between requests.
#[derive(Debug)]
pub(crate) struct RequestHead {
    parser: HeadParser,
    scratch: Vec<u8>,
    /// The method.
    pub(crate) method: Span,
    /// The target as sent.
    pub(crate) target: Span,
    /// Its form.
    pub(crate) form: Form,
    path: Text,
    /// The path with one slash for those in a row, where an edge may want it so.
    merged_path: Option<Text>,
    query: Text,
    /// What goes on where it is not the same: between applications, bytes beyond ASCII stay as they were written.
    path_sent: Text,
    query_sent: Option<Text>,
    host: Text,
    /// Whom the request is for, with port, as the target or else Host says; empty only for HTTP/1.0.
    pub(crate) authority: Span,
    /// 0 or 1.
    pub(crate) minor_version: u8,
    /// The client will send more requests on this connection.
    pub(crate) keep_alive: bool,
    /// What `Connection` names as this hop's alone: a trailer may be one of them.
    pub(crate) nominated: Nominated,
    /// How long the body is.
    pub(crate) framing: Framing,
    /// The protocol to upgrade to, where one is asked for.
    pub(crate) upgrade: Option<Span>,
    /// Bytes of the head.
    pub(crate) head_bytes: usize,
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
            merged_path: None,
            query: Text::Head(Span::default()),
            path_sent: Text::Head(Span::default()),
            query_sent: None,
            host: Text::Head(Span::default()),
            authority: Span::default(),
            minor_version: 1,
            keep_alive: false,
            nominated: Nominated::default(),
            framing: Framing::None,
            upgrade: None,
            head_bytes: 0,
        }
    }
}

impl RequestHead {
    /// Ready for the next request, keeping its memory.
    pub(crate) fn reset(&mut self) {
        self.parser.reset();
        self.scratch.clear();
        self.upgrade = None;
        self.head_bytes = 0;
    }

    /// Takes in what has been received so far; true when the head is complete and understood.
    pub(crate) fn advance(
        &mut self,
        bytes: &[u8],
        policy: RequestPolicy,
    ) -> Result<bool, HeadError> {
        match self.parser.advance(bytes)? {
            Progress::Partial => Ok(false),
            Progress::Complete(end) => {
                self.head_bytes = end;
                self.interpret(bytes, policy)?;
                Ok(true)
            }
        }
    }

    /// The fields in order.
    pub(crate) fn fields(&self) -> &[Field] {
        &self.parser.fields
    }

    /// The path that goes on, as far as no route rewrites it.
    pub(crate) fn path_sent<'h>(&'h self, bytes: &'h [u8]) -> &'h [u8] {
        self.path_sent.of(bytes, &self.scratch)
    }

    /// The query that goes on; `None` where the target has no `?`.
    pub(crate) fn query_sent<'h>(&'h self, bytes: &'h [u8]) -> Option<&'h [u8]> {
        self.query_sent.map(|query| query.of(bytes, &self.scratch))
    }

    fn interpret(&mut self, bytes: &[u8], policy: RequestPolicy) -> Result<(), HeadError> {
        let line = self.parser.start_line();
        let text = line.of(bytes);
        let first = memchr::memchr(b' ', text).ok_or(HeadError::StartLine)?;
        let last = memchr::memrchr(b' ', text).ok_or(HeadError::StartLine)?;
        let method_is_token = text[..first].iter().all(|byte| is_token_byte(*byte));
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
        let target = target::parse(self.method.of(bytes), target_text, policy.path)?;
        self.interpret_target(bytes, &target, policy)?;
        self.interpret_fields(bytes, policy)?;
        self.interpret_host(bytes, &target, policy)?;
        // Who asks a proxy in HTTP/1.0 may mean the connection to the server (RFC 9112 §9.3).
        self.keep_alive &= self.minor_version == 1 || !matches!(target.form, Form::Absolute { .. });
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
        let path = &self.target.of(bytes)[target.path.clone()];
        let scratch_start = self.scratch.len();
        if path.is_empty() && target.form != Form::Authority {
            // Of a server as a whole (RFC 9112 §3.2.4). An edge has none: its routes are of paths.
            let is_of_server = policy.path == PathPolicy::AsWritten
                && target.query.is_none()
                && self.method.of(bytes) == b"OPTIONS";
            self.scratch.push(if is_of_server { b'*' } else { b'/' });
            self.path = Text::Scratch(Span::new(scratch_start, self.scratch.len()));
        } else if target::normalise(path, policy.path, &mut self.scratch)? {
            self.path = Text::Scratch(Span::new(scratch_start, self.scratch.len()));
        } else {
            self.path = Text::Head(Span::new(base + target.path.start, base + target.path.end));
        }
        self.path_sent = self.path;
        let query = target.query.as_ref();
        self.query_sent =
            query.map(|query| Text::Head(Span::new(base + query.start, base + query.end)));
        self.query = self.query_sent.unwrap_or(Text::Head(Span::default()));
        if !self.target.of(bytes).is_ascii() {
            self.encode_target(bytes, policy)?;
        }
        self.merged_path = None;
        if policy.path == PathPolicy::Strict && routes::has_slashes_in_a_row(path) {
            self.merge_slashes(bytes);
        }
        Ok(())
    }

    /// Which listener it is for, and what that wants, is not known yet.
    #[cold]
    fn merge_slashes(&mut self, bytes: &[u8]) {
        let (start, path) = (self.scratch.len(), self.path.of(bytes, &self.scratch).to_vec());
        routes::merge_slashes(&path, &mut self.scratch);
        self.merged_path = Some(Text::Scratch(Span::new(start, self.scratch.len())));
    }

    /// What is beyond ASCII is seen encoded by routes and conditions, and goes on so from an edge: three bytes for one, which
    /// the next hop must not find too long.
    #[cold]
    fn encode_target(&mut self, bytes: &[u8], policy: RequestPolicy) -> Result<(), HeadError> {
        let encoded = |text: Text, scratch: &mut Vec<u8>| {
            let (start, written) = (scratch.len(), text.of(bytes, scratch).to_vec());
            let is_changed = routes::encode_beyond_ascii(&written, scratch);
            if is_changed { Text::Scratch(Span::new(start, scratch.len())) } else { text }
        };
        self.path = encoded(self.path, &mut self.scratch);
        self.query = encoded(self.query, &mut self.scratch);
        if policy.path == PathPolicy::Strict {
            self.path_sent = self.path;
            self.query_sent = self.query_sent.map(|_| self.query);
            let question_mark = usize::from(self.query_sent.is_some());
            let written = [self.path, self.query].map(|text| text.of(bytes, &self.scratch).len());
            if written[0] + question_mark + written[1] > TARGET_BYTES_MAX {
                return Err(HeadError::TargetTooLong);
            }
        }
        Ok(())
    }

    fn interpret_fields(&mut self, bytes: &[u8], policy: RequestPolicy) -> Result<(), HeadError> {
        let parser = &mut self.parser;
        if policy.drop_underscored {
            entrance::drop_underscored(&mut FieldLines { parser, bytes });
        }
        let framing = fields::framing(bytes, parser)?;
        // Older clients know no chunks: what they send in some is somebody else's doing (RFC 9112 §6.1).
        if self.minor_version == 0 && framing == Some(Framing::Chunked) {
            return Err(HeadError::NotChunkedLast);
        }
        if parser.names.contains(Name::Expect) {
            self.interpret_expectation(bytes, policy)?;
        }
        let parser = &mut self.parser;
        self.framing = match framing {
            None | Some(Framing::Length(0)) => Framing::None,
            Some(framing) => framing,
        };
        let options = entrance::drop_hop_by_hop(&mut FieldLines { parser, bytes });
        if options.nominations > NOMINATIONS_MAX {
            return Err(HeadError::Connection);
        }
        self.nominated = options.nominated;
        self.keep_alive = !options.close && (self.minor_version == 1 || options.keep_alive);
        let mut upgrades = parser.fields.iter().filter(|field| field.name == Name::Upgrade);
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
        Ok(())
    }

    /// What an edge cannot promise it refuses. HTTP/1.0 expects nothing (RFC 9110 §10.1.1).
    #[cold]
    fn interpret_expectation(
        &mut self,
        bytes: &[u8],
        policy: RequestPolicy,
    ) -> Result<(), HeadError> {
        let mut lines = FieldLines { parser: &mut self.parser, bytes };
        if self.minor_version == 0 {
            lines.drop_named(Names::of(&[Name::Expect]));
        } else if policy.path == PathPolicy::Strict
            && !lines.kept().all(|field| entrance::is_expected(&field))
        {
            return Err(HeadError::Expect);
        }
        Ok(())
    }

    fn interpret_host(
        &mut self,
        bytes: &[u8],
        target: &target::Target,
        policy: RequestPolicy,
    ) -> Result<(), HeadError> {
        let mut hosts = self.parser.fields.iter().filter(|field| field.name == Name::Host);
        let host = match (hosts.next(), hosts.next()) {
            (Some(only), None) if entrance::is_valid_host(only.value.of(bytes)) => Some(only.value),
            (None, _) if self.minor_version == 0 => None,
            _ => return Err(HeadError::Host),
        };
        let base = self.target.start as usize;
        let from_target = match &target.form {
            Form::Absolute { authority, secure } => {
                let authority = Span::new(base + authority.start, base + authority.end);
                Some((authority, if *secure { 443 } else { 80 }))
            }
            Form::Authority => Some((self.target, 0)),
            Form::Origin | Form::Asterisk => None,
        };
        self.authority = match (from_target, host) {
            (Some((target, default_port)), Some(host)) => {
                let (said, meant) = (host.of(bytes), target.of(bytes));
                // At an edge, two different hosts in one request are an attack or a mistake.
                if policy.path == PathPolicy::Strict
                    && !entrance::is_same_authority(said, meant, default_port)
                {
                    return Err(HeadError::Host);
                }
                // The target wins, and Host is made of it (RFC 9112 §3.2.2): old clients rely on it.
                if policy.path == PathPolicy::AsWritten && said != meant {
                    FieldLines { parser: &mut self.parser, bytes }
                        .drop_named(Names::of(&[Name::Host]));
                }
                target
            }
            (Some((target, _)), None) => target,
            (None, Some(host)) => host,
            (None, None) => Span::default(),
        };
        let (name, _) = entrance::split_port(self.authority.of(bytes));
        let name = entrance::without_root_dot(name);
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
        && protocol.iter().all(|byte| is_token_byte(*byte) || *byte == b'/')
        && !protocol.eq_ignore_ascii_case(b"h2c")
        && !protocol.eq_ignore_ascii_case(b"h2")
}

/// A head with the bytes it was read from: what is decided on.
#[derive(Debug)]
pub(crate) struct Received<'b> {
    lines: FieldLines<'b, 'b>,
    method: &'b str,
    scheme: Option<&'static str>,
    authority: &'b [u8],
    host: &'b str,
    path: &'b str,
    /// The path with one slash for those in a row, where there are any.
    merged_path: Option<(Text, &'b str)>,
    path_sent: &'b mut Text,
    query: &'b str,
    is_judged: bool,
}

impl<'b> Received<'b> {
    /// `head` was read from `bytes`.
    pub(crate) fn new(head: &'b mut RequestHead, bytes: &'b [u8]) -> Self {
        // The parser admitted only ASCII in these parts.
        let text = |bytes: &'b [u8]| match bytes {
            // The usual query.
            [] => "",
            bytes => std::str::from_utf8(bytes).unwrap_or_default(),
        };
        Self {
            method: match head.method.of(bytes) {
                // Nearly all of them.
                b"GET" => "GET",
                b"POST" => "POST",
                method => text(method),
            },
            scheme: match head.form {
                Form::Absolute { secure, .. } => Some(if secure { "https" } else { "http" }),
                Form::Origin | Form::Authority | Form::Asterisk => None,
            },
            authority: head.authority.of(bytes),
            host: text(head.host.of(bytes, &head.scratch)),
            path: text(head.path.of(bytes, &head.scratch)),
            merged_path: head
                .merged_path
                .map(|merged| (merged, text(merged.of(bytes, &head.scratch)))),
            path_sent: &mut head.path_sent,
            query: text(head.query.of(bytes, &head.scratch)),
            lines: FieldLines { parser: &mut head.parser, bytes },
            is_judged: false,
        }
    }
}

impl<'b> Fields<'b> for Received<'b> {
    fn kept(&self) -> impl DoubleEndedIterator<Item = entrance::Field<'b>> + Clone {
        self.lines.kept()
    }

    fn names(&self) -> Names {
        self.lines.names()
    }

    fn drop_where(&mut self, is_dropped: impl FnMut(&entrance::Field<'b>) -> bool) {
        self.lines.drop_where(is_dropped);
    }

    fn values(&self, name: Name) -> impl DoubleEndedIterator<Item = &'b [u8]> + Clone {
        self.lines.values(name)
    }
}

impl<'b> Head<'b> for Received<'b> {
    fn method(&self) -> &str {
        self.method
    }

    fn scheme(&self) -> Option<&'static str> {
        self.scheme
    }

    fn authority(&self) -> &'b [u8] {
        self.authority
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

    fn merge_slashes(&mut self) {
        if let Some((merged, path)) = self.merged_path {
            (*self.path_sent, self.path) = (merged, path);
        }
    }

    fn judge(&mut self) {
        self.is_judged = true;
    }

    fn is_judged(&self) -> bool {
        self.is_judged
    }
}
