//! TLVs octet by octet, as the figures of RFC 9516 have them.

use super::*;

fn emitted(tlv: &Tlv<'_>) -> Vec<u8> {
    let mut octets = vec![0xee; tlv.buffer_len()];
    tlv.emit(&mut octets);
    octets
}

fn all() -> [Tlv<'static>; 10] {
    [
        Tlv::Source {
            address: [192, 0, 2, 1].into(),
            port: 4790,
        },
        Tlv::Source {
            address: "2001:db8::1".parse().unwrap(),
            port: 1,
        },
        Tlv::Errored(&[9, 0, 0, 0]),
        Tlv::ReplyPath {
            spi: Spi::new(0x01_0203).unwrap(),
            si: Si::MAX,
        },
        Tlv::Information {
            si: Si::MAX,
            kind: 0,
            id: ID_NAMES,
            ids: b"fw-1\0fw-2\0\0\0",
        },
        Tlv::Record {
            spi: Spi::new(0x01_0203).unwrap(),
            functions: &[5, 0, 0, 8, 254, 0, 4, 1, 192, 0, 2, 7],
        },
        Tlv::Sff {
            mtu: 1400,
            si: Si::MAX,
            name: b"box-1",
        },
        Tlv::Function {
            state: HealthState::Dead,
            rtt_us: 77,
            name: b"fw",
        },
        Tlv::Padding(8),
        Tlv::Unknown {
            kind: 99,
            value: &[1, 2, 3, 4],
        },
    ]
}

#[test]
fn tlvs_are_those_of_the_figures() {
    let [four, six, errored, path, information, record, ..] = all();
    // Figure 5: Source ID, Reserved1, Length; Port Number, Reserved2; IP Address.
    assert_eq!(emitted(&four), [1, 0, 0, 8, 0x12, 0xb6, 0, 0, 192, 0, 2, 1]);
    let six = emitted(&six);
    assert_eq!(six[..12], [1, 0, 0, 20, 0, 1, 0, 0, 0x20, 1, 0x0d, 0xb8]);
    // Figures 6 and 7: Errored TLVs, Reserved, Length; Sub-TLV Type, Reserved, its Length.
    assert_eq!(emitted(&errored), [2, 0, 0, 4, 9, 0, 0, 0]);
    // Figure 8: Reply SFP, Reserved, Length; Reply SFP Identifier, Service Index.
    assert_eq!(emitted(&path), [3, 0, 0, 4, 1, 2, 3, 255]);
    // Figure 9: SFF Record TLV, Reserved, Length; SPI, Reserved; SF Information Sub-TLV.
    let record = emitted(&record);
    assert_eq!(record[..8], [4, 0, 0, 16, 1, 2, 3, 0]);
    // Figure 10: SF Sub-TLV, Reserved, Length; Service Index, SF Type, SF ID Type; SF
    // Identifier.
    assert_eq!(record[8..], [5, 0, 0, 8, 254, 0, 4, 1, 192, 0, 2, 7]);
    let inside = Tlvs::new(&record[8..]).next().unwrap().unwrap();
    let (si, ids) = (Si::new(254).unwrap(), &[192, 0, 2, 7][..]);
    assert_eq!(
        inside,
        Tlv::Information {
            si,
            kind: 4,
            id: 1,
            ids
        }
    );
    let information = emitted(&information);
    assert_eq!(information[..8], [5, 0, 0, 16, 255, 0, 0, 252]);
    assert_eq!(information[8..], *b"fw-1\0fw-2\0\0\0");
}

#[test]
fn private_tlvs_are_where_this_file_has_them() {
    let [.., sff, function, _, _] = all();
    let sff = emitted(&sff);
    assert_eq!(sff[..8], [252, 0, 0, 12, 5, 0x78, 255, 0]);
    assert_eq!(sff[8..], *b"box-1\0\0\0");
    let function = emitted(&function);
    assert_eq!(
        function,
        [253, 0, 0, 12, 2, 0, 0, 0, 0, 0, 0, 77, b'f', b'w', 0, 0]
    );
}

#[test]
fn all_survive_one_after_the_other() {
    let octets: Vec<u8> = all().iter().flat_map(emitted).collect();
    let read: Result<Vec<_>, _> = Tlvs::new(&octets).collect();
    assert_eq!(read.unwrap(), all());
}

#[test]
fn reserved_octets_of_tlvs_are_ignored() {
    let octets = [1, 0xff, 0, 8, 0x12, 0xb6, 0xff, 0xff, 192, 0, 2, 1];
    let read = Tlvs::new(&octets).next().unwrap();
    assert_eq!(read.unwrap(), all()[0]);
}

#[test]
fn a_walk_over_half_a_tlv_ends_with_an_error() {
    for tlv in all() {
        let octets = emitted(&tlv);
        for length in 1..octets.len() {
            let read: Result<Vec<_>, _> = Tlvs::new(&octets[..length]).collect();
            assert!(read.is_err(), "{tlv:?} cut to {length}");
        }
    }
}

#[test]
fn a_length_that_does_not_fit_its_type_is_refused() {
    for octets in [
        &[1, 0, 0, 4, 0, 0, 0, 0][..],
        &[1, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[3, 0, 0, 0],
        &[3, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0],
        &[4, 0, 0, 0],
        &[5, 0, 0, 0],
        &[99, 0, 0, 3, 0, 0, 0],
        &[252, 0, 0, 1, 0],
        &[253, 0, 0, 4, 0, 0, 0, 0],
    ] {
        let error = Tlvs::new(octets).next().unwrap().unwrap_err();
        let Error::Illegal { header, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(header == SOURCE_ID, octets[0] == 1, "{octets:?}");
    }
}
