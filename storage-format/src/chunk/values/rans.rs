//! Entropy coding of small numbers: tokens by rANS with static tables, the low bits verbatim.
//!
//! Where it sits: under the columns of a group, which share tables. A number below eight is its own
//! token; a larger one is the token of its bit length, followed by its bits below the leading one. Tokens
//! go through range asymmetric numeral systems (Duda, arXiv:1311.2540) with 32-bit states and 16-bit words:
//! the words stand at the end of a stream in reverse, the verbatim bits at its start, so that neither
//! needs a length.

use super::WHAT;
use crate::bytes::{BitReader, BitWriter, SHORT_BITS};
use crate::error::FormatError;

/// Numbers below are tokens of their own.
const DIRECT: usize = 8;
/// All tokens: the direct ones and one for each bit length 4..=64.
pub(super) const TOKENS: usize = DIRECT + 61;
/// Frequencies of a table add up to two to this power.
const SCALE_BITS: u32 = 12;
const SCALE: u32 = 1 << SCALE_BITS;
/// States stay in `LOWEST..2^32` between symbols.
const LOWEST: u32 = 1 << 16;

/// From so many numbers on two states take turns, which a processor can advance at the same time.
const TWO_STATES_FROM: usize = 1 << 10;

/// How often each token occurs.
pub(super) type Counts = [u32; TOKENS];

/// The token of `u`.
#[inline]
pub(super) fn token_of(u: u64) -> usize {
    if u < DIRECT as u64 { u as usize } else { DIRECT - 3 + u.ilog2() as usize }
}

/// Verbatim bits behind a token.
#[inline]
fn extra_of(token: usize) -> u32 {
    if token < DIRECT { 0 } else { (token - DIRECT) as u32 + 3 }
}

/// Counts the tokens of `numbers`.
pub(super) fn count_tokens(numbers: &[u64]) -> Counts {
    let mut counts = [0; TOKENS];
    for u in numbers {
        counts[token_of(*u)] += 1;
    }
    counts
}

/// Bits that numbers with these token counts take beside their tokens.
pub(super) fn extra_bits(counts: &Counts) -> u64 {
    counts.iter().enumerate().map(|(t, n)| u64::from(*n) * u64::from(extra_of(t))).sum()
}

/// Empirical entropy of the token counts in bits.
pub(super) fn entropy_bits(counts: &Counts) -> f64 {
    let total = f64::from(counts.iter().sum::<u32>());
    counts.iter().filter(|n| **n > 0).map(|n| f64::from(*n) * (total / f64::from(*n)).log2()).sum()
}

/// Token frequencies, which add up to `SCALE`. All but the most frequent one are rounded to three
/// significant bits, which the description of a table is kept short by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    frequencies: [u16; TOKENS],
    /// The token whose frequency is what the others leave.
    top: usize,
}

/// `f` with all bits below the third cleared, rounded.
fn rounded(f: u32) -> u32 {
    let keep = f.max(1).ilog2().saturating_sub(2);
    ((f + ((1 << keep) >> 1)) >> keep) << keep
}

impl Table {
    /// The table for `counts`, at least one of which is not zero.
    pub(super) fn of(counts: &Counts) -> Self {
        let total = counts.iter().map(|n| u64::from(*n)).sum::<u64>().max(1);
        let top = (0..TOKENS).max_by_key(|t| counts[*t]).unwrap_or(0);
        let mut frequencies = [0u16; TOKENS];
        // The commonest token takes what the others leave; they leave it something because rounding adds
        // at most an eighth, and when there are too many rare ones they are shrunk until it fits.
        let mut scale = u64::from(SCALE);
        loop {
            let mut others = 0;
            for (token, n) in counts.iter().enumerate().filter(|(t, n)| *t != top && **n > 0) {
                let f = rounded(((u64::from(*n) * scale + total / 2) / total).max(1) as u32);
                frequencies[token] = f as u16;
                others += f;
            }
            if others < SCALE {
                frequencies[top] = (SCALE - others) as u16;
                return Self { frequencies, top };
            }
            scale = scale * 7 / 8;
        }
    }

