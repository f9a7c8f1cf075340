//! Stacks as people ask about them: what they consist of, and what they tell.

use super::{chains, functions, nodes, secrets, services};
use crate::execute::{Snapshot, object};
use crate::resource::{Kind, Output, Piece, ResourceId, Stack};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use utoipa::openapi::{RefOr, Schema};

/// One stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StackView {
    /// Name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// How many of its resources are as they shall be.
    pub ready: usize,
    /// What it consists of.
    pub resources: Vec<StackResourceView>,
    /// Its parameters.
    pub parameters: Vec<StackParameterView>,
    /// What it tells.
    pub outputs: Vec<StackOutputView>,
    /// Its resources as the template has them, without what is in secrets.
    #[schema(value_type = Vec<Object>)]
    pub template: Vec<Json>,
}

/// One resource of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StackResourceView {
    /// Kind, as `kc` writes it.
    pub kind: String,
    /// Name.
    pub name: String,
    /// How it is, in a word or two.
    pub state: String,
    /// Whether it is as it shall be.
    pub ready: bool,
}

/// One parameter of a stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StackParameterView {
    /// Name.
    pub name: String,
    /// `string`, `number`, `boolean` or `list`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its value; absent when it is hidden.
    #[schema(value_type = Option<Object>)]
    pub value: Option<Json>,
    /// Whether it is nobody's to see.
    pub hidden: bool,
    /// Whether it was left to its default.
    pub default: bool,
}

/// One output of a stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StackOutputView {
    /// Name.
    pub name: String,
    /// What it is.
    pub description: Option<String>,
    /// Its value; absent while a part of it is not there yet.
    #[schema(value_type = Option<Object>)]
    pub value: Option<Json>,
    /// What is not there yet.
    pub missing: Option<String>,
}

/// All stacks in name order.
pub fn stacks(moment: &Snapshot) -> Vec<StackView> {
    let mut known = Known::new(moment);
    let stacks = moment.state.stacks.values();
    stacks.map(|stack| view(stack, &mut known)).collect()
}

fn view(stack: &Stack, known: &mut Known<'_>) -> StackView {
    let resources: Vec<_> = stack.members.iter().map(|id| resource(id, known)).collect();
    let parameters = stack.parameters.iter();
    let parameters = parameters.map(|(name, parameter)| StackParameterView {
        name: name.clone(),
        kind: parameter.kind.as_str().to_owned(),
        description: parameter.description.clone(),
        value: parameter.value.clone(),
        hidden: parameter.hidden,
        default: parameter.default,
    });
    let outputs = stack.outputs.iter();
    let outputs = outputs.map(|(name, output)| {
        let (value, missing) = match value(output, known) {
            Ok(value) => (Some(value), None),
            Err(missing) => (None, Some(missing)),
        };
        StackOutputView {
            name: name.clone(),
            description: output.description.clone(),
            value,
            missing,
        }
    });
    StackView {
        name: stack.metadata.name.to_string(),
        description: stack.description.clone(),
        ready: resources.iter().filter(|resource| resource.ready).count(),
        resources,
        parameters: parameters.collect(),
        outputs: outputs.collect(),
        template: stack.template.clone(),
    }
}

fn resource(id: &ResourceId, known: &mut Known<'_>) -> StackResourceView {
    let found = known.view(id);
    let number = |field: &str| found.and_then(|view| view.get(field)?.as_u64());
    let word = |field: &str| found.and_then(|view| view.get(field)?.as_str());
    let (state, ready) = match (id.kind, found) {
        (_, None) => ("not there".to_owned(), id.kind == Kind::Node),
        (Kind::ServiceFunction | Kind::Service, Some(_)) => {
            let (ready, wanted) = (number("ready"), number("replicas"));
            let (ready, wanted) = (ready.unwrap_or(0), wanted.unwrap_or(0));
            (format!("{ready}/{wanted} running"), ready >= wanted)
        }
        (Kind::Chain, Some(_)) => {
            let state = word("state").unwrap_or_default();
            (state.to_owned(), state.eq_ignore_ascii_case("ready"))
        }
        (Kind::Node | Kind::Secret | Kind::Stack, Some(_)) => ("there".to_owned(), true),
    };
    StackResourceView {
        kind: crate::execute::word(id.kind).to_owned(),
        name: id.name.to_string(),
        state,
        ready,
    }
}

fn value(output: &Output, known: &mut Known<'_>) -> Result<Json, String> {
    let mut values = Vec::new();
    for piece in &output.value {
        values.push(match piece {
            Piece::Text(value) => value.clone(),
            Piece::Attribute { of, path } => known
                .attribute(of, path)
                .ok_or_else(|| format!("{} has no {} yet", object(of), path.join(".")))?,
        });
    }
    if let [value] = values.as_slice() {
        return Ok(value.clone());
    }
    let text = values.iter().map(|value| match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    });
    Ok(Json::String(text.collect()))
}

/// Views as JSON, each kind made when it is first asked for.
struct Known<'a> {
    moment: &'a Snapshot,
    kinds: BTreeMap<Kind, BTreeMap<String, Json>>,
}

impl<'a> Known<'a> {
    fn new(moment: &'a Snapshot) -> Self {
        let kinds = BTreeMap::new();
        Self { moment, kinds }
    }

    fn view(&mut self, id: &ResourceId) -> Option<&Json> {
        let moment = self.moment;
        let of_kind = self.kinds.entry(id.kind).or_insert_with(|| match id.kind {
            Kind::ServiceFunction => by_name(functions(moment)),
            Kind::Chain => by_name(chains(moment)),
            Kind::Service => by_name(services(moment)),
            Kind::Node => by_name(nodes(moment)),
            Kind::Secret => by_name(secrets(moment)),
            Kind::Stack => BTreeMap::new(),
        });
        of_kind.get(id.name.as_str())
    }

    fn attribute(&mut self, id: &ResourceId, path: &[String]) -> Option<Json> {
        let mut value = self.view(id)?;
        for step in path {
            value = match value {
                Json::Array(items) => items.get(step.parse::<usize>().ok()?)?,
                other => other.get(step)?,
            };
        }
        (!value.is_null()).then(|| value.clone())
    }
}

fn by_name<T: Serialize>(views: Vec<T>) -> BTreeMap<String, Json> {
    let views = views.into_iter().filter_map(|view| {
        let view = serde_json::to_value(view).ok()?;
        let name = view.get("name")?.as_str()?.to_owned();
        Some((name, view))
    });
    views.collect()
}

/// What outputs may take from a resource of a kind: every field of its view.
pub fn attributes(kind: Kind) -> Vec<String> {
    match kind {
        Kind::ServiceFunction => fields::<super::FunctionView>(),
        Kind::Chain => fields::<super::ChainView>(),
        Kind::Service => fields::<super::ServiceView>(),
        Kind::Node => fields::<super::NodeView>(),
        Kind::Secret => fields::<super::SecretView>(),
        Kind::Stack => Vec::new(),
    }
}

fn fields<T: utoipa::PartialSchema>() -> Vec<String> {
    match T::schema() {
        RefOr::T(Schema::Object(object)) => object.properties.keys().cloned().collect(),
        _ => Vec::new(),
    }
}
