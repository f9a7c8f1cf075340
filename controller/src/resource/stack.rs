//! `Stack`: resources that were made from one template, and live and go together. This is what the
//! controller keeps of it; [`crate::manifest`] reads the template and expands it. Nothing hidden is in
//! it: neither the values of hidden parameters nor what the template writes into its secrets.

use super::{ApiVersion, Metadata, ResourceId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A stack as it was last applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Stack {
    /// Always `kcluster/v1`.
    pub api_version: ApiVersion,
    /// Who it is.
    pub metadata: Metadata,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Parameter>,
    /// What it consists of.
    pub members: BTreeSet<ResourceId>,
    /// What it tells.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Output>,
    /// Its resources as the template has them, without what is in secrets.
    pub template: Vec<serde_json::Value>,
}

/// A parameter, and what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Parameter {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its value; absent when it is hidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
    /// Whether its value is nobody's to see.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// Whether it was left to its default.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
}

/// What a parameter may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParameterType {
    /// Text.
    String,
    /// A number, whole or not.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Several values.
    List,
}

impl ParameterType {
    /// As written in templates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::List => "list",
        }
    }
}

/// Something a stack tells those who use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Output {
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Text, and attributes of members that are looked up when somebody asks.
    pub value: Vec<Piece>,
}

/// A part of an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Piece {
    /// As it is: text, or the value of a parameter.
    Text(serde_json::Value),
    /// What `kc get KIND NAME -o json` has there.
    Attribute {
        /// A member.
        of: ResourceId,
        /// Names of fields and numbers of items, from the outermost on.
        path: Vec<String>,
    },
}
