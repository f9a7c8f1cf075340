//! Finds a function of the kernel by name in the kernel's own description of itself (BTF,
//! /sys/kernel/btf/vmlinux). Pure.
//!
//! ```text
//! magic:16 | version:8 | flags:8 | hdr_len:32 | type_off:32 | type_len:32 | str_off:32 | str_len:32
//! type: name_off:32 | info:32 (kind 24..28, vlen 0..15) | size_or_type:32 | more, by kind
//! ```
//! All fields are in the machine's byte order.

const MAGIC: u16 = 0xeb9f;

/// BTF_KIND_FUNC.
const FUNCTION: u32 = 12;

/// Octets of a type without what its kind adds.
const TYPE: usize = 12;

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let octets = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(octets.try_into().ok()?))
}

fn size_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32_at(bytes, at)?).ok()
}

/// Octets that a type of `kind` with `count` members has behind its head; `None` for a kind that
/// is not known.
fn more(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        // Integer, variable, declaration tag.
        1 | 14 | 17 => 4,
        // Array.
        3 => 12,
        // Structure, union, data section, 64-bit enumeration.
        4 | 5 | 15 | 19 => 12 * count,
        // Enumeration, prototype.
        6 | 13 => 8 * count,
        // Pointer, forward, typedef, volatile, const, restrict, function, float, type tag.
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

/// The number of the function `name`.
pub(super) fn function(btf: &[u8], name: &str) -> Option<u32> {
    if u16::from_ne_bytes(btf.get(..2)?.try_into().ok()?) != MAGIC {
        return None;
    }
    let body = btf.get(size_at(btf, 4)?..)?;
    let section = |at| {
        let (offset, length) = (size_at(btf, at)?, size_at(btf, at + 4)?);
        body.get(offset..offset.checked_add(length)?)
    };
    let (mut types, strings) = (section(8)?, section(16)?);
    let mut number = 0;
    while !types.is_empty() {
        number += 1;
        let info = u32_at(types, 4)?;
        let (kind, count) = (info >> 24 & 0x1f, usize::try_from(info & 0xffff).ok()?);
        if kind == FUNCTION {
            let text = strings.get(size_at(types, 0)?..)?;
            let rest = text.strip_prefix(name.as_bytes());
            if rest.is_some_and(|rest| rest.starts_with(&[0])) {
                return Some(number);
            }
        }
        types = types.get(TYPE + more(kind, count)?..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An integer, a structure of two members, two functions.
    fn example() -> Vec<u8> {
        let types: [u32; 21] = [
            [0, 1 << 24, 4, 32].as_slice(),
            &[0, 4 << 24 | 2, 8, 0, 1, 0, 0, 1, 32],
            &[1, 12 << 24, 1],
            &[6, 12 << 24 | 1, 1],
            &[0, 0],
        ]
        .concat()
        .try_into()
        .unwrap();
        let strings = b"\0long\0longer\0";
        let length = |bytes: usize| u32::try_from(bytes).unwrap();
        let mut btf = MAGIC.to_ne_bytes().to_vec();
        btf.extend([1, 0]);
        for word in [24, 0, 4 * 19, 4 * 19, length(strings.len())] {
            btf.extend(u32::to_ne_bytes(word));
        }
        types[..19]
            .iter()
            .for_each(|word| btf.extend(word.to_ne_bytes()));
        btf.extend(strings);
        btf
    }

    #[test]
    fn functions_are_numbered_among_all_types() {
        let btf = example();
        assert_eq!(function(&btf, "long"), Some(3));
        assert_eq!(function(&btf, "longer"), Some(4));
        assert_eq!(function(&btf, "lon"), None);
    }

    #[test]
    fn what_was_cut_is_not_found() {
        let btf = example();
        for length in 0..btf.len() {
            assert_eq!(function(&btf[..length], "longer"), None);
        }
    }

    #[test]
    fn this_kernel_knows_a_function_that_every_kernel_has() {
        let Ok(btf) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            eprintln!("skipped: this kernel does not describe itself");
            return;
        };
        assert!(function(&btf, "netif_receive_skb").is_some());
    }
}