    /// Bits that each token takes; infinite where the table lacks it.
    pub(super) fn prices(&self) -> [f32; TOKENS] {
        self.frequencies.map(|f| if f == 0 { f32::INFINITY } else { SCALE_BITS as f32 - f32::from(f).log2() })
    }

    /// Appends the description of the table: first and last token, the commonest one, then of each other
    /// token between them its magnitude as a difference to the one before, and two bits below the leading one.
    pub(super) fn describe(&self, bits: &mut BitWriter<'_>) {
        let present = |f: &u16| *f > 0;
        let first = self.frequencies.iter().position(present).unwrap_or(0);
        let last = self.frequencies.iter().rposition(present).unwrap_or(0);
        for token in [first, last, self.top] {
            bits.put(token as u64, 7);
        }
        let mut before = 8;
        for token in (first..=last).filter(|t| *t != self.top) {
            let f = u64::from(self.frequencies[token]);
            let magnitude = 64 - i64::from(f.leading_zeros());
            let difference = crate::bytes::zigzag(magnitude - before);
            bits.put(1 << (difference >> 1), (difference >> 1) as u32 + 1);
            bits.put(difference & 1, 1);
            let below = (magnitude - 1).clamp(0, 2) as u32;
            bits.put(f >> (magnitude - 1 - i64::from(below)).max(0), below);
            before = magnitude;
        }
    }

    /// Reads a description.
    pub(super) fn read(bits: &mut BitReader<'_>) -> Result<Self, FormatError> {
        let malformed = |bits: &BitReader<'_>| FormatError::malformed(WHAT, bits.position() / 8);
        let [first, last, top] = [(); 3].map(|()| bits.get(7) as usize);
        if first > top || top > last || last >= TOKENS {
            return Err(malformed(bits));
        }
        let mut frequencies = [0u16; TOKENS];
        let mut others = 0;
        let mut before = 8;
        for token in (first..=last).filter(|t| *t != top) {
            let mut high = 0;
            while bits.get(1) == 0 {
                high += 1;
                if high > 13 {
                    return Err(malformed(bits));
                }
            }
            let magnitude = before + crate::bytes::unzigzag(high << 1 | bits.get(1));
            if !(0..=i64::from(SCALE_BITS)).contains(&magnitude) {
                return Err(malformed(bits));
            }
            before = magnitude;
            if magnitude > 0 {
                let below = (magnitude - 1).clamp(0, 2) as u32;
                let f = (1 << below | bits.get(below)) << (magnitude - 1 - i64::from(below));
                frequencies[token] = f as u16;
                others += f;
            }
        }
        if others >= u64::from(SCALE) || bits.overrun() {
            return Err(malformed(bits));
        }
        frequencies[top] = (u64::from(SCALE) - others) as u16;
        Ok(Self { frequencies, top })
    }

    fn starts(&self) -> [u16; TOKENS] {
        let mut starts = [0; TOKENS];
        let mut sum = 0u16;
        for (start, f) in starts.iter_mut().zip(&self.frequencies) {
            *start = sum;
            sum = sum.wrapping_add(*f);
        }
        starts
    }
}

/// Appends `numbers`, all of whose tokens `table` has.
pub(super) fn encode(numbers: &[u64], table: &Table, out: &mut Vec<u8>) {
    let mut bits = BitWriter::new(out);
    for u in numbers {
        bits.put(*u, extra_of(token_of(*u)));
    }
    bits.finish();
    let starts = table.starts();
    if table.frequencies.contains(&(SCALE as u16)) {
        return;
    }
    let taking_turns = usize::from(numbers.len() >= TWO_STATES_FROM);
    let mut states = [LOWEST; 2];
    for (i, u) in numbers.iter().enumerate().rev() {
        let state = &mut states[i & taking_turns];
        let token = token_of(*u);
        let f = u32::from(table.frequencies[token]);
        if u64::from(*state) >= u64::from(f) << (32 - SCALE_BITS) {
            out.extend_from_slice(&(*state as u16).to_le_bytes());
            *state >>= 16;
        }
        *state = ((*state / f) << SCALE_BITS) + *state % f + u32::from(starts[token]);
    }
    for state in &states[..=taking_turns] {
        out.extend_from_slice(&state.to_le_bytes());
    }
}

