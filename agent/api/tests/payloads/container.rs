//! Arbitrary processes and storage of containers.

use super::strategies::text;
use kc_agent_api::{Device, PullSecret, Sealed, SecretFile, Tmpfs, Volume};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Words = BTreeMap<String, String>;

/// Directory, user and host name; groups; whether the root is read-only; labels and sysctls.
pub(crate) fn process()
-> impl Strategy<Value = ([Option<String>; 3], Vec<String>, bool, [Words; 2])> {
    let words = [(); 3].map(|()| option::of(text()));
    let maps = [(); 2].map(|()| btree_map(text(), text(), 0..2));
    (words, vec(text(), 0..2), any::<bool>(), maps)
}

/// Secret files, who pulls, and what has to be ready first.
pub(crate) fn secrets() -> impl Strategy<Value = (Vec<SecretFile>, Option<PullSecret>, Vec<String>)>
{
    let file = (text(), text(), any::<u16>(), text(), text()).prop_map(
        |(name, path, mode, version, sealed)| SecretFile {
            name,
            path,
            mode,
            version,
            sealed: Sealed(sealed),
        },
    );
    let pull = (text(), text(), text()).prop_map(|(name, version, sealed)| PullSecret {
        name,
        version,
        sealed: Sealed(sealed),
    });
    (vec(file, 0..2), option::of(pull), vec(text(), 0..2))
}

pub(crate) fn storage() -> impl Strategy<Value = (Vec<Tmpfs>, Vec<Volume>, Vec<Device>)> {
    let tmpfs = (text(), option::of(any::<u64>()))
        .prop_map(|(target, size_bytes)| Tmpfs { target, size_bytes });
    let volume = (text(), text(), any::<bool>()).prop_map(|(name, target, read_only)| Volume {
        name,
        target,
        read_only,
    });
    let device = (text(), text(), text()).prop_map(|(source, target, permissions)| Device {
        source,
        target,
        permissions,
    });
    (vec(tmpfs, 0..2), vec(volume, 0..2), vec(device, 0..2))
}
