//! Fields of a head, however a codec holds them, and which of them are for one hop alone.

use smallvec::SmallVec;

use super::{
    NOMINATIONS_MAX,
    name::{Name, Names},
};

/// One field that is still there. Its text outlives the list it is in, so that fields can be read while others go.
#[derive(Debug, Clone, Copy)]
pub struct Field<'b> {
    /// Which name.
    pub name: Name,
    /// The name as sent.
    pub written: &'b [u8],
    /// The value without surrounding white space.
    pub value: &'b [u8],
}

/// The fields of one head in order. Codecs hold them as they like; what is dropped is neither seen nor sent on.
pub trait Fields<'b> {
    /// Those that were not dropped.
    fn kept(&self) -> impl DoubleEndedIterator<Item = Field<'b>> + Clone;

    /// Drops those that `is_dropped`.
    fn drop_where(&mut self, is_dropped: impl FnMut(&Field<'b>) -> bool);

    /// No field that was not dropped has a name that is not among these. A codec that has them at hand saves looking for
    /// what is not there.
    fn names(&self) -> Names {
        self.kept().fold(Names::default(), |names, field| names.with(field.name))
    }

    /// Drops those with one of these names.
    fn drop_named(&mut self, names: Names) {
        if self.names().meets(names) {
            self.drop_where(|field| names.contains(field.name));
        }
    }

    /// Values of the fields with a known name.
    fn values(&self, name: Name) -> impl DoubleEndedIterator<Item = &'b [u8]> + Clone {
        self.kept().filter(move |field| field.name == name).map(|field| field.value)
    }
}

impl<'b> Field<'b> {
    /// A field that nobody has parsed yet.
    pub(super) fn new(name: &'b str, value: &'b [u8]) -> Self {
        Self {
            name: Name::of(name.as_bytes()),
            written: name.as_bytes(),
            value: value.trim_ascii(),
        }
    }

    /// Whether it is called `name`, in any case.
    pub fn is_named(&self, name: &str) -> bool {
        self.written.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// What `Connection` asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectionOptions {
    /// No more messages on this connection.
    pub close: bool,
    /// More messages, also in HTTP/1.0.
    pub keep_alive: bool,
    /// Another protocol.
    pub upgrade: bool,
    /// Fields named as this hop's alone; above [`NOMINATIONS_MAX`] no more are dropped.
    pub nominations: usize,
    /// The same, to be known again.
    pub nominated: Nominated,
}

/// Names that `Connection` names as this hop's alone, to be known again when trailers come: the head they are in is gone
/// by then. A few by their hashes; where there are more, no trailer is another hop's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Nominated {
    hashes: [u32; Self::KNOWN_MAX],
    count: usize,
}

impl Nominated {
    /// Clients name none or one.
    const KNOWN_MAX: usize = 4;

    fn add(&mut self, name: &[u8]) {
        if let Some(hash) = self.hashes.get_mut(self.count) {
            *hash = Self::hash(name);
        }
        self.count += 1;
    }

    /// Whether a field of this name is for one hop.
    pub fn has(&self, name: &[u8]) -> bool {
        match self.hashes.get(..self.count) {
            Some(hashes) => !hashes.is_empty() && hashes.contains(&Self::hash(name)),
            None => true,
        }
    }

    /// FNV-1a of the name in lower case. Who finds two names that meet has its own trailer left out.
    fn hash(name: &[u8]) -> u32 {
        let step = |hash: u32, byte: &u8| {
            (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193)
        };
        name.iter().fold(0x811c_9dc5, step)
    }
}

/// Reads `Connection` and drops what is meant for this hop alone, nominated fields included.
pub fn drop_hop_by_hop<'b>(fields: &mut impl Fields<'b>) -> ConnectionOptions {
    let mut options = ConnectionOptions::default();
    if !fields.names().meets(Names::HOP_BY_HOP) {
        return options;
    }
    let mut said: SmallVec<[&'b [u8]; 2]> = SmallVec::new();
    fields.drop_where(|field| {
        if field.name == Name::Connection {
            said.push(field.value);
        }
        Names::HOP_BY_HOP.contains(field.name)
    });
    for token in said.iter().flat_map(|value| value.split(|byte| *byte == b',')) {
        let token = token.trim_ascii();
        if token.eq_ignore_ascii_case(b"keep-alive") {
            options.keep_alive = true;
        } else if token.eq_ignore_ascii_case(b"upgrade") {
            options.upgrade = true;
        } else if !token.is_empty() && Name::of(token).may_be_nominated() {
            // An option, and as every option the name of fields that go no further (RFC 9110 §7.6.1). Said again it is no more
            // work; of others a few are too many.
            let is_close = token.eq_ignore_ascii_case(b"close");
            if is_close && std::mem::replace(&mut options.close, true) {
                continue;
            }
            options.nominated.add(token);
            options.nominations += usize::from(!is_close);
            if options.nominations > NOMINATIONS_MAX {
                break;
            }
            fields.drop_where(|field| {
                field.name == Name::Other && field.written.eq_ignore_ascii_case(token)
            });
        }
    }
    options
}

/// Whether a field expects nothing, or what every server understands (RFC 9110 §10.1.1).
pub fn is_expected(field: &Field<'_>) -> bool {
    field.name != Name::Expect || field.value.eq_ignore_ascii_case(b"100-continue")
}

/// Drops fields with `_` in the name: CGI-like applications cannot tell them from those with `-`.
pub fn drop_underscored<'b>(fields: &mut impl Fields<'b>) {
    fields.drop_where(is_underscored);
}

