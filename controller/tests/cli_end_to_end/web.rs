//! The API itself, spoken to without `kc`.

use super::site::Site;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// Sends a request as it is and reads the whole answer.
pub(crate) fn ask(address: &str, request: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(super::site::PATIENCE))
        .unwrap();
    // A server may answer and hang up before it has read everything.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.get(9..12).and_then(|code| code.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status.unwrap_or(0), body.to_owned())
}

pub(crate) fn request(method: &str, path: &str, token: Option<&str>) -> Vec<u8> {
    let authorization = token.map_or_else(String::new, |token| {
        format!("Authorization: Bearer {token}\r\n")
    });
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{authorization}\r\n")
        .into_bytes()
}

#[test]
fn everything_needs_the_token_but_health_and_the_description() {
    let site = Site::start();
    let token = site.token();
    assert_eq!(
        ask(&site.address, &request("GET", "/healthz", None)),
        (200, "ok\n".into())
    );
    let (status, body) = ask(&site.address, &request("GET", "/openapi.json", None));
    assert_eq!(status, 200);
    let document: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert!(document["components"]["securitySchemes"]["bearer"].is_object());

    for (method, path) in kc_controller::http::ROUTES {
        if ["/healthz", "/openapi.json"].contains(path) {
            continue;
        }
        let method = method.to_uppercase();
        assert!(document["paths"][*path].is_object(), "{path} is described");
        for wrong in [None, Some("wrong"), Some(""), Some(&token[1..])] {
            let (status, body) = ask(&site.address, &request(&method, path, wrong));
            assert_eq!(status, 401, "{method} {path}: {body}");
            let error: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(error["error"]["code"], "unauthorized");
        }
    }
    let (status, _) = ask(
        &site.address,
        &request("GET", "/api/v1/nodes", Some(&token)),
    );
    assert_eq!(status, 200);
    let (status, body) = ask(&site.address, &request("GET", "/api/v2", Some(&token)));
    assert_eq!(status, 404);
    assert!(body.contains("no-such-route"), "{body}");
    let (status, body) = ask(
        &site.address,
        &request("PUT", "/api/v1/nodes", Some(&token)),
    );
    assert_eq!(status, 405);
    assert!(body.contains("wrong-method"), "{body}");
}

#[test]
fn a_request_beyond_the_limit_is_413() {
    let site = Site::start();
    let mut text = format!(
        "POST /api/v1/apply?file=x.yaml HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
        site.token(),
        9 << 20
    )
    .into_bytes();
    // Only the head: the length alone is enough to refuse.
    text.extend_from_slice(b"apiVersion: ");
    let (status, body) = ask(&site.address, &text);
    assert_eq!(status, 413, "{body}");
    assert!(
        body.contains("too-large") && body.contains("8 MiB"),
        "{body}"
    );
}

#[test]
fn a_manifest_posted_as_text_is_answered_with_the_place_of_its_mistakes() {
    let site = Site::start();
    let yaml = "apiVersion: kcluster/v1\nkind: Chian\nmetadata: {name: x}\nspec: {}\n";
    let request = format!(
        "POST /api/v1/apply?file=x.yaml HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{yaml}",
        site.token(),
        yaml.len()
    );
    let (status, body) = ask(&site.address, request.as_bytes());
    assert_eq!(status, 422, "{body}");
    let error: serde_json::Value = serde_json::from_str(&body).unwrap();
    let detail = &error["error"]["details"][0];
    assert_eq!(
        (&detail["file"], &detail["line"]),
        (&"x.yaml".into(), &2.into()),
        "{body}"
    );
    assert!(
        detail["snippet"].as_str().unwrap().contains("Chian"),
        "{body}"
    );
    assert!(
        detail["message"].as_str().unwrap().contains("Chain"),
        "{body}"
    );
}
