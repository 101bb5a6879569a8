//! Looking for bytes that are not zero, with the widest registers that the processor has.

/// Whether all bytes are zero: as fast as they can be read.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    #[inline(always)]
    fn any(bytes: &[u8]) -> bool {
        let mut any = [0u64; 16];
        let (words, rest) = bytes.as_chunks::<8>();
        let (chunks, last) = words.as_chunks::<16>();
        for chunk in chunks {
            any.iter_mut().zip(chunk).for_each(|(any, word)| *any |= u64::from_ne_bytes(*word));
        }
        let any = any.iter().fold(0, |any, word| any | word);
        any != 0 || last.as_flattened().iter().chain(rest).any(|byte| *byte != 0)
    }
    #[target_feature(enable = "avx2")]
    fn any_avx2(bytes: &[u8]) -> bool {
        any(bytes)
    }
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: processor: the processor has AVX2.
        !unsafe { any_avx2(bytes) }
    } else {
        !any(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::is_zero;

    #[test]
    fn a_byte_that_is_not_zero_is_found_wherever_it_is() {
        for len in [0, 1, 7, 8, 127, 128, 129, 300, 4096] {
            let mut bytes = vec![0; len];
            assert!(is_zero(&bytes), "{len}");
            for at in 0..len {
                bytes[at] = 1 << (at % 8);
                assert!(!is_zero(&bytes), "{at} of {len}");
                bytes[at] = 0;
            }
        }
    }
}
