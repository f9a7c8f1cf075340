//! The tunnel end and the kernel's switches that decide what becomes of its datagrams.

use super::Network;
use kc_agent_api::Finding;
use std::net::IpAddr;

/// Judges address, interface and MTU under the tunnels.
pub(super) fn underlay(network: &Network) -> Finding {
    let check = "underlay";
    let Some(address) = network.address else {
        return Finding::problem(
            check,
            "no address for tunnels: there is no default route",
            "set vtep = \"ADDRESS\" in /etc/kcluster/agent.toml, or --vtep",
        );
    };
    let Some((name, mtu, up)) = &network.interface else {
        return Finding::problem(
            check,
            format!("no interface has {address}, where tunnels are to end"),
            "give it to an interface, or correct vtep in /etc/kcluster/agent.toml",
        );
    };
    if !up {
        let found = format!("{name}, which has {address}, is down");
        return Finding::problem(check, found, format!("ip link set {name} up"));
    }
    match network.wanted_mtu {
        Some(wanted) if u32::from(wanted) > *mtu => Finding::problem(
            check,
            format!(
                "tunnels are made for an MTU of {wanted}, {name} carries {mtu}: long packets are lost"
            ),
            format!(
                "ip link set {name} mtu {wanted}, or underlay-mtu = {mtu} in /etc/kcluster/agent.toml"
            ),
        ),
        _ => Finding::ok(check, format!("{address} on {name}, MTU {mtu}")),
    }
}

/// Judges whether the kernel forwards. Chains do not need it, what they lead to may.
pub(super) fn forwarding(network: &Network) -> Finding {
    let check = "ip-forward";
    match network.ip_forward.as_deref().map(str::trim) {
        Some("0") => Finding::warning(
            check,
            "off: chains work, but this box routes nothing that leaves a chain by its own stack",
            "echo net.ipv4.ip_forward=1 > /etc/sysctl.d/90-kcluster.conf && sysctl --system",
        ),
        Some(_) => Finding::ok(check, "on"),
        None => Finding::unknown(
            check,
            "net.ipv4.ip_forward cannot be read",
            "mount -t proc proc /proc",
        ),
    }
}

/// Judges whether datagrams of tunnels may come in by another way than they go out.
pub(super) fn reverse_path(network: &Network) -> Finding {
    let check = "rp-filter";
    if matches!(network.address, Some(IpAddr::V6(_))) {
        return Finding::ok(check, "there is none for tunnels over IPv6");
    }
    let read = |text: &Option<String>| text.as_deref()?.trim().parse::<u8>().ok();
    // Documentation/networking/ip-sysctl: the larger of all's and the interface's counts.
    let Some(mode) = read(&network.rp_filter_all).max(read(&network.rp_filter)) else {
        let found = "net.ipv4.conf.all.rp_filter cannot be read";
        return Finding::unknown(check, found, "mount -t proc proc /proc");
    };
    match (mode, &network.interface) {
        (1, Some((name, ..))) if network.ways > 1 => Finding::warning(
            check,
            format!(
                "strict, and this box has {} ways: what comes by another than {name} is dropped",
                network.ways
            ),
            format!(
                "sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.{name}.rp_filter=2, and the same in /etc/sysctl.d"
            ),
        ),
        (0, _) => Finding::ok(check, "off"),
        (1, _) => Finding::ok(check, "strict, and there is one way only"),
        _ => Finding::ok(check, "loose"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_agent_api::Severity;

    /// A Pi with a cable and Wi-Fi.
    fn pi() -> Network {
        Network {
            address: Some([192, 0, 2, 1].into()),
            interface: Some(("eth0".into(), 1500, true)),
            wanted_mtu: Some(1500),
            ways: 2,
            ip_forward: Some("1\n".into()),
            rp_filter_all: Some("0\n".into()),
            rp_filter: Some("2\n".into()),
        }
    }

    #[test]
    fn a_usual_pi_has_nothing_to_complain_of() {
        let pi = pi();
        let found = "192.0.2.1 on eth0, MTU 1500";
        assert_eq!(underlay(&pi), Finding::ok("underlay", found));
        assert_eq!(forwarding(&pi), Finding::ok("ip-forward", "on"));
        assert_eq!(reverse_path(&pi), Finding::ok("rp-filter", "loose"));
    }

    #[test]
    fn tunnels_for_more_than_the_interface_carries_lose_long_packets() {
        let narrow = Network {
            interface: Some(("wg0".into(), 1420, true)),
            ..pi()
        };
        let finding = underlay(&narrow);
        assert_eq!(finding.severity, Severity::Problem);
        assert!(finding.fix.unwrap().contains("underlay-mtu = 1420"));
    }

    #[test]
    fn a_missing_address_a_missing_interface_and_one_that_is_down_are_told_apart() {
        let nothing = Network::default();
        assert!(underlay(&nothing).found.contains("no default route"));
        let lost = Network {
            interface: None,
            ..pi()
        };
        assert!(underlay(&lost).found.contains("no interface has 192.0.2.1"));
        let down = Network {
            interface: Some(("eth0".into(), 1500, false)),
            ..pi()
        };
        assert_eq!(underlay(&down).fix.as_deref(), Some("ip link set eth0 up"));
    }

    #[test]
    fn a_strict_filter_matters_only_where_there_are_two_ways() {
        let strict = Network {
            rp_filter_all: Some("1\n".into()),
            rp_filter: Some("0\n".into()),
            ..pi()
        };
        assert_eq!(reverse_path(&strict).severity, Severity::Warning);
        let one = Network { ways: 1, ..strict };
        assert_eq!(reverse_path(&one).severity, Severity::Ok);
        assert_eq!(
            reverse_path(&Network::default()).severity,
            Severity::Unknown
        );
    }

    #[test]
    fn forwarding_that_is_off_is_no_problem_of_chains() {
        let off = Network {
            ip_forward: Some("0\n".into()),
            ..pi()
        };
        assert_eq!(forwarding(&off).severity, Severity::Warning);
        assert_eq!(forwarding(&Network::default()).severity, Severity::Unknown);
    }
}
