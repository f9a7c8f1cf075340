//! The firewall: a namespace with a bridge and nftables, and two cables into a box.

use anyhow::{Context, Result, bail};
use std::process::Command;

/// Its namespace.
const NAME: &str = "kcpnf-guard";

const RULES: &str = "
    flush ruleset
    table bridge filter {
        counter passed { }
        chain forward {
            type filter hook forward priority 0; policy drop;
            ether type arp accept
            ether type 0x88b5 accept
            tcp dport 80 counter name passed accept
            tcp sport 80 counter name passed accept
        }
    }
";

/// A firewall at the end of two cables; dropping it removes it.
pub(crate) struct Hardware {
    node: String,
    plugs: [&'static str; 2],
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{program} {}: {said}", arguments.join(" "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn within(namespace: &str, line: &str) -> Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    run("ip", &[&["netns", "exec", namespace], &words[..]].concat())
}

impl Hardware {
    /// Builds it, and plugs it into a box.
    pub(crate) fn plug(node: &str, plugs: [&'static str; 2]) -> Result<Self> {
        let _ = run("ip", &["netns", "delete", NAME]);
        run("ip", &["netns", "add", NAME])?;
        let hardware = Self {
            node: node.to_owned(),
            plugs,
        };
        within(NAME, "sysctl -q -w net.ipv6.conf.default.disable_ipv6=1")?;
        within(
            NAME,
            "ip link add br0 type bridge stp_state 0 mcast_snooping 0",
        )?;
        for (plug, leg) in plugs.iter().zip(["i0", "o0"]) {
            within(
                NAME,
                &format!("ip link add {leg} type veth peer name {plug} netns {node}"),
            )?;
            within(NAME, &format!("ip link set {leg} master br0 up"))?;
            // What comes out has been summed already, as it is on a real cable.
            within(
                NAME,
                &format!("ethtool -K {leg} tx off gso off tso off gro off"),
            )?;
            within(node, &format!("ip link set {plug} up"))?;
        }
        within(NAME, "ip link set br0 up")?;
        hardware.thaw()?;
        Ok(hardware)
    }

    fn nft(&self, rules: &str) -> Result<String> {
        run("ip", &["netns", "exec", NAME, "nft", rules])
    }

    /// Its rules are what they should be.
    pub(crate) fn thaw(&self) -> Result<()> {
        self.nft(RULES).map(drop)
    }

    /// It drops everything, and its links stay up.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.nft("flush chain bridge filter forward").map(drop)
    }

    /// Packets that its rules have let through.
    pub(crate) fn passed(&self) -> Result<u64> {
        let shown = self.nft("list counter bridge filter passed")?;
        let mut words = shown
            .split_whitespace()
            .skip_while(|word| *word != "packets");
        let number = words.nth(1).context("nft shows no packets")?;
        Ok(number.parse()?)
    }

    /// Its inside cable is in, or out.
    pub(crate) fn cable(&self, plugged: bool) -> Result<()> {
        let word = if plugged { "up" } else { "down" };
        within(NAME, &format!("ip link set i0 {word}")).map(drop)
    }

    /// Its box's interfaces, as the kernel shows them.
    pub(crate) fn interfaces(&self) -> Result<String> {
        let shown = self
            .plugs
            .iter()
            .map(|plug| within(&self.node, &format!("ip -o -d link show {plug}")));
        shown.collect()
    }
}

impl Drop for Hardware {
    fn drop(&mut self) {
        let _ = run("ip", &["netns", "delete", NAME]);
    }
}
