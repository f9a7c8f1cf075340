//! Next hops that share the flows of a path.

use crate::{GroupName, SfName, TunnelName};
use serde::{Deserialize, Serialize};

/// Several next hops for one (SPI, SI). Each flow goes to one of them, in proportion to the
/// weights, and its answers to the same one. When a member goes, out of the tables or because it
/// is dead, only its own flows move; when it comes back, only those come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Group {
    /// Name used by next hops.
    pub name: GroupName,
    /// One member at least, [`bounds::GROUP_MEMBERS`](crate::bounds::GROUP_MEMBERS) at most.
    pub members: Vec<Member>,
    /// Whether what another SFF has sent here is for the functions here: for the first of a flow's order
    /// that is alive, and where all of them are dead, for those behind them in that order. So flows whose
    /// member has died are handed on from its SFF, which knows, and never back to it. Every member has to be one
    /// tunnel away from every SFF that has the group.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_arrivals: bool,
}

/// One of the next hops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Member {
    /// Where its flows go.
    pub to: MemberTarget,
    /// What it is called when flows are spread: SFFs that call members alike, by whatever
    /// function or tunnel they reach them, choose alike. The target's name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its share in proportion to the others'; at least 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u16,
    /// Gets flows only while no member that is no backup is alive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backup: bool,
}

fn one() -> u16 {
    1
}

fn is_one(weight: &u16) -> bool {
    *weight == 1
}

impl Member {
    /// A member of weight 1 that is no backup.
    pub const fn new(to: MemberTarget) -> Self {
        Self {
            to,
            key: None,
            weight: 1,
            backup: false,
        }
    }

    /// What it is called when flows are spread.
    pub fn key(&self) -> &str {
        match (&self.key, &self.to) {
            (Some(key), _) => key,
            (None, MemberTarget::Function { name }) => name.as_str(),
            (None, MemberTarget::Tunnel { name }) => name.as_str(),
        }
    }
}

/// Where a member's flows go.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum MemberTarget {
    /// A service function on this box.
    Function {
        /// Instance.
        name: SfName,
    },
    /// Another SFF, which has a next hop of its own for the same (SPI, SI).
    Tunnel {
        /// Tunnel.
        name: TunnelName,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_weight_one_and_its_targets_name() {
        let text = r#"
            name = "firewalls"
            members = [
                { to = { function = { name = "fw-1" } } },
                { to = { tunnel = { name = "box2" } }, key = "fw-2", weight = 3, backup = true },
            ]
        "#;
        let group: Group = toml::from_str(text).unwrap();
        let [first, second] = &group.members[..] else {
            panic!("{group:?}")
        };
        assert_eq!(
            (first.key(), first.weight, first.backup),
            ("fw-1", 1, false)
        );
        assert_eq!(
            (second.key(), second.weight, second.backup),
            ("fw-2", 3, true)
        );
        assert_eq!(
            serde_json::to_string(first).unwrap(),
            r#"{"to":{"function":{"name":"fw-1"}}}"#
        );
    }
}
