//! Sealed values: what comes back, and that nothing else does.

use kc_agent_api::{BoxKey, Hidden, OpenError, PublicKey, PullLogin, Sealed, Sealing};
use proptest::collection::vec;
use proptest::prelude::*;

fn key(octet: u8) -> BoxKey {
    BoxKey::new([octet; 32])
}

fn sealed(value: &[u8]) -> Sealed {
    Sealing::new(&key(1), key(2).public()).seal([7; 24], "db/password", value)
}

/// `sealed` with its octets changed.
fn with(sealed: &Sealed, change: impl FnOnce(&mut Vec<u8>)) -> Sealed {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let mut octets = base64.decode(&sealed.0).unwrap();
    change(&mut octets);
    Sealed(base64.encode(octets))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_sealed_comes_back_and_is_seen_by_nobody(value in vec(any::<u8>(), 0..300)) {
        let sealed = sealed(&value);
        let opened = sealed.open(&key(2), "db/password").unwrap();
        prop_assert_eq!(opened.reveal(), &value[..]);
        prop_assert_eq!(sealed.open(&key(3), "db/password").unwrap_err(), OpenError::OtherKey);
        prop_assert_eq!(sealed.open(&key(2), "db/user").unwrap_err(), OpenError::Damaged);
        let hidden = Hidden::new(value.clone());
        let shown = format!("{hidden:?} {:?} {sealed:?}", key(2));
        prop_assert!(shown.starts_with("*** *** Sealed("), "{}", shown);
    }

    #[test]
    fn a_changed_octet_or_a_cut_is_refused(value in vec(any::<u8>(), 0..40), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let sealed = sealed(&value);
        let flipped = with(&sealed, |octets| {
            let at = at.index(octets.len());
            octets[at] ^= 1_u8 << bit;
        });
        prop_assert!(flipped.open(&key(2), "db/password").is_err());
        let cut = with(&sealed, |octets| octets.truncate(at.index(octets.len())));
        prop_assert!(cut.open(&key(2), "db/password").is_err());
    }

    #[test]
    fn no_text_whatever_opens(text in ".{0,200}") {
        prop_assert!(Sealed(text).open(&key(2), "db/password").is_err());
    }
}

#[test]
fn every_refusal_says_what_is_wrong() {
    let good = sealed(b"swordfish");
    for (wrong, words) in [
        (Sealed("not base64!".into()), "no base64"),
        (with(&good, |octets| octets.truncate(40)), "cut short: 40"),
        (Sealed(String::new()), "cut short: 0"),
        (with(&good, |octets| octets[0] = 9), "version 9"),
        (with(&good, |octets| octets[3] ^= 1), "`kc trust`"),
        (with(&good, |octets| octets[80] ^= 1), "damaged"),
    ] {
        let told = wrong.open(&key(2), "db/password").unwrap_err().to_string();
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn a_public_key_is_32_octets_in_base64_and_not_everybodys() {
    let public = key(2).public();
    assert_eq!(public.to_string().parse(), Ok(public));
    for wrong in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] {
        let told = wrong.parse::<PublicKey>().unwrap_err().to_string();
        assert!(told.contains("32 octets"), "{told}");
    }
}

/// A pair that `openssl genpkey -algorithm X25519` made: keys are those of other implementations.
#[test]
fn openssls_keys_are_ours() {
    let octets = |hex: &str| -> Vec<u8> {
        let pairs = (0..hex.len()).step_by(2);
        pairs
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    };
    let private = octets("704bad03c70a356f8ac1ff806b1f6ac65b58e5e17813c9ef3ff45c0ff1999c50");
    let public = octets("c8864fde93e1b2bf6cbcb4801f087e2f54e516438502f948d90cbbefb7f9ad10");
    let key = BoxKey::new(private.try_into().unwrap());
    assert_eq!(key.public().octets()[..], public[..]);
}

#[test]
fn a_login_shows_nothing() {
    let login = PullLogin {
        username: "me".into(),
        password: "swordfish".into(),
        server: None,
    };
    assert_eq!(format!("{login:?}"), "PullLogin(***)");
}
