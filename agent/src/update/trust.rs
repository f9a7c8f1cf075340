//! Who may update this box: public keys of minisign, one a file, and nobody where there are none.

use super::UpdateError;
use super::error::disk;
use minisign_verify::{Error, PublicKey, Signature, StreamVerifier};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Longest signature and longest key that are looked at.
const LONGEST: usize = 4 << 10;

/// The keys this box trusts.
#[derive(Debug)]
pub struct Trust {
    keys: Vec<(PathBuf, PublicKey)>,
}

/// A signature by one of them, of something that is still to be seen.
pub struct Seal {
    key: PublicKey,
    signature: Signature,
}

impl Trust {
    /// Reads every `*.pub` in `dir`.
    ///
    /// # Errors
    /// There is none, or one that is no key: a box whose owner believes that a key is trusted should
    /// say that it is not.
    pub fn read(dir: &Path) -> Result<Self, UpdateError> {
        let listed = match fs::read_dir(dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(UpdateError::NoKeys(dir.to_owned()));
            }
            listed => listed.map_err(disk("read", dir))?,
        };
        let mut paths: Vec<PathBuf> = listed
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "pub"))
            .collect();
        paths.sort();
        let mut keys = Vec::new();
        for path in paths {
            let text = fs::read_to_string(&path).map_err(disk("read", &path))?;
            match key(&text) {
                Some(key) => keys.push((path, key)),
                None => return Err(UpdateError::BadKey(path)),
            }
        }
        if keys.is_empty() {
            return Err(UpdateError::NoKeys(dir.to_owned()));
        }
        Ok(Self { keys })
    }

    /// Looks who signed, before there is anything to verify.
    ///
    /// # Errors
    /// It is no signature, or by nobody we trust.
    pub fn seal(&self, signature: &str) -> Result<Seal, UpdateError> {
        if signature.len() > LONGEST {
            return Err(UpdateError::BadSignature(Error::InvalidEncoding));
        }
        let signature = Signature::decode(signature).map_err(UpdateError::BadSignature)?;
        for (_, key) in &self.keys {
            match key.verify_stream(&signature).map(drop) {
                Ok(()) => {
                    let key = key.clone();
                    return Ok(Seal { key, signature });
                }
                Err(Error::UnexpectedKeyId) => {}
                Err(error) => return Err(UpdateError::BadSignature(error)),
            }
        }
        let names = self.keys.iter().map(|(path, _)| path.display().to_string());
        Err(UpdateError::Stranger(names.collect::<Vec<_>>().join(", ")))
    }
}

impl Seal {
    /// Verifies octets as they come.
    ///
    /// # Errors
    /// None that [`Trust::seal`] has not found already.
    pub fn verifier(&self) -> Result<StreamVerifier<'_>, UpdateError> {
        let verifier = self.key.verify_stream(&self.signature);
        verifier.map_err(UpdateError::BadSignature)
    }
}

/// The key in a file as minisign writes it, or the line with the key alone.
fn key(text: &str) -> Option<PublicKey> {
    if text.len() > LONGEST {
        return None;
    }
    let decoded = PublicKey::decode(text);
    decoded
        .or_else(|_| PublicKey::from_base64(text.trim()))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use minisign::KeyPair;
    use proptest::prelude::*;

    fn trusting(keys: &[&str]) -> (tempfile::TempDir, Result<Trust, UpdateError>) {
        let dir = tempfile::tempdir().unwrap();
        for (number, key) in keys.iter().enumerate() {
            fs::write(dir.path().join(format!("{number}.pub")), key).unwrap();
        }
        fs::write(dir.path().join("README"), "no key").unwrap();
        let trust = Trust::read(dir.path());
        (dir, trust)
    }

    fn pair() -> (KeyPair, String) {
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        let text = pair.pk.to_box().unwrap().into_string();
        (pair, text)
    }

    fn sign(pair: &KeyPair, octets: &[u8]) -> String {
        minisign::sign(Some(&pair.pk), &pair.sk, octets, None, None)
            .unwrap()
            .into_string()
    }

    fn verify(seal: &Seal, octets: &[u8]) -> bool {
        let mut verifier = seal.verifier().unwrap();
        octets.chunks(7).for_each(|piece| verifier.update(piece));
        verifier.finalize().is_ok()
    }

    #[test]
    fn without_a_key_the_line_says_where_it_belongs() {
        let (dir, trust) = trusting(&[]);
        let told = trust.unwrap_err().to_string();
        assert!(
            told.contains(dir.path().to_str().unwrap()) && told.contains("minisign"),
            "{told}"
        );
        let nowhere = Trust::read(Path::new("/nonexistent/trust.d"));
        assert!(matches!(nowhere, Err(UpdateError::NoKeys(_))));
        let (_dir, trust) = trusting(&["rubbish"]);
        assert!(matches!(trust, Err(UpdateError::BadKey(_))));
    }

    #[test]
    fn any_of_the_keys_will_do_and_a_strangers_will_not() {
        let ((one, one_text), (two, two_text), (stranger, _)) = (pair(), pair(), pair());
        let (_dir, trust) = trusting(&[&one_text, two_text.lines().nth(1).unwrap()]);
        let trust = trust.unwrap();
        for pair in [&one, &two] {
            let seal = trust.seal(&sign(pair, b"octets of an archive")).unwrap();
            assert!(verify(&seal, b"octets of an archive"));
            assert!(!verify(&seal, b"octets of another"));
            assert!(!verify(&seal, b"octets of an archiv"));
        }
        let refused = trust.seal(&sign(&stranger, b"octets")).err();
        assert!(matches!(&refused, Some(UpdateError::Stranger(names)) if names.contains("0.pub")));
    }

    #[test]
    fn a_key_of_the_same_number_is_not_the_same_key() {
        let ((ours, text), (mut other, _)) = (pair(), pair());
        let (_dir, trust) = trusting(&[&text]);
        other.sk = {
            // The number stands in front of the key and proves nothing.
            let mut octets = other.sk.to_bytes();
            let number = ours.sk.to_bytes();
            octets[54..62].copy_from_slice(&number[54..62]);
            minisign::SecretKey::from_bytes(&octets).unwrap()
        };
        let signed = minisign::sign(None, &other.sk, &b"octets"[..], None, None).unwrap();
        let seal = trust.unwrap().seal(&signed.into_string()).unwrap();
        assert!(!verify(&seal, b"octets"));
    }

    proptest! {
        #[test]
        fn a_spoilt_signature_is_refused_and_nothing_panics(at in 0usize..400, flip in 1u8..=255) {
            let (ours, text) = pair();
            let (_dir, trust) = trusting(&[&text]);
            let good = sign(&ours, b"octets");
            let mut bad = good.clone().into_bytes();
            let at = at % bad.len();
            bad[at] ^= flip;
            let bad = String::from_utf8_lossy(&bad).into_owned();
            // Its first line is a comment that nobody vouches for, and white space says nothing.
            let vouched = |text: &str| text.lines().skip(1).map(|line| line.trim().to_owned()).collect::<Vec<_>>();
            prop_assume!(vouched(&bad) != vouched(&good));
            let taken = trust.unwrap().seal(&bad).is_ok_and(|seal| verify(&seal, b"octets"));
            prop_assert!(!taken);
        }
    }
}