/// What decoding a token needs.
#[derive(Debug, Clone, Copy, Default)]
struct Symbol {
    base: u64,
    extra: u32,
}

/// A table laid out for decoding.
#[derive(Debug, Clone)]
pub(super) struct Decoder {
    tokens: Box<[u8; SCALE as usize]>,
    /// For each slot its token's frequency, and above 16 bits its place among the slots of the token.
    steps: Box<[u32; SCALE as usize]>,
    symbols: [Symbol; TOKENS.next_power_of_two()],
    only: Option<usize>,
    /// Whether some numbers have more verbatim bits than the fast way of reading them allows.
    wide: bool,
}

impl Decoder {
    pub(super) fn new(table: &Table) -> Self {
        let mut tokens = Box::new([0; SCALE as usize]);
        let mut steps = Box::new([0; SCALE as usize]);
        let mut symbols = [Symbol::default(); TOKENS.next_power_of_two()];
        let (mut only, mut wide) = (None, false);
        let mut at = 0;
        for (token, f) in table.frequencies.iter().copied().enumerate() {
            let end = at + usize::from(f);
            tokens[at..end].fill(token as u8);
            let mut place = u32::from(f);
            for step in &mut steps[at..end] {
                *step = place;
                place += 1 << 16;
            }
            let extra = extra_of(token);
            let base = if token < DIRECT { token as u64 } else { 1 << extra };
            symbols[token] = Symbol { base, extra };
            wide |= f > 0 && extra > SHORT_BITS;
            if u32::from(f) == SCALE {
                only = Some(token);
            }
            at = end;
        }
        Self { tokens, steps, symbols, only, wide }
    }

    /// Appends the `count` numbers of a stream to `out`, as the bits of floats, to be mapped in place.
    pub(super) fn decode(&self, stream: &[u8], count: usize, out: &mut Vec<f64>) -> Result<(), FormatError> {
        let mut bits = BitReader::new(stream);
        if let Some(only) = self.only {
            let symbol = self.symbols[only];
            if symbol.extra == 0 {
                out.resize(out.len() + count, f64::from_bits(symbol.base));
            } else {
                out.extend((0..count).map(|_| f64::from_bits(symbol.base | bits.get(symbol.extra))));
            }
            return end_of(&bits, stream.len());
        }
        let mut number = |symbol: Symbol| {
            let below = if self.wide { bits.get(symbol.extra) } else { bits.get_short(symbol.extra) };
            f64::from_bits(symbol.base | below)
        };
        let mut words = Words::new(stream);
        let mut state = words.state();
        if count < TWO_STATES_FROM {
            out.extend((0..count).map(|_| {
                let symbol = self.advance(&mut state, &mut words);
                number(symbol)
            }));
        } else {
            let mut other = state;
            state = words.state();
            out.extend((0..count).map(|_| {
                let symbol = self.advance(&mut state, &mut words);
                std::mem::swap(&mut state, &mut other);
                number(symbol)
            }));
            state = if other == LOWEST { state } else { 0 };
        }
        // A damaged stream ends in another state than encoding began with, all but certainly.
        if state != LOWEST {
            return Err(FormatError::malformed(WHAT, words.at));
        }
        end_of(&bits, words.at)
    }

    /// Reads one token off `state`.
    #[inline(always)]
    fn advance(&self, state: &mut u32, words: &mut Words<'_>) -> Symbol {
        let slot = *state & (SCALE - 1);
        let token = usize::from(self.tokens[slot as usize]) & (TOKENS.next_power_of_two() - 1);
        let step = self.steps[slot as usize];
        let next = (step & 0xffff).wrapping_mul(*state >> SCALE_BITS).wrapping_add(step >> 16);
        // Whether a word is due is a coin toss, so both outcomes are computed.
        let due = next < LOWEST;
        let refilled = next << 16 | words.peek();
        *state = if due { refilled } else { next };
        words.at = words.at.saturating_sub(2 * usize::from(due));
        self.symbols[token]
    }
}

