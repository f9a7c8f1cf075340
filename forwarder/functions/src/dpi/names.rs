//! Protocols by name, host names, and what is blocked.

use crate::nearest::nearest;
use serde::Serialize;
use std::collections::BTreeMap;
use std::str::FromStr;

/// What a flow speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// HTTP/1 and cleartext HTTP/2.
    Http,
    /// TLS.
    Tls,
    /// DNS over UDP or TCP, and multicast DNS.
    Dns,
    /// Secure Shell.
    Ssh,
    /// MQTT.
    Mqtt,
    /// QUIC.
    Quic,
    /// ICMP and ICMPv6.
    Icmp,
    /// ARP.
    Arp,
    /// Anything else, and what is not decided yet.
    Unknown,
}

impl Protocol {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Http, "http"),
        (Self::Tls, "tls"),
        (Self::Dns, "dns"),
        (Self::Ssh, "ssh"),
        (Self::Mqtt, "mqtt"),
        (Self::Quic, "quic"),
        (Self::Icmp, "icmp"),
        (Self::Arp, "arp"),
        (Self::Unknown, "unknown"),
    ];
}

/// One thing to block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// Everything that speaks it.
    Protocol(Protocol),
    /// A host name and all below it, in lower case.
    Host(String),
}

/// Text that is neither a protocol nor a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is neither a protocol ({protocols}) nor a host name with a dot{hint}", protocols = protocols(), hint = hint(.meant))]
pub struct BlockError {
    /// The refused text.
    pub text: String,
    /// The protocol that was probably meant.
    pub meant: Option<&'static str>,
}

fn protocols() -> String {
    Protocol::ALL.map(|(_, word)| word).join(", ")
}

fn hint(meant: &Option<&'static str>) -> String {
    meant.map_or(String::new(), |meant| format!("; did you mean {meant:?}?"))
}

impl FromStr for Block {
    type Err = BlockError;

    fn from_str(text: &str) -> Result<Self, BlockError> {
        let lower = text.to_ascii_lowercase();
        if let Some((protocol, _)) = Protocol::ALL.iter().find(|(_, word)| *word == lower) {
            return Ok(Self::Protocol(*protocol));
        }
        let bare = lower.strip_prefix("*.").unwrap_or(&lower);
        match host_name(bare.trim_start_matches('.').as_bytes()) {
            Some(host) if host.contains('.') => Ok(Self::Host(host)),
            _ => Err(BlockError {
                text: text.to_owned(),
                meant: nearest(text, &Protocol::ALL.map(|(_, word)| word)),
            }),
        }
    }
}

impl Block {
    /// Whether this blocks a flow of `protocol` towards `name`.
    pub(super) fn covers(&self, protocol: Protocol, name: Option<&str>) -> bool {
        match self {
            Self::Protocol(blocked) => *blocked == protocol,
            Self::Host(suffix) => name.is_some_and(|name| {
                let above = name.strip_suffix(suffix.as_str());
                above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }),
        }
    }
}

/// Longest name (RFC 1035 section 2.3.4).
const LONGEST: usize = 253;

/// `octets` as a host name in lower case without a final dot; `None` when they are none.
pub(super) fn host_name(octets: &[u8]) -> Option<String> {
    let octets = octets.strip_suffix(b".").unwrap_or(octets);
    let legal = |octet: &u8| octet.is_ascii_alphanumeric() || b"-_.:[]".contains(octet);
    if octets.is_empty() || octets.len() > LONGEST || !octets.iter().all(legal) {
        return None;
    }
    let text = std::str::from_utf8(octets).ok()?;
    Some(text.to_ascii_lowercase())
}

/// Different names counted one by one.
const NAMES: usize = 512;

/// How often each name was seen; the first ones by name, the rest together.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Names {
    by_name: BTreeMap<String, u64>,
    beyond: u64,
}

impl Names {
    pub(super) fn count(&mut self, name: &str) {
        if let Some(count) = self.by_name.get_mut(name) {
            *count += 1;
        } else if self.by_name.len() < NAMES {
            self.by_name.insert(name.to_owned(), 1);
        } else {
            self.beyond += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(block: &str, protocol: Protocol, name: Option<&str>) -> bool {
        block.parse::<Block>().unwrap().covers(protocol, name)
    }

    #[test]
    fn a_host_is_blocked_with_all_below_it_and_nothing_beside_it() {
        assert!(covers("Example.com", Protocol::Tls, Some("example.com")));
        assert!(covers(
            "*.example.com",
            Protocol::Dns,
            Some("a.b.example.com")
        ));
        assert!(!covers(
            "example.com",
            Protocol::Tls,
            Some("badexample.com")
        ));
        assert!(!covers("example.com", Protocol::Tls, None));
        assert!(covers("ssh", Protocol::Ssh, None));
    }

    #[test]
    fn a_misspelt_protocol_is_answered_with_the_right_one() {
        let error = "htpp".parse::<Block>().unwrap_err();
        assert_eq!(error.meant, Some("http"));
        assert!(
            error.to_string().ends_with("did you mean \"http\"?"),
            "{error}"
        );
    }

    #[test]
    fn too_many_names_are_counted_together() {
        let mut names = Names::default();
        for n in 0..600 {
            names.count(&format!("{n}.example"));
        }
        names.count("0.example");
        assert_eq!((names.by_name.len(), names.beyond), (512, 88));
        assert_eq!(names.by_name["0.example"], 2);
    }
}
