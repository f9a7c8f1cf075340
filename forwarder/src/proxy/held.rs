//! An NSH set aside.

/// NSH with MD type 1, or MD type 2 with little context.
const INLINE: usize = 24;

/// The octets of one NSH; short ones without memory of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    /// Up to 24 octets.
    Short(u8, [u8; INLINE]),
    /// More.
    Long(Box<[u8]>),
}

impl Held {
    /// Takes a copy of `nsh`.
    pub(crate) fn new(nsh: &[u8]) -> Self {
        let mut short = [0; INLINE];
        match (short.get_mut(..nsh.len()), u8::try_from(nsh.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(nsh);
                Self::Short(len, short)
            }
            _ => Self::Long(nsh.into()),
        }
    }

    /// The NSH.
    pub(crate) fn octets(&self) -> &[u8] {
        match self {
            Self::Short(len, octets) => octets.get(..usize::from(*len)).unwrap_or(octets),
            Self::Long(octets) => octets,
        }
    }

    /// Holds `nsh` instead; memory is taken only when the length changed. Says whether anything
    /// did.
    pub(crate) fn update(&mut self, nsh: &[u8]) -> bool {
        if self.octets() == nsh {
            return false;
        }
        match self {
            Self::Long(octets) if octets.len() == nsh.len() => octets.copy_from_slice(nsh),
            _ => *self = Self::new(nsh),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_is_held_and_replaced() {
        let mut held = Held::new(&[]);
        for len in [8, 24, 25, 252, 252, 24, 8] {
            let nsh: Vec<u8> = (0..len).collect();
            assert!(held.update(&nsh) || len == 252);
            assert_eq!(held.octets(), nsh);
            assert!(!held.update(&nsh));
        }
    }
}
