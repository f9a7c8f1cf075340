//! Who pulls images: what a secret that is meant for it says, in Docker's own form or in two keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kc_agent_api::PullLogin;
use serde::Deserialize;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// The key of Docker's own form, as others call it too.
pub const DOCKER_CONFIG: &str = ".dockerconfigjson";

/// Docker's `config.json`, as far as it is about registries.
#[derive(Deserialize)]
struct Config {
    auths: BTreeMap<String, Auth>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    username: Option<String>,
    password: Option<String>,
    /// Both in base64, with a colon between them.
    auth: Option<String>,
}

/// Whether octets are Docker's form.
pub fn is_docker_config(octets: &[u8]) -> bool {
    serde_json::from_slice::<Config>(octets).is_ok()
}

/// Who pulls `image`, out of a secret's values.
pub fn login<'a>(value: impl Fn(&str) -> Option<&'a [u8]>, image: &str) -> Option<PullLogin> {
    if let Some(config) = value(DOCKER_CONFIG) {
        return from_config(config, image);
    }
    let text = |key| Some(std::str::from_utf8(value(key)?).ok()?.to_owned());
    Some(PullLogin {
        username: text("username")?,
        password: text("password")?,
        server: text("server"),
    })
}

fn from_config(octets: &[u8], image: &str) -> Option<PullLogin> {
    let config: Config = serde_json::from_slice(octets).ok()?;
    let registry = registry(image);
    let mut auths = config.auths.into_iter();
    let (server, auth) = auths.find(|(server, _)| host(server) == registry)?;
    let (username, password) = match (auth.username, auth.password, auth.auth) {
        (Some(username), Some(password), _) => (username, password),
        (_, _, Some(packed)) => {
            let both = Zeroizing::new(STANDARD.decode(packed.trim()).ok()?);
            let (username, password) = std::str::from_utf8(&both).ok()?.split_once(':')?;
            (username.to_owned(), password.to_owned())
        }
        _ => return None,
    };
    Some(PullLogin {
        username,
        password,
        server: Some(server),
    })
}

/// The registry of an image: what is before the first slash, if that can be a host.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => host(first),
        _ => "docker.io",
    }
}

/// A registry as configurations write it, with or without scheme and path. Docker Hub has several names.
fn host(server: &str) -> &str {
    let server = server.split_once("://").map_or(server, |(_, rest)| rest);
    match server.split('/').next().unwrap_or(server) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulled(config: &str, image: &str) -> Option<(String, String)> {
        let value = |key: &str| (key == DOCKER_CONFIG).then_some(config.as_bytes());
        let login = login(value, image)?;
        Some((login.username.clone(), login.password.clone()))
    }

    #[test]
    fn dockers_own_form_names_the_registry_of_an_image() {
        let config = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "aHViOnNlY3JldDpv"},
            "registry.lan:5000": {"username": "me", "password": "pw", "email": "x"},
            "ghcr.io": {}}, "credsStore": "desktop"}"#;
        let found = |image| pulled(config, image);
        let hub = Some(("hub".to_owned(), "secret:o".to_owned()));
        assert_eq!(found("nginx"), hub);
        assert_eq!(found("library/nginx:1"), hub);
        assert_eq!(found("docker.io/library/nginx"), hub);
        let own = Some(("me".to_owned(), "pw".to_owned()));
        assert_eq!(found("registry.lan:5000/a/b@sha256:00"), own);
        assert_eq!(found("registry.lan/a"), None);
        assert_eq!(found("ghcr.io/a/b"), None);
        assert!(is_docker_config(config.as_bytes()));
        for wrong in ["", "{}", "{\"auths\": 7}", "me:pw"] {
            assert!(!is_docker_config(wrong.as_bytes()), "{wrong}");
            assert_eq!(pulled(wrong, "nginx"), None);
        }
    }

    #[test]
    fn two_keys_will_do() {
        let value = |key: &str| match key {
            "username" => Some(&b"me"[..]),
            "password" => Some(&b"pw"[..]),
            _ => None,
        };
        let found = login(value, "nginx").unwrap();
        assert_eq!(
            (found.username.as_str(), found.server.clone()),
            ("me", None)
        );
        assert_eq!(
            login(|key| value(key).filter(|_| key != "password"), "a"),
            None
        );
    }
}
