//! Values that only one box may read: sealed by the controller, opened by the agent. The box is
//! NaCl's `crypto_box` over XChaCha20-Poly1305 (X25519 between controller and agent). The value's name
//! is in it, in front of the value, so that no value can be put in another's place.
//!
//! ```text
//!  0       1           9                 41              65
//!  +-------+-----------+-----------------+---------------+----------------------+
//!  | 1     | recipient | sender's key    | nonce         | box                  |
//!  +-------+-----------+-----------------+---------------+----------------------+
//! ```
//!
//! `recipient` is the beginning of the recipient's public key: whoever cannot open a value can say
//! whether it was meant for another key, or damaged.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_box::ChaChaBox;
use crypto_box::aead::Aead as _;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const RECIPIENT: usize = 8;
const KEY: usize = 32;
const NONCE: usize = 24;
/// Octets in front of the box, and in the box beside the value.
const HEAD: usize = 1 + RECIPIENT + KEY + NONCE;
const TAG: usize = 16;

/// Octets that are never shown, and wiped when nobody needs them any more.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(std::sync::Arc<Zeroizing<Vec<u8>>>);

impl Hidden {
    /// Hides `octets`.
    pub fn new(octets: Vec<u8>) -> Self {
        Self(std::sync::Arc::new(Zeroizing::new(octets)))
    }

    /// The octets, for whoever has to write them where they belong.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Text that is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no public key: 32 octets in base64")]
pub struct PublicKeyError(String);

/// What is sealed to this can be opened by one box only. Written in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; KEY]);

impl PublicKey {
    /// The key's octets.
    pub const fn octets(&self) -> &[u8; KEY] {
        &self.0
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;
    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        let octets = STANDARD.decode(text).ok();
        let octets = octets.and_then(|octets| octets.try_into().ok());
        // Zero is the key that everybody has.
        let octets = octets.filter(|octets| *octets != [0; KEY]);
        octets
            .map(Self)
            .ok_or_else(|| PublicKeyError(text.to_owned()))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = PublicKeyError;
    fn try_from(text: String) -> Result<Self, PublicKeyError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&STANDARD.encode(self.0))
    }
}

/// The private half of a key pair.
#[derive(Clone)]
pub struct BoxKey(crypto_box::SecretKey);

impl BoxKey {
    /// The key that these octets are; any 32 that nobody can guess will do.
    pub fn new(octets: [u8; KEY]) -> Self {
        Self(crypto_box::SecretKey::from(octets))
    }

    /// Its octets, for the file it is kept in.
    pub fn octets(&self) -> Zeroizing<[u8; KEY]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.public_key().as_bytes())
    }
}

impl fmt::Debug for BoxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// From one key to another: the costly part of sealing, done once for many values.
pub struct Sealing {
    from: PublicKey,
    to: PublicKey,
    shared: ChaChaBox,
}

impl Sealing {
    /// Between `own` and `to`.
    pub fn new(own: &BoxKey, to: PublicKey) -> Self {
        Self {
            from: own.public(),
            to,
            shared: ChaChaBox::new(&to.0.into(), &own.0),
        }
    }

    /// Seals `value` under `name`. A nonce must never be used for two values.
    pub fn seal(&self, nonce: [u8; NONCE], name: &str, value: &[u8]) -> Sealed {
        let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
        let mut named = Zeroizing::new(length.to_be_bytes().to_vec());
        named.extend_from_slice(name.as_bytes());
        named.extend_from_slice(value);
        let mut octets = vec![VERSION];
        octets.extend_from_slice(&self.to.0[..RECIPIENT]);
        octets.extend_from_slice(&self.from.0);
        octets.extend_from_slice(&nonce);
        // Fails for values of 2^38 octets only, and what is empty opens for nobody.
        let sealed = self.shared.encrypt(&nonce.into(), &named[..]);
        octets.extend(sealed.unwrap_or_default());
        Sealed(STANDARD.encode(octets))
    }
}

/// Why a value cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No base64.
    #[error("the sealed value is no base64 text")]
    Text,
    /// Cut short.
    #[error("the sealed value is cut short: {0} octets")]
    Short(usize),
    /// A later form.
    #[error("the sealed value is of version {0}, which this agent does not know")]
    Version(u8),
    /// Sealed to another key.
    #[error(
        "the value is sealed to another key than this box has now; `kc trust` takes the new one"
    )]
    OtherKey,
    /// Changed on its way, or put in another value's place.
    #[error("the sealed value is damaged, or is not the one of this name")]
    Damaged,
}

/// A sealed value, in base64.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(pub String);

impl Sealed {
    /// Opens it.
    pub fn open(&self, own: &BoxKey, name: &str) -> Result<Hidden, OpenError> {
        let octets = STANDARD.decode(&self.0).map_err(|_| OpenError::Text)?;
        match octets.first() {
            Some(&VERSION) | None => {}
            Some(&version) => return Err(OpenError::Version(version)),
        }
        if octets.len() < HEAD + TAG {
            return Err(OpenError::Short(octets.len()));
        }
        let (head, sealed) = octets.split_at(HEAD);
        let (recipient, rest) = head[1..].split_at(RECIPIENT);
        if *recipient != own.public().0[..RECIPIENT] {
            return Err(OpenError::OtherKey);
        }
        let (from, nonce) = rest.split_at(KEY);
        let from: [u8; KEY] = from.try_into().map_err(|_| OpenError::Damaged)?;
        let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| OpenError::Damaged)?;
        let shared = ChaChaBox::new(&from.into(), &own.0);
        let named = shared.decrypt(&nonce.into(), sealed);
        let named = Zeroizing::new(named.map_err(|_| OpenError::Damaged)?);
        let value = named.split_first_chunk().and_then(|(length, rest)| {
            let (found, value) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
            (found == name.as_bytes()).then_some(value)
        });
        let value = value.ok_or(OpenError::Damaged)?;
        Ok(Hidden::new(value.to_vec()))
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} characters)", self.0.len())
    }
}
