//! A binary logarithm in integers, so that every machine gets the same digits.

/// Fraction bits of the result.
const FRACTION: u32 = 32;
/// Fraction bits that are worked out; the rest are zero.
const DIGITS: u32 = 20;

/// How far `x` lies below 2^64 on a logarithmic scale: `64 - log2(x)`, times 2^32. Zero counts
/// as one.
pub(super) fn below_top(x: u64) -> u64 {
    let x = x.max(1);
    let zeros = x.leading_zeros();
    // The mantissa, from 2^31 up to but not including 2^32.
    let mut mantissa = (x << zeros) >> 32;
    let mut log = u64::from(63 - zeros) << FRACTION;
    for digit in (FRACTION - DIGITS..FRACTION).rev() {
        mantissa = (mantissa * mantissa) >> 31;
        if mantissa >> 32 != 0 {
            mantissa >>= 1;
            log |= 1 << digit;
        }
    }
    (64 << FRACTION) - log
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_exact() {
        for power in 0..64 {
            assert_eq!(below_top(1 << power), (64 - power) << FRACTION);
        }
        assert_eq!(below_top(0), 64 << FRACTION);
    }

    #[test]
    fn it_agrees_with_floating_point_and_never_rises() {
        let mut former = u64::MAX;
        for step in 1..10_000_u64 {
            let x = step << 50 | 0x3_ffff_ffff;
            let exact = (64.0 - (x as f64).log2()) * 2_f64.powi(32);
            let ours = below_top(x);
            assert!((ours as f64 - exact).abs() < 8192.0, "{x:#x}");
            assert!(ours <= former, "{x:#x}");
            former = ours;
        }
    }
}
