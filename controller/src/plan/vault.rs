//! Values of secrets, and the key they are sealed with. Kept with the state and shown nowhere: the file's
//! permissions are what protects them. Pure: sealing needs no chance, because nonces are derived from
//! what is sealed, so that equal documents stay equal.

use crate::resource::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use kc_agent_api::{BoxKey, Hidden, PublicKey, Sealed, Sealing};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Vault {
    /// What everything else is derived from; absent until a controller has drawn it.
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<Kept>,
    /// Values by version.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    values: BTreeMap<String, Kept>,
}

/// A hidden value that is written down, here and nowhere else.
#[derive(Clone, PartialEq, Eq)]
struct Kept(Hidden);

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0.reveal()))
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The decoder's own words would quote what it found.
        let octets = STANDARD.decode(text);
        let octets = octets.map_err(|_| serde::de::Error::custom("a kept value is no base64"))?;
        Ok(Self(Hidden::new(octets)))
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault({} values)", self.values.len())
    }
}

impl Vault {
    /// Gives it a root, 32 octets that nobody can guess, unless it has one.
    pub fn begin(&mut self, root: [u8; 32]) {
        self.root
            .get_or_insert_with(|| Kept(Hidden::new(root.to_vec())));
    }

    /// Whether it has none yet.
    pub fn is_new(&self) -> bool {
        self.root.is_none()
    }

    /// Whether there is nothing to keep.
    pub(super) fn is_unused(&self) -> bool {
        *self == Self::default()
    }

    /// Takes the values out of a secret and leaves their versions.
    pub(super) fn take_up(&mut self, secret: &mut Secret) {
        let name = secret.metadata.name.as_str();
        for (key, entry) in &mut secret.keys {
            let Some(value) = entry.value.take() else {
                continue;
            };
            let parts = [name.as_bytes(), key.as_bytes(), value.reveal()];
            entry.version = self.version(&parts);
            self.values.insert(entry.version.clone(), Kept(value));
        }
    }

    /// Whether there is nothing to forget.
    pub(super) fn holds_only(&self, versions: &BTreeSet<String>) -> bool {
        self.values.keys().all(|version| versions.contains(version))
    }

    /// Forgets what none of `versions` is.
    pub(super) fn retain(&mut self, versions: &BTreeSet<String>) {
        self.values.retain(|version, _| versions.contains(version));
    }

    /// A value.
    pub(crate) fn value(&self, version: &str) -> Option<&Hidden> {
        self.values.get(version).map(|kept| &kept.0)
    }

    /// Tells values apart, and tells nothing else of them.
    pub(crate) fn version(&self, parts: &[&[u8]]) -> String {
        let mac = self.mac(b"version", parts);
        mac.iter()
            .take(16)
            .map(|octet| format!("{octet:02x}"))
            .collect()
    }

    /// Everything that is needed to seal to `to`.
    pub(crate) fn sealing(&self, to: PublicKey) -> Sealing {
        Sealing::new(&BoxKey::new(self.mac(b"box", &[])), to)
    }

    /// Seals a value with `sealing`, which is to `to`. Two values never share a nonce, and equal ones are
    /// sealed alike.
    pub(crate) fn seal(
        &self,
        sealing: &Sealing,
        to: PublicKey,
        name: &str,
        value: &[u8],
    ) -> Sealed {
        let mac = self.mac(b"nonce", &[to.octets(), name.as_bytes(), value]);
        let mut nonce = [0; 24];
        nonce.copy_from_slice(&mac[..24]);
        sealing.seal(nonce, name, value)
    }

    /// HMAC-SHA256 over parts that cannot run into each other.
    fn mac(&self, what: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let root = self.root.as_ref().map_or(&[][..], |root| root.0.reveal());
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(root) else {
            return [0; 32];
        };
        for part in std::iter::once(&what).chain(parts) {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_are_those_of_openssl() {
        // printf '\0\0\0\0\0\0\0\003box' | openssl dgst -sha256 -mac HMAC -macopt hexkey:(32 times 07)
        let mut vault = Vault::default();
        vault.begin([7; 32]);
        let hex: String = vault
            .mac(b"box", &[])
            .iter()
            .map(|o| format!("{o:02x}"))
            .collect();
        assert_eq!(
            hex,
            "9c9424e4d4de4aa1c9456da4eb49ea7ccf6b4bbaa0381ec329b87845715c2716"
        );
    }

    #[test]
    fn equal_values_are_sealed_alike_and_nothing_else_is() {
        let mut vault = Vault::default();
        vault.begin([7; 32]);
        vault.begin([8; 32]);
        let (a, b) = (BoxKey::new([1; 32]), BoxKey::new([2; 32]));
        let seal = |vault: &Vault, key: &BoxKey, name: &str, value: &[u8]| {
            vault.seal(&vault.sealing(key.public()), key.public(), name, value)
        };
        let first = seal(&vault, &a, "db/password", b"swordfish");
        assert_eq!(seal(&vault, &a, "db/password", b"swordfish"), first);
        assert_eq!(
            first.open(&a, "db/password").unwrap().reveal(),
            b"swordfish"
        );
        let mut other = Vault::default();
        other.begin([8; 32]);
        for another in [
            seal(&vault, &a, "db/password", b"swordfisi"),
            seal(&vault, &a, "db/user", b"swordfish"),
            seal(&vault, &b, "db/password", b"swordfish"),
            seal(&other, &a, "db/password", b"swordfish"),
        ] {
            // Not even the nonce.
            assert_ne!(another.0[56..88], first.0[56..88]);
        }
        assert_ne!(vault.version(&[b"a", b"bc"]), vault.version(&[b"ab", b"c"]));
        assert_ne!(vault.version(&[b"a"]), other.version(&[b"a"]));
    }

    #[test]
    fn it_is_written_down_whole_and_shown_not_at_all() {
        let mut vault = Vault::default();
        vault.begin([7; 32]);
        vault
            .values
            .insert("v".into(), Kept(Hidden::new(b"swordfish".to_vec())));
        let text = serde_json::to_string(&vault).unwrap();
        assert_eq!(serde_json::from_str::<Vault>(&text).unwrap(), vault);
        assert_eq!(format!("{vault:?}"), "Vault(1 values)");
        let wrong = text.replace("c3dvcmRmaXNo", "not base64 at all");
        let told = serde_json::from_str::<Vault>(&wrong)
            .unwrap_err()
            .to_string();
        assert!(!told.contains("not base64 at"), "{told}");
    }
}