/// The words of a stream, read from its end; zeros where there are none left.
struct Words<'a> {
    stream: &'a [u8],
    /// Bytes not read yet.
    at: usize,
}

impl<'a> Words<'a> {
    fn new(stream: &'a [u8]) -> Self {
        Self { stream, at: stream.len() }
    }
    #[inline(always)]
    fn peek(&self) -> u32 {
        let word = self.stream.get(self.at.wrapping_sub(2)..self.at);
        word.map_or(0, |w| u32::from(w[0]) | u32::from(w[1]) << 8)
    }
    fn state(&mut self) -> u32 {
        let Some((_, state)) = self.stream[..self.at].split_last_chunk() else { return 0 };
        self.at -= 4;
        u32::from_le_bytes(*state)
    }
}

fn end_of(bits: &BitReader<'_>, len: usize) -> Result<(), FormatError> {
    if bits.position().div_ceil(8) == len { Ok(()) } else { Err(FormatError::malformed(WHAT, len)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(numbers: &[u64], table: &Table) -> usize {
        let mut description = Vec::new();
        let mut bits = BitWriter::new(&mut description);
        table.describe(&mut bits);
        bits.finish();
        let read = Table::read(&mut BitReader::new(&description)).unwrap();
        assert_eq!(&read, table);
        let mut stream = Vec::new();
        encode(numbers, table, &mut stream);
        let mut out = Vec::new();
        Decoder::new(&read).decode(&stream, numbers.len(), &mut out).unwrap();
        assert!(out.iter().map(|v| v.to_bits()).eq(numbers.iter().copied()));
        stream.len()
    }

    #[test]
    fn streams_come_near_their_entropy() {
        let numbers: Vec<u64> =
            (0..4000u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40 & 7 & i >> 3).collect();
        let counts = count_tokens(&numbers);
        let len = round_trip(&numbers, &Table::of(&counts)) as f64 * 8.0;
        assert!(len < entropy_bits(&counts) * 1.01 + 40.0, "{len} {}", entropy_bits(&counts));
        assert_eq!(round_trip(&[0; 1000], &Table::of(&count_tokens(&[0]))), 0);
    }

    #[test]
    fn long_streams_have_two_states() {
        for len in [TWO_STATES_FROM - 1, TWO_STATES_FROM, TWO_STATES_FROM + 1] {
            let numbers: Vec<u64> =
                (0..len as u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (i % 64)).collect();
            round_trip(&numbers, &Table::of(&count_tokens(&numbers)));
        }
    }

    #[test]
    fn damaged_streams_are_refused_or_bounded() {
        let numbers: Vec<u64> = (0..50).map(|i| i * i).collect();
        let table = Table::of(&count_tokens(&numbers));
        let mut stream = Vec::new();
        encode(&numbers, &table, &mut stream);
        let decoder = Decoder::new(&table);
        crate::chunk::hostile::each_damage(&stream, |bytes| {
            let mut out = Vec::new();
            let _ = decoder.decode(bytes, numbers.len(), &mut out);
            assert!(out.len() <= numbers.len());
        });
    }

    proptest! {
        #[test]
        fn any_numbers_survive(numbers in prop::collection::vec((any::<u64>(), 0u32..64), 1..300)) {
            let numbers: Vec<u64> = numbers.into_iter().map(|(u, shift)| u >> shift).collect();
            round_trip(&numbers, &Table::of(&count_tokens(&numbers)));
        }
        #[test]
        fn any_description_is_a_table_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(table) = Table::read(&mut BitReader::new(&bytes)) {
                prop_assert_eq!(table.frequencies.iter().map(|f| u32::from(*f)).sum::<u32>(), SCALE);
            }
        }
    }
}
