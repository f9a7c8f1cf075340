//! A range of ports as the fewest prefixes, because prefixes can be hashed.

use kc_forwarder_api::PortRange;

/// Value and length of one prefix of a 16-bit port.
pub(super) type Prefix = (u16, u8);

/// At most thirty prefixes that cover exactly `range`.
pub(super) fn prefixes(range: PortRange) -> Vec<Prefix> {
    let mut prefixes = Vec::new();
    let (mut first, last) = (u32::from(range.first()), u32::from(range.last()));
    while first <= last {
        // The largest block that starts at `first` and does not reach beyond `last`.
        let aligned = if first == 0 {
            16
        } else {
            first.trailing_zeros().min(16)
        };
        let fitting = (last - first + 1).ilog2();
        let bits = aligned.min(fitting);
        if let (Ok(value), Ok(length)) = (u16::try_from(first), u8::try_from(16 - bits)) {
            prefixes.push((value, length));
        }
        first += 1 << bits;
    }
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(prefixes: &[Prefix], port: u16) -> usize {
        let within =
            |&&(value, length): &&Prefix| length == 0 || (port ^ value) >> (16 - length) == 0;
        prefixes.iter().filter(within).count()
    }

    #[test]
    fn a_range_is_covered_once_and_nothing_else_is() {
        for (first, last) in [
            (0, 65_535),
            (80, 80),
            (1, 65_534),
            (1024, 65_535),
            (8000, 8099),
            (0, 0),
            (65_535, 65_535),
        ] {
            let prefixes = prefixes(PortRange::new(first, last).unwrap());
            assert!(prefixes.len() <= 30, "{first}-{last}: {}", prefixes.len());
            for port in 0..=u16::MAX {
                assert_eq!(
                    covered(&prefixes, port),
                    usize::from(first <= port && port <= last),
                    "{port} in {first}-{last}"
                );
            }
        }
    }
}
