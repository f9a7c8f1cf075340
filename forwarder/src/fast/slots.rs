//! Open addressing as the kernel's program reads it: a power of two of slots, a key within
//! [`PROBES`] of its home. A slot of zeroes is free.

/// Slots that the program looks at for one key (`PROBES` in `bpf/fast.bpf.c`).
pub(crate) const PROBES: usize = 8;

/// Multipliers of Fibonacci hashing.
const GOLDEN: u32 = 0x9e37_79b9;
const GOLDEN_64: u64 = 0x9e37_79b9_7f4a_7c15;

/// Smallest table: a shift by all bits of a word would be undefined.
const SMALLEST_BITS: u32 = 3;

/// How often a table is doubled for a key that finds no place.
const GROWTH: u32 = 4;

/// Number of bits that say a slot's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bits(u32);

impl Bits {
    /// For `count` keys: at most half of the slots are taken.
    fn for_keys(count: usize) -> Self {
        let slots = (count.max(1) * 2).next_power_of_two();
        Self(slots.trailing_zeros().max(SMALLEST_BITS))
    }

    /// How many slots there are.
    pub(crate) const fn slots(self) -> u32 {
        1 << self.0
    }

    /// To be applied to any place.
    pub(crate) const fn mask(self) -> u32 {
        self.slots() - 1
    }

    /// What [`home`](Self::home) shifts by.
    pub(crate) const fn shift(self) -> u32 {
        32 - self.0
    }

    /// What [`home_of_wide`](Self::home_of_wide) shifts by.
    pub(crate) const fn wide_shift(self) -> u32 {
        64 - self.0
    }

    /// Where a key of 32 bits is looked for first.
    pub(crate) const fn home(self, key: u32) -> u32 {
        key.wrapping_mul(GOLDEN) >> self.shift()
    }

    /// Where a key of 64 bits is looked for first.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "fewer than 32 bits are left"
    )]
    pub(crate) const fn home_of_wide(self, key: u64) -> u32 {
        (key.wrapping_mul(GOLDEN_64) >> self.wide_shift()) as u32
    }
}

/// A table of records of `N` words.
#[derive(Debug, Clone)]
pub(crate) struct Slots<const N: usize> {
    /// All slots, free ones zero.
    pub(crate) words: Vec<[u32; N]>,
    /// Its size.
    pub(crate) bits: Bits,
    /// Records that found no place near their home.
    pub(crate) left_out: usize,
}

impl<const N: usize> Slots<N> {
    /// A table of `records`, which differ in their keys; `home` says where each belongs.
    pub(crate) fn build(records: &[[u32; N]], home: impl Fn(Bits, &[u32; N]) -> u32) -> Self {
        let mut bits = Bits::for_keys(records.len());
        for _ in 0..GROWTH {
            let table = Self::try_build(records, &home, bits);
            if table.left_out == 0 {
                return table;
            }
            bits = Bits(bits.0 + 1);
        }
        Self::try_build(records, &home, bits)
    }

    fn try_build(records: &[[u32; N]], home: impl Fn(Bits, &[u32; N]) -> u32, bits: Bits) -> Self {
        let mut table = Self::empty(bits);
        for record in records {
            if table.place(home(bits, record), *record).is_none() {
                table.left_out += 1;
            }
        }
        table
    }

    fn empty(bits: Bits) -> Self {
        Self {
            words: vec![[0; N]; bits.slots() as usize],
            bits,
            left_out: 0,
        }
    }

    /// An empty table with room to spare for `count` records that come later.
    pub(crate) fn spare(count: usize) -> Self {
        Self::empty(Bits::for_keys(count * 4))
    }

    /// Puts a record into the first free slot from `home` on, and says which.
    pub(crate) fn place(&mut self, home: u32, record: [u32; N]) -> Option<u32> {
        let mut places = (0..)
            .take(PROBES)
            .map(|step| (home + step) & self.bits.mask());
        let place = places.find(|&place| self.words.get(place as usize) == Some(&[0; N]))?;
        if let Some(slot) = self.words.get_mut(place as usize) {
            *slot = record;
        }
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(table: &Slots<2>, key: u32) -> Option<u32> {
        let home = table.bits.home(key);
        (0..8)
            .map(|step| table.words[((home + step) & table.bits.mask()) as usize])
            .take_while(|slot| slot[0] != 0)
            .find(|slot| slot[0] == key)
            .map(|slot| slot[1])
    }

    #[test]
    fn a_hundred_thousand_paths_are_all_found_near_home() {
        for step in [1, 7, 256, 4096] {
            let records: Vec<_> = (1..=100_000).map(|n| [n * step, n]).collect();
            let table = Slots::build(&records, |bits, record| bits.home(record[0]));
            assert_eq!(table.left_out, 0, "step {step}");
            for [key, value] in records {
                assert_eq!(find(&table, key), Some(value));
            }
            assert_eq!(find(&table, 100_001 * step), None);
        }
    }

    #[test]
    fn what_finds_no_place_is_told() {
        let records: Vec<_> = (1..=9).map(|n| [n, n]).collect();
        let table = Slots::build(&records, |_, _| 0);
        assert_eq!(table.left_out, 1);
    }

    #[test]
    fn the_smallest_table_shifts_by_less_than_a_word() {
        let table = Slots::<2>::build(&[], |bits, record| bits.home(record[0]));
        assert_eq!(
            (
                table.bits.slots(),
                table.bits.shift(),
                table.bits.wide_shift()
            ),
            (8, 29, 61)
        );
    }
}
