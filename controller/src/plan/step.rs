//! What a plan changes, one line each, for people and for diffs.

use crate::resource::Name;
use kc_agent_api::NodeName;
use kc_forwarder_api::Spi;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "step")]
pub enum Step {
    /// A box is taken up.
    Register {
        /// The box.
        node: NodeName,
    },
    /// A container gets a node.
    Place {
        /// The container.
        instance: String,
        /// Its node.
        node: NodeName,
        /// Why there.
        why: String,
    },
    /// A container loses its node and gets another, or none for now.
    Move {
        /// The container.
        instance: String,
        /// Where it was.
        from: NodeName,
        /// Where it goes.
        to: Option<NodeName>,
        /// Why.
        why: String,
    },
    /// A container finds no node.
    Unplaced {
        /// The container.
        instance: String,
        /// Why.
        why: String,
    },
    /// A container is changed.
    Update {
        /// The container.
        instance: String,
        /// Its node.
        node: Option<NodeName>,
    },
    /// A replica gets no new flows any more, because it is about to go.
    DrainReplica {
        /// The container.
        instance: String,
        /// Its node.
        node: Option<NodeName>,
    },
    /// A container goes.
    Remove {
        /// The container.
        instance: String,
        /// Where it was.
        node: Option<NodeName>,
    },
    /// A new path goes onto every hop.
    Install {
        /// The chain.
        chain: Name,
        /// Forward path.
        spi: Spi,
        /// Return path.
        reverse: Option<Spi>,
        /// Instances in order, `name@node`.
        instances: Vec<String>,
        /// What occasioned it.
        why: String,
    },
    /// Classifiers are turned to a path.
    Switch {
        /// The chain.
        chain: Name,
        /// From the path.
        from: Option<Spi>,
        /// To the path.
        to: Spi,
    },
    /// A former path is kept a little longer.
    Drain {
        /// The chain.
        chain: Name,
        /// The path.
        spi: Spi,
    },
    /// A path is taken off every hop.
    Uninstall {
        /// The chain.
        chain: Name,
        /// The path.
        spi: Spi,
    },
    /// Classifiers of a removed chain are cleared.
    Withdraw {
        /// The chain.
        chain: Name,
        /// The path.
        spi: Spi,
    },
    /// A chain cannot be carried at present.
    Hold {
        /// The chain.
        chain: Name,
        /// Why.
        why: String,
    },
    /// A node gets a new document.
    Publish {
        /// The node.
        node: NodeName,
        /// Generation of the document.
        generation: u64,
        /// Containers in it.
        containers: usize,
        /// Path parts in it.
        paths: usize,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register { node } => write!(f, "register {node}"),
            Self::Place {
                instance,
                node,
                why,
            } => write!(f, "place {instance} on {node}: {why}"),
            Self::Move {
                instance,
                from,
                to: Some(to),
                why,
            } => {
                write!(f, "move {instance} from {from} to {to}: {why}")
            }
            Self::Move {
                instance,
                from,
                to: None,
                why,
            } => {
                write!(f, "take {instance} off {from}: {why}")
            }
            Self::Unplaced { instance, why } => write!(f, "cannot place {instance}: {why}"),
            Self::Update {
                instance,
                node: Some(node),
            } => write!(f, "update {instance} on {node}"),
            Self::Update {
                instance,
                node: None,
            } => write!(f, "update {instance}"),
            Self::DrainReplica {
                instance,
                node: Some(node),
            } => write!(f, "drain {instance} on {node}"),
            Self::DrainReplica {
                instance,
                node: None,
            } => write!(f, "drain {instance}"),
            Self::Remove {
                instance,
                node: Some(node),
            } => write!(f, "remove {instance} from {node}"),
            Self::Remove {
                instance,
                node: None,
            } => write!(f, "remove {instance}"),
            Self::Install {
                chain,
                spi,
                reverse,
                instances,
                why,
            } => {
                write!(f, "install {chain} path {spi}")?;
                if let Some(reverse) = reverse {
                    write!(f, "/{reverse}")?;
                }
                write!(f, " over {}: {why}", instances.join(", "))
            }
            Self::Switch {
                chain,
                from: Some(from),
                to,
            } => {
                write!(f, "switch {chain} from path {from} to {to}")
            }
            Self::Switch {
                chain,
                from: None,
                to,
            } => write!(f, "switch {chain} to path {to}"),
            Self::Drain { chain, spi } => write!(f, "drain {chain} path {spi}"),
            Self::Uninstall { chain, spi } => write!(f, "uninstall {chain} path {spi}"),
            Self::Withdraw { chain, spi } => write!(f, "withdraw {chain} path {spi}"),
            Self::Hold { chain, why } => write!(f, "hold {chain}: {why}"),
            Self::Publish {
                node,
                generation,
                containers,
                paths,
            } => write!(
                f,
                "publish {node} generation {generation}: {containers} containers, {paths} path parts"
            ),
        }
    }
}
