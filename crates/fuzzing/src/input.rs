//! What an input is: choices, and a module.
//!
//! ```text
//!   0        32                                  len
//!   | choices | "\0asm..."   a module as it is      |
//!   | choices | anything else: chooses a module     |
//! ```
//!
//! So that modules of test suites can be seeds, and whatever a fuzzer makes of bytes is an input.

use std::borrow::Cow;

/// How many bytes of an input are choices.
pub const CHOICES: usize = 32;

/// An input: [`run`](crate) of an oracle takes it apart with this.
#[derive(Debug)]
pub struct Input<'a> {
    /// Whatever is to be chosen beside the module.
    pub choices: Choices<'a>,
    /// What comes after the choices.
    pub rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Takes an input apart. None if it is too short.
    pub fn new(data: &'a [u8]) -> Option<Input<'a>> {
        let (choices, rest) = data.split_at_checked(CHOICES)?;
        Some(Input { choices: Choices::new(choices), rest })
    }

    /// The module itself, if the input holds one; it may be invalid.
    pub fn given(&self) -> Option<&'a [u8]> {
        self.rest.starts_with(b"\0asm").then_some(self.rest)
    }
}

/// Choices: first those that the input makes, a byte each, so that a fuzzer sees what changes with
/// them; then random ones that depend on all of these.
#[derive(Clone, Debug)]
pub struct Choices<'a> {
    bytes: Cow<'a, [u8]>,
    /// How many of the bytes have been used.
    used: usize,
    state: u64,
}

impl<'a> Choices<'a> {
    /// The choices that these bytes make.
    pub fn new(bytes: &'a [u8]) -> Choices<'a> {
        let state = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        Choices { bytes: Cow::Borrowed(bytes), used: 0, state }
    }

    /// The same choices, for what outlives the input: a store's data, a thread.
    pub fn into_owned(self) -> Choices<'static> {
        Choices { bytes: Cow::Owned(self.bytes.into_owned()), ..self }
    }

    /// A random number.
    pub fn number(&mut self) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below this one, which must not be 0.
    pub fn below(&mut self, end: usize) -> usize {
        let chosen = match self.bytes.get(self.used) {
            Some(&byte) if end <= 256 => {
                self.used += 1;
                u64::from(byte)
            }
            _ => self.number(),
        };
        (chosen % end as u64) as usize
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these, of which there must be one.
    pub fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }
}

/// The bytes of a random input: those that a generator with this seed gives.
pub fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let seed = seed.to_le_bytes();
    let mut choices = Choices::new(&seed);
    let words = (0..len.div_ceil(8)).map(|_| choices.number().to_le_bytes());
    words.flatten().take(len).collect()
}

/// The seeds of a test: so many, from 0 on, or from the number in the environment variable
/// `FUZZING_SEEDS` on.
pub fn seeds(count: u64) -> std::ops::Range<u64> {
    let start = std::env::var("FUZZING_SEEDS").map_or(0, |start| start.parse().expect("a number"));
    start..start + count
}
