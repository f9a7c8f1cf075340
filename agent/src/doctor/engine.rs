//! The Docker engine: there, and new enough.

use super::Engine;
use kc_agent_api::Finding;
use std::io::ErrorKind;

const CHECK: &str = "docker";
/// API of Docker 20.10, the first that runs on cgroup v2, which Debian 11 and later have.
const LEAST: (usize, usize) = (1, 41);

/// Judges the engine.
pub(super) fn docker(engine: &Engine) -> Finding {
    match engine {
        Engine::Answers { version, api } if *api < LEAST => Finding::problem(
            CHECK,
            format!("Docker {version} speaks API {}.{}", api.0, api.1),
            "install Docker 20.10 (API 1.41) or newer: https://docs.docker.com/engine/install",
        ),
        Engine::Answers { version, api } => {
            let found = format!("Docker {version}, API {}.{}", api.0, api.1);
            Finding::ok(CHECK, found)
        }
        Engine::NoSocket { path, error } => {
            let found = format!("no engine at {}: {error}", path.display());
            match error.kind() {
                ErrorKind::PermissionDenied => Finding::unknown(
                    CHECK,
                    found,
                    "run it as root: sudo kc-agent doctor, or join the group docker",
                ),
                ErrorKind::NotFound => Finding::problem(
                    CHECK,
                    found,
                    "apt install docker.io && systemctl enable --now docker, or name its socket with --docker",
                ),
                _ => Finding::problem(
                    CHECK,
                    found,
                    "systemctl restart docker; journalctl -u docker tells why it ended",
                ),
            }
        }
        Engine::Fails { path, why } => Finding::problem(
            CHECK,
            format!("the engine at {} fails: {why}", path.display()),
            "systemctl restart docker; journalctl -u docker tells what ails it",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_agent_api::Severity;

    fn answers(version: &str, minor: usize) -> Engine {
        Engine::Answers {
            version: version.to_owned(),
            api: (1, minor),
        }
    }

    fn no_socket(kind: ErrorKind) -> Engine {
        Engine::NoSocket {
            path: "/var/run/docker.sock".into(),
            error: kind.into(),
        }
    }

    #[test]
    fn an_engine_before_20_10_is_too_old() {
        let finding = docker(&answers("19.03.15", 40));
        assert_eq!(finding.severity, Severity::Problem);
        assert!(finding.fix.unwrap().contains("20.10"));
        for (version, minor) in [("20.10.24", 41), ("29.3.1", 53)] {
            assert_eq!(docker(&answers(version, minor)).severity, Severity::Ok);
        }
    }

    #[test]
    fn a_missing_a_stopped_and_a_forbidden_engine_are_three_things() {
        let missing = docker(&no_socket(ErrorKind::NotFound));
        assert!(missing.fix.unwrap().contains("apt install docker.io"));
        let stopped = docker(&no_socket(ErrorKind::ConnectionRefused));
        assert!(stopped.fix.unwrap().contains("restart docker"));
        assert_eq!(stopped.severity, Severity::Problem);
        let forbidden = docker(&no_socket(ErrorKind::PermissionDenied));
        assert_eq!(forbidden.severity, Severity::Unknown);
    }
}
