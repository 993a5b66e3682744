//! A response head: what it means.

use routes::entrance::{self, Fields as _, NOMINATIONS_MAX, Name, Names, Nominated};

use super::fields::{self, FieldLines, Framing};
use super::head::{Field, HeadError, HeadParser, Progress, Span, minor_version};
use crate::{h2::grpc, peers::Refused};

/// A response head as offsets into the received bytes. Reused: it keeps its memory between responses.
#[derive(Debug, Default)]
pub(crate) struct ResponseHead {
    parser: HeadParser,
    /// The status code.
    pub(crate) status: u16,
    /// From the status code to the end of the reason.
    pub(crate) status_text: Span,
    /// 0 or 1.
    pub(crate) minor_version: u8,
    /// The server will take more requests on this connection.
    pub(crate) keep_alive: bool,
    /// How long the body is.
    pub(crate) framing: Framing,
    /// The protocol a 101 switches to.
    pub(crate) upgrade: Option<Span>,
    /// What `Connection` names as this hop's alone: a trailer may be one of them.
    pub(crate) nominated: Nominated,
    /// The sidecar of the instance did not hand the request to its application.
    pub(crate) refused: Option<Refused>,
    /// Bytes of the head.
    pub(crate) head_bytes: usize,
}

impl ResponseHead {
    /// Ready for the next response, keeping its memory.
    pub(crate) fn reset(&mut self) {
        self.parser.reset();
        self.upgrade = None;
        self.refused = None;
        self.head_bytes = 0;
    }

    /// Takes in what has been received so far; true when the head is complete and understood.
    pub(crate) fn advance(
        &mut self,
        bytes: &[u8],
        request_was_head: bool,
    ) -> Result<bool, HeadError> {
        match self.parser.advance(bytes)? {
            Progress::Partial => Ok(false),
            Progress::Complete(end) => {
                self.head_bytes = end;
                self.interpret(bytes, request_was_head)?;
                Ok(true)
            }
        }
    }

    /// The fields in order.
    pub(crate) fn fields(&self) -> &[Field] {
        &self.parser.fields
    }

    /// Whether it says when it was made.
    pub(crate) fn has_date(&self) -> bool {
        self.parser.names.contains(Name::Date)
    }

    /// Drops every field called `name`.
    pub(crate) fn drop_named(&mut self, bytes: &[u8], name: &[u8]) {
        for field in &mut self.parser.fields {
            if field.name_of(bytes).eq_ignore_ascii_case(name) {
                field.keep = false;
            }
        }
    }

    fn interpret(&mut self, bytes: &[u8], request_was_head: bool) -> Result<(), HeadError> {
        let line = self.parser.start_line();
        let text = line.of(bytes);
        if line.start > 0 || text.len() < 12 || text[8] != b' ' {
            return Err(HeadError::StartLine);
        }
        self.minor_version = minor_version(&text[..8])?;
        let digits = &text[9..12];
        let separated = text.len() == 12 || text[12] == b' ';
        let printable =
            text[12..].iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
        if !digits.iter().all(u8::is_ascii_digit) || !separated || !printable {
            return Err(HeadError::StartLine);
        }
        self.status = digits.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
        // Beyond 599 nothing is defined, and yet some servers answer so; their clients know why.
        if self.status < 100 {
            return Err(HeadError::StartLine);
        }
        self.status_text = Span::new(9, text.len());
        let parser = &mut self.parser;
        let framing = fields::framing(bytes, parser)?;
        if self.minor_version == 0 && framing == Some(Framing::Chunked) {
            return Err(HeadError::TransferEncoding);
        }
        if parser.names.contains(Name::LanewayRefused) {
            // Between two proxies alone: what an application says of it goes no further.
            let mut fields = FieldLines { parser: &mut *parser, bytes };
            let said = fields.values(Name::LanewayRefused).next();
            let is_grpc = fields.values(Name::ContentType).next().is_some_and(grpc::is_grpc);
            self.refused = said.and_then(|value| Refused::read(self.status, is_grpc, value));
            fields.drop_named(Names::of(&[Name::LanewayRefused]));
        }
        let options = entrance::drop_hop_by_hop(&mut FieldLines { parser, bytes });
        if options.nominations > NOMINATIONS_MAX {
            return Err(HeadError::Connection);
        }
        self.nominated = options.nominated;
        // A 204 never has a body; one that announces it may send it all the same, in front of the next answer.
        let misframed = self.status == 204 && !matches!(framing, None | Some(Framing::Length(0)));
        self.keep_alive =
            !options.close && !misframed && (self.minor_version == 1 || options.keep_alive);
        self.framing = if request_was_head || self.status < 200 || matches!(self.status, 204 | 304)
        {
            Framing::None
        } else {
            match framing {
                None => Framing::UntilClose,
                Some(Framing::Length(0)) => Framing::None,
                Some(framing) => framing,
            }
        };
        if self.status < 200 || self.status == 204 {
            FieldLines { parser, bytes }.drop_named(Names::of(&[Name::ContentLength]));
        }
        let mut upgrades = parser.fields.iter().filter(|field| field.name == Name::Upgrade);
        self.upgrade = match (upgrades.next(), upgrades.next()) {
            (Some(only), None) if options.upgrade => Some(only.value),
            _ => None,
        };
        Ok(())
    }
}
