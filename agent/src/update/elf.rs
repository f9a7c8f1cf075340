//! Whether a program was made for this box, by the head of its file (ELF, generic ABI chapter 4).

/// Octets of a file that are looked at.
pub const HEAD: usize = 20;

/// Why a program does not run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// It is no program.
    #[error("it is no ELF program")]
    NotElf,
    /// It was made for other boxes.
    #[error("it is for {theirs}, and this box is {ours}")]
    Machine {
        /// What it is for.
        theirs: String,
        /// What we are.
        ours: String,
    },
}

/// Word size, byte order and machine of an architecture in Rust's terms.
fn machine(arch: &str) -> Option<(u8, u8, u16)> {
    const LITTLE: u8 = 1;
    match arch {
        "x86_64" => Some((2, LITTLE, 62)),
        "aarch64" => Some((2, LITTLE, 183)),
        "arm" => Some((1, LITTLE, 40)),
        _ => None,
    }
}

/// Whether a file with this head runs on `arch`.
///
/// # Errors
/// It is no program, or one for other boxes.
pub fn runs_on(arch: &str, head: &[u8]) -> Result<(), ElfError> {
    let Some(
        &[
            0x7f,
            b'E',
            b'L',
            b'F',
            class,
            order,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            a,
            b,
        ],
    ) = head.first_chunk::<HEAD>()
    else {
        return Err(ElfError::NotElf);
    };
    let number = match order {
        2 => u16::from_be_bytes([a, b]),
        _ => u16::from_le_bytes([a, b]),
    };
    let known = ["x86_64", "aarch64", "arm"];
    let theirs = known
        .iter()
        .find(|arch| machine(arch) == Some((class, order, number)));
    if theirs == Some(&arch) {
        return Ok(());
    }
    let theirs = theirs.map_or_else(|| format!("machine {number}"), |arch| (*arch).to_owned());
    let ours = arch.to_owned();
    Err(ElfError::Machine { theirs, ours })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(class: u8, order: u8, machine: [u8; 2]) -> Vec<u8> {
        let mut head = vec![0x7f, b'E', b'L', b'F', class, order, 1, 0];
        head.resize(HEAD - 2, 0);
        head.extend(machine);
        head
    }

    #[test]
    fn our_own_program_runs_here_and_nowhere_else() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        for arch in ["x86_64", "aarch64", "arm"] {
            let runs = runs_on(arch, &own);
            assert_eq!(runs.is_ok(), arch == std::env::consts::ARCH, "{runs:?}");
        }
    }

    #[test]
    fn what_is_for_other_boxes_is_named() {
        let told = |head: &[u8]| runs_on("x86_64", head).unwrap_err().to_string();
        assert_eq!(
            told(&head(2, 1, [183, 0])),
            "it is for aarch64, and this box is x86_64"
        );
        assert_eq!(
            told(&head(1, 1, [40, 0])),
            "it is for arm, and this box is x86_64"
        );
        assert_eq!(
            told(&head(2, 2, [0, 22])),
            "it is for machine 22, and this box is x86_64"
        );
        // 32-bit code on a 64-bit machine wants other libraries.
        assert!(runs_on("x86_64", &head(1, 1, [62, 0])).is_err());
        for other in [&b"#!/bin/sh\nexit 0    "[..], b"", b"\x7fELF"] {
            assert_eq!(runs_on("x86_64", other), Err(ElfError::NotElf));
        }
    }
}
