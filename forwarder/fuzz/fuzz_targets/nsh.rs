//! Any octets as an NSH: what is read is written back, and what setters touch is all that changes.
#![no_main]

use kc_forwarder::wire::nsh::{BASE_LEN, MdType, MetadataRepr, Packet, Repr};
use kc_forwarder_api::{Si, Ttl};
use libfuzzer_sys::fuzz_target;

/// Unassigned bits, which are kept in a view and zero in what is written from nothing.
const UNASSIGNED: [(usize, u8); 2] = [(0, 0x10), (2, 0xf0)];

fuzz_target!(|data: &[u8]| {
    let Ok(packet) = Packet::new_checked(data) else {
        return;
    };
    let repr = Repr::parse(&packet);
    let mut written = vec![0xaa; repr.buffer_len()];
    repr.emit(&mut written);
    let mut expected = packet.header().to_vec();
    for (at, bits) in UNASSIGNED {
        expected[at] &= !bits;
    }
    assert_eq!(written, expected);
    assert_eq!(
        Repr::parse(&Packet::new_checked(&written[..]).unwrap()),
        repr
    );

    let contexts: usize = packet
        .contexts()
        .map(|context| 4 + context.value.len().next_multiple_of(4))
        .sum();
    match (packet.md_type(), repr.metadata) {
        (MdType::One, MetadataRepr::One(_)) => assert_eq!(contexts, 0),
        (MdType::Two, MetadataRepr::Two(_)) => assert_eq!(contexts + BASE_LEN, packet.header_len()),
        other => panic!("{other:?}"),
    }
    for length in 0..packet.header_len() {
        assert!(Packet::new_checked(&data[..length]).is_err());
    }

    let mut changed = data.to_vec();
    let mut view = Packet::new_checked(&mut changed[..]).unwrap();
    view.set_ttl(Ttl::MAX);
    view.set_si(Si::MIN);
    assert_eq!(
        (view.ttl(), view.si(), view.spi()),
        (63, Si::MIN, packet.spi())
    );
    assert_eq!(view.payload(), packet.payload());
});
