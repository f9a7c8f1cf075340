//! The broker: which step on the way to it does not succeed.

use super::Broker;
use kc_agent_api::Finding;
use kc_mqtt::ProbeError;
use std::error::Error;

const CHECK: &str = "broker";

/// Judges what came of connecting.
pub(super) fn broker(broker: &Broker) -> Finding {
    match broker {
        Broker::NotAsked => Finding::unknown(
            CHECK,
            "without the agent's settings nobody knows which one",
            "run it as root: sudo kc-agent doctor",
        ),
        Broker::Asked {
            address,
            outcome: Ok(took),
            ..
        } => Finding::ok(
            CHECK,
            format!("{address} answers after {} ms", took.as_millis()),
        ),
        Broker::Asked {
            address,
            credentials,
            outcome: Err(error),
        } => Finding::problem(
            CHECK,
            found(address, error),
            fix(address, *credentials, error),
        ),
    }
}

fn found(address: &str, error: &ProbeError) -> String {
    match error.source() {
        Some(cause) => format!("{address}: {error}: {cause}"),
        None => format!("{address}: {error}"),
    }
}

fn fix(address: &str, credentials: bool, error: &ProbeError) -> String {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "1883"));
    match error {
        ProbeError::Name(_) => {
            format!("correct broker in /etc/kcluster/agent.toml (its address will do), or add {host} to DNS or /etc/hosts")
        }
        ProbeError::Refused(_) => format!(
            "start the broker on {host}; Mosquitto listens on loopback only without: listener {port} 0.0.0.0"
        ),
        ProbeError::Unreachable(_) => {
            format!("ip route get {host} tells the way; is the cable in, is {host} on?")
        }
        ProbeError::NoConnection(_) => {
            format!("is {host} on? a firewall on the way? allow tcp/{port} to it")
        }
        ProbeError::Silent(_) => {
            format!("restart the broker on {host}: it accepts connections and does nothing with them")
        }
        ProbeError::Alien => format!(
            "kc-agent speaks MQTT without TLS: name the broker's plain listener, often port 1883; ss -tlnp on {host} tells who has port {port}"
        ),
        ProbeError::Credentials if credentials => {
            "correct mqtt-user and the first line of mqtt-password-file, or mosquitto_passwd on the broker".into()
        }
        ProbeError::Credentials => {
            "set mqtt-user and mqtt-password-file in /etc/kcluster/agent.toml".into()
        }
        ProbeError::Declined(_) | ProbeError::Io(_) => {
            format!("the log of the broker on {host} tells why")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_agent_api::Severity;
    use std::io::{self, ErrorKind};
    use std::time::Duration;

    fn fails(credentials: bool, error: ProbeError) -> Finding {
        broker(&Broker::Asked {
            address: "192.0.2.10:1883".into(),
            credentials,
            outcome: Err(error),
        })
    }

    #[test]
    fn every_failure_has_a_fix_of_its_own() {
        let io = |kind: ErrorKind| io::Error::from(kind);
        let limit = Duration::from_secs(3);
        let all = [
            fails(false, ProbeError::Name(io(ErrorKind::Other))),
            fails(false, ProbeError::Refused(io(ErrorKind::ConnectionRefused))),
            fails(
                false,
                ProbeError::Unreachable(io(ErrorKind::HostUnreachable)),
            ),
            fails(false, ProbeError::NoConnection(limit)),
            fails(false, ProbeError::Silent(limit)),
            fails(false, ProbeError::Alien),
            fails(false, ProbeError::Credentials),
            fails(true, ProbeError::Credentials),
            fails(false, ProbeError::Declined("unavailable")),
        ];
        let fixes: std::collections::BTreeSet<_> = all.iter().map(|f| f.fix.clone()).collect();
        assert_eq!(fixes.len(), all.len(), "{all:?}");
        for finding in &all {
            assert_eq!(finding.severity, Severity::Problem);
            assert!(
                finding.found.starts_with("192.0.2.10:1883: "),
                "{}",
                finding.found
            );
        }
    }

    #[test]
    fn a_broker_that_answers_is_fine_and_one_nobody_names_is_unknown() {
        let fine = broker(&Broker::Asked {
            address: "192.0.2.10:1883".into(),
            credentials: true,
            outcome: Ok(Duration::from_millis(4)),
        });
        assert_eq!(
            fine,
            Finding::ok(CHECK, "192.0.2.10:1883 answers after 4 ms")
        );
        assert_eq!(broker(&Broker::NotAsked).severity, Severity::Unknown);
    }
}