pub(super) fn is_underscored(field: &Field<'_>) -> bool {
    Names::FAMILIES.contains(field.name) && has_underscore(field.written)
}

/// Eight bytes at a time: names are too short for a search that prepares itself.
fn has_underscore(name: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    let is_among = |eight: &[u8; 8]| {
        let others = u64::from_le_bytes(*eight) ^ (ONES * b'_' as u64);
        others.wrapping_sub(ONES) & !others & (ONES * 0x80) != 0
    };
    let (eights, rest) = name.as_chunks::<8>();
    eights.iter().any(is_among) || rest.contains(&b'_')
}

#[cfg(test)]
mod tests {
    use super::{
        Field, Fields, NOMINATIONS_MAX, Nominated, drop_hop_by_hop, has_underscore, is_underscored,
    };

    #[test]
    fn what_is_nominated_is_known_again_and_of_many_all_is() {
        let mut nominated = Nominated::default();
        assert!(!nominated.has(b"x-a"));
        for (name, other) in [(b"x-a", b"x-b"), (b"x-b", b"x-c"), (b"x-c", b"x-d")] {
            nominated.add(name);
            assert!(nominated.has(b"X-A") && nominated.has(name) && !nominated.has(other));
        }
        nominated.add(b"x-e");
        assert!(!nominated.has(b"x-f"));
        nominated.add(b"x-g");
        assert!(nominated.has(b"x-f"));
    }

    /// Fields that count how often they are looked through to drop some.
    struct Counting<'b> {
        fields: Vec<Field<'b>>,
        looked: usize,
    }

    impl<'b> Fields<'b> for Counting<'b> {
        fn kept(&self) -> impl DoubleEndedIterator<Item = Field<'b>> + Clone {
            self.fields.iter().copied()
        }

        fn drop_where(&mut self, mut is_dropped: impl FnMut(&Field<'b>) -> bool) {
            self.looked += 1;
            self.fields.retain(|field| !is_dropped(field));
        }
    }

    #[test]
    fn what_connection_says_again_and_again_is_no_more_work() {
        let value = "close,".repeat(10_000) + &"x-a,".repeat(10_000);
        let fields = [("connection", value.as_str()), ("close", "x"), ("x-b", "kept")];
        let fields = fields.map(|(name, value)| Field::new(name, value.as_bytes())).to_vec();
        let mut fields = Counting { fields, looked: 0 };
        let options = drop_hop_by_hop(&mut fields);
        assert!(options.close && options.nominations == NOMINATIONS_MAX + 1);
        assert!(fields.looked <= NOMINATIONS_MAX + 2, "{} times", fields.looked);
        assert_eq!(fields.kept().map(|it| it.written).collect::<Vec<_>>(), [b"x-b"]);
    }

    #[test]
    fn a_name_of_a_known_family_may_hold_an_underscore() {
        for (name, expected) in [
            ("x-forwarded-client_cert", true),
            ("x-b3-trace_id", true),
            ("user_id", true),
            ("x-forwarded-for", false),
            ("x-forwarded-client-cert", false),
            ("b3", false),
        ] {
            assert_eq!(is_underscored(&Field::new(name, b"")), expected, "{name}");
        }
    }

    #[test]
    fn an_underscore_is_found_wherever_it_is() {
        for length in 0..20 {
            for other in [b'a', b'-', b'^', b'`', b'~'] {
                let mut name = vec![other; length];
                assert!(!has_underscore(&name), "{name:?}");
                for at in 0..length {
                    name[at] = b'_';
                    assert!(has_underscore(&name), "{name:?}");
                    name[at] = other;
                }
            }
        }
    }
}
