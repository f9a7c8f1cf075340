//! The one kind of URL a probe takes: `http://HOST[:PORT][/PATH][?QUERY]`.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// Where to connect and what to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// As written; an IPv6 address in brackets.
    pub host: String,
    /// 80 when absent.
    pub port: u16,
    /// Path and query, at least `/`.
    pub target: String,
}

/// Text that is no such URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no URL of the form http://HOST[:PORT][/PATH]")]
pub struct UrlError {
    /// The refused text.
    pub text: String,
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let refuse = || UrlError {
            text: text.to_owned(),
        };
        let rest = text.strip_prefix("http://").ok_or_else(refuse)?;
        let (authority, target) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| refuse())?)
            }
            _ => (authority, 80),
        };
        let odd = |c: char| c.is_whitespace() || c.is_control();
        if host.is_empty() || host.contains(odd) || target.contains(odd) {
            return Err(refuse());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            target: if target.starts_with('/') {
                target.to_owned()
            } else {
                format!("/{target}")
            },
        })
    }
}

impl Url {
    /// The first address of the host.
    ///
    /// # Errors
    /// The name does not resolve.
    pub fn address(&self) -> io::Result<SocketAddr> {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(SocketAddr::new(address, self.port));
        }
        if let Some((address, scope)) = bare.split_once('%')
            && let Ok(address) = address.parse::<Ipv6Addr>()
            && let Ok(scope) = nix::net::if_::if_nametoindex(scope)
        {
            return Ok(std::net::SocketAddrV6::new(address, self.port, 0, scope).into());
        }
        let mut found = (bare, self.port).to_socket_addrs()?;
        found.next().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_port_and_path_are_told_apart() {
        let url: Url = "http://10.0.0.2:8080/bytes/5?rate=1".parse().unwrap();
        assert_eq!(url.address().unwrap(), "10.0.0.2:8080".parse().unwrap());
        assert_eq!(url.target, "/bytes/5?rate=1");
        let url: Url = "http://[fd00::2]".parse().unwrap();
        assert_eq!(url.address().unwrap(), "[fd00::2]:80".parse().unwrap());
        assert_eq!(url.target, "/");
    }

    #[test]
    fn other_schemes_and_bad_ports_are_refused() {
        for text in [
            "https://a/",
            "http://",
            "http://a:b/",
            "10.0.0.2",
            "http://a:70000/",
        ] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }
}
