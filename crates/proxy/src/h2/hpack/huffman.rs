//! The Huffman code of field values (RFC 7541 Appendix B). The code is canonical, so that the lengths alone say all of
//! it; what decodes it is built from them when this is compiled.

/// Bits of every byte's code.
#[rustfmt::skip]
const CODE_BITS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    END_BITS,
];

/// All bytes, and the end.
const SYMBOLS: usize = 257;

/// What no text may hold: its beginning, all ones, fills the last byte.
const END: usize = 256;
const END_BITS: u8 = 30;

/// Inner nodes of the tree of codes: one less than it has leaves.
const NODES: usize = SYMBOLS - 1;

/// Bits of the last byte that belong to no symbol.
const PADDING_BITS_MAX: usize = 7;

/// What half a byte leads to from one node.
#[derive(Debug, Clone, Copy)]
struct Step {
    next: u8,
    /// No code is shorter than half a byte, so that there is one symbol at most.
    symbol: u8,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inner,
    Symbol,
    /// The end within a text.
    Wrong,
}

/// Where half a byte leads to, for every node.
static STEPS: [[Step; 16]; NODES] = steps(&tree());

/// The nodes at which a text may end: what was read of a code is ones, and not many.
static MAY_END: [bool; NODES] = may_end(&tree());

/// No text of this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrong;

/// Appends the text that `coded` means.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), Wrong> {
    let mut node = 0;
    for byte in coded {
        for half in [byte >> 4, byte & 0xf] {
            let step = STEPS[usize::from(node)][usize::from(half)];
            match step.kind {
                Kind::Inner => {}
                Kind::Symbol => out.push(step.symbol),
                Kind::Wrong => return Err(Wrong),
            }
            node = step.next;
        }
    }
    if MAY_END[usize::from(node)] { Ok(()) } else { Err(Wrong) }
}

/// An edge of the tree: to another node, or to a symbol.
#[derive(Debug, Clone, Copy)]
enum Edge {
    None,
    Node(u8),
    Symbol(u16),
}

type Tree = [[Edge; 2]; NODES];

/// The codes in order: by length, then by symbol.
const fn tree() -> Tree {
    let mut tree = [[Edge::None; 2]; NODES];
    let mut nodes = 1;
    let (mut code, mut bits) = (0_u32, 1);
    while bits <= END_BITS {
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if CODE_BITS[symbol] == bits {
                nodes = plant(&mut tree, nodes, code, bits, symbol as u16);
                code += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        bits += 1;
    }
    assert!(nodes == NODES, "the lengths make one whole tree");
    tree
}

/// Adds a code. How many nodes there are then.
const fn plant(tree: &mut Tree, mut nodes: usize, code: u32, bits: u8, symbol: u16) -> usize {
    let mut node = 0;
    let mut left = bits;
    while left > 1 {
        left -= 1;
        let bit = (code >> left & 1) as usize;
        node = match tree[node][bit] {
            Edge::Node(next) => next as usize,
            Edge::None => {
                tree[node][bit] = Edge::Node(nodes as u8);
                nodes += 1;
                nodes - 1
            }
            Edge::Symbol(_) => panic!("no code begins with another"),
        };
    }
    tree[node][(code & 1) as usize] = Edge::Symbol(symbol);
    nodes
}

const fn steps(tree: &Tree) -> [[Step; 16]; NODES] {
    let mut steps = [[Step { next: 0, symbol: 0, kind: Kind::Inner }; 16]; NODES];
    let mut node = 0;
    while node < NODES {
        let mut half = 0;
        while half < 16 {
            steps[node][half] = walk(tree, node, half);
            half += 1;
        }
        node += 1;
    }
    steps
}

const fn walk(tree: &Tree, start: usize, half: usize) -> Step {
    let mut step = Step { next: start as u8, symbol: 0, kind: Kind::Inner };
    let mut left = 4;
    while left > 0 {
        left -= 1;
        match tree[step.next as usize][half >> left & 1] {
            Edge::Node(next) => step.next = next,
            Edge::Symbol(symbol) if symbol as usize != END => {
                step.next = 0;
                step.symbol = symbol as u8;
                step.kind = Kind::Symbol;
            }
            Edge::Symbol(_) | Edge::None => {
                step.kind = Kind::Wrong;
                left = 0;
            }
        }
    }
    step
}

const fn may_end(tree: &Tree) -> [bool; NODES] {
    let mut may_end = [false; NODES];
    let (mut node, mut ones) = (0, 0);
    while ones <= PADDING_BITS_MAX {
        may_end[node] = true;
        node = match tree[node][1] {
            Edge::Node(next) => next as usize,
            Edge::Symbol(_) | Edge::None => panic!("the end's code is longer than the padding"),
        };
        ones += 1;
    }
    may_end
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every symbol's code, by the rule of canonical codes.
    fn codes() -> Vec<(u32, u8)> {
        let mut by_length: Vec<usize> = (0..SYMBOLS).collect();
        by_length.sort_by_key(|symbol| (CODE_BITS[*symbol], *symbol));
        let mut codes = vec![(0, 0); SYMBOLS];
        let (mut code, mut bits) = (0_u32, 0);
        for symbol in by_length {
            code <<= CODE_BITS[symbol] - bits;
            bits = CODE_BITS[symbol];
            codes[symbol] = (code, bits);
            code += 1;
        }
        codes
    }

    pub(super) fn encode(text: &[u8]) -> Vec<u8> {
        let codes = codes();
        let mut bits = String::new();
        for byte in text {
            let (code, length) = codes[usize::from(*byte)];
            bits.push_str(&format!("{code:0length$b}", length = usize::from(length)));
        }
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        bits.as_bytes()
            .chunks(8)
            .map(|eight| u8::from_str_radix(std::str::from_utf8(eight).unwrap(), 2).unwrap())
            .collect()
    }

    #[test]
    fn the_standards_examples_are_read() {
        // RFC 7541 Appendix C.4 and C.6.
        for (coded, text) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("25a849e95bb8e8b4bf", "custom-value"),
            ("6402", "302"),
            ("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("9bd9ab", "gzip"),
            (
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            ),
        ] {
            let bytes: Vec<u8> = (0..coded.len() / 2)
                .map(|at| u8::from_str_radix(&coded[at * 2..at * 2 + 2], 16).unwrap())
                .collect();
            let mut out = Vec::new();
            decode(&bytes, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn every_byte_is_read_back_wherever_it_stands() {
        for first in 0..=255_u8 {
            for second in [0, b'a', b'0', b'z', 0x7f, 255, first] {
                let text = [first, second, first];
                let mut out = Vec::new();
                decode(&encode(&text), &mut out).unwrap();
                assert_eq!(out, text);
            }
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let decoded = |coded: &[u8]| decode(coded, &mut Vec::new());
        // The end itself, a byte of padding too many, padding of zeros.
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(Wrong));
        assert_eq!(decoded(&[0x1f, 0xff]), Err(Wrong));
        assert_eq!(decoded(&[0x18]), Err(Wrong));
        assert_eq!(decoded(&[0x1f]), Ok(()));
        assert_eq!(decoded(&[]), Ok(()));
    }
}
