//! Reads one program out of an object file that clang made (ELF64, little-endian): its
//! instructions, and which of them name something that only the loader knows. Pure; what a map or
//! a function of the kernel is, is for the loader.

/// Octets of one instruction.
pub(super) const INSTRUCTION: usize = 8;

/// Section types of ELF.
const SHT_SYMTAB: u32 = 2;
const SHT_REL: u32 = 9;

/// Octets of a section header, a relocation and a symbol.
const SECTION: usize = 64;
const RELOCATION: usize = 16;
const SYMBOL: usize = 24;

/// One program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program<'a> {
    /// Its instructions.
    pub(super) code: &'a [u8],
    /// Places in `code` that wait for a number, and the symbol whose it is.
    pub(super) open: Vec<(usize, &'a str)>,
}

#[derive(Clone, Copy)]
struct Section<'a> {
    name: &'a str,
    kind: u32,
    link: u32,
    info: u32,
    bytes: &'a [u8],
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let octets = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(octets.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let octets = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(octets.try_into().ok()?))
}

fn size_at(bytes: &[u8], at: usize) -> Option<usize> {
    let octets = bytes.get(at..at.checked_add(8)?)?;
    usize::try_from(u64::from_le_bytes(octets.try_into().ok()?)).ok()
}

/// The text at `at`, up to the zero behind it.
fn text_at(strings: &[u8], at: u32) -> Option<&str> {
    let rest = strings.get(usize::try_from(at).ok()?..)?;
    let end = rest.iter().position(|&octet| octet == 0)?;
    std::str::from_utf8(rest.get(..end)?).ok()
}

fn sections(object: &[u8]) -> Option<Vec<Section<'_>>> {
    const ELF64_LITTLE_ENDIAN: &[u8] = b"\x7fELF\x02\x01";
    if !object.starts_with(ELF64_LITTLE_ENDIAN) {
        return None;
    }
    let table = object.get(size_at(object, 0x28)?..)?;
    let (count, strings) = (u16_at(object, 0x3c)?, u16_at(object, 0x3e)?);
    let header = |number: u16| {
        let header = table.get(usize::from(number) * SECTION..)?;
        let (offset, size) = (size_at(header, 0x18)?, size_at(header, 0x20)?);
        let bytes = object.get(offset..offset.checked_add(size)?)?;
        Some((u32_at(header, 0)?, header, bytes))
    };
    let (_, _, strings) = header(strings)?;
    (0..count)
        .map(|number| {
            let (name, header, bytes) = header(number)?;
            Some(Section {
                name: text_at(strings, name)?,
                kind: u32_at(header, 4)?,
                link: u32_at(header, 0x28)?,
                info: u32_at(header, 0x2c)?,
                bytes,
            })
        })
        .collect()
}

/// The program in section `name` of `object`; `None` when there is none, or it is no object.
pub(super) fn program<'a>(object: &'a [u8], name: &str) -> Option<Program<'a>> {
    let sections = sections(object)?;
    let number = sections.iter().position(|section| section.name == name)?;
    let code = sections.get(number)?.bytes;
    let mut open = Vec::new();
    for relocations in sections.iter().filter(|section| section.kind == SHT_REL) {
        if usize::try_from(relocations.info).ok()? != number {
            continue;
        }
        let symbols = sections.get(usize::try_from(relocations.link).ok()?)?;
        let strings = sections.get(usize::try_from(symbols.link).ok()?)?;
        if symbols.kind != SHT_SYMTAB {
            return None;
        }
        for relocation in relocations.bytes.chunks_exact(RELOCATION) {
            let place = size_at(relocation, 0)?;
            let symbol = usize::try_from(u32_at(relocation, 12)?).ok()?;
            let symbol = symbols.bytes.get(symbol.checked_mul(SYMBOL)?..)?;
            open.push((place, text_at(strings.bytes, u32_at(symbol, 0)?)?));
        }
    }
    let whole = code.len().is_multiple_of(INSTRUCTION);
    let inside = |&(place, _): &(usize, &str)| {
        place.is_multiple_of(INSTRUCTION) && place + INSTRUCTION <= code.len()
    };
    (whole && open.iter().all(inside)).then_some(Program { code, open })
}

#[cfg(test)]
mod tests {
    use super::super::program::OBJECT;
    use super::*;

    #[test]
    fn our_object_holds_both_programs_and_they_ask_for_what_the_loader_knows() {
        let plain = program(OBJECT, "xdp/plain").unwrap();
        let asks: Vec<_> = plain.open.iter().map(|(_, symbol)| *symbol).collect();
        assert_eq!(asks, ["sockets"]);
        let tagged = program(OBJECT, "xdp/tagged").unwrap();
        let asks: Vec<_> = tagged.open.iter().map(|(_, symbol)| *symbol).collect();
        assert_eq!(asks, ["bpf_xdp_metadata_rx_vlan_tag", "sockets"]);
        assert_eq!(program(OBJECT, "xdp/other"), None);
    }

    #[test]
    fn the_object_was_made_from_the_source_beside_it() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/bpf");
        let mut command = std::process::Command::new("sha256sum");
        let check = command.args(["--check", "--strict", "SHA256SUMS"]);
        let output = check.current_dir(folder).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "run `make bpf`: {text}");
        assert!(text.contains("xsk.bpf.c: OK") && text.contains("xsk.bpf.o: OK"));
    }

    #[test]
    fn an_object_that_was_cut_is_none() {
        for length in 0..OBJECT.len() - 1 {
            // What is behind the section headers does not matter; nothing in front is missed.
            if let Some(found) = program(&OBJECT[..length], "xdp/plain") {
                assert_eq!(Some(found), program(OBJECT, "xdp/plain"));
            }
        }
        assert_eq!(program(b"no object", "xdp/plain"), None);
    }
}
