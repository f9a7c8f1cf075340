//! What can only be judged about resources together: with each other and with those that exist.

use super::words::hint;
use super::{Context, Document, ManifestError};
use crate::resource::{
    ChainSpec, DOCKER_CONFIG, End, Kind, Name, Resource, ResourceId, ReturnPath, Secret,
};
use kc_agent_api::NodeName;
use std::collections::{BTreeMap, BTreeSet};

/// Everything there will be.
pub(super) struct Union<'a> {
    pub(super) resources: BTreeMap<ResourceId, &'a Resource>,
    pub(super) documents: BTreeMap<ResourceId, &'a Document<'a>>,
}

impl<'a> Union<'a> {
    /// Function types, and who offers each.
    fn types(&self) -> BTreeSet<&'a Name> {
        let types = self
            .resources
            .values()
            .filter_map(|resource| match resource {
                Resource::ServiceFunction(object) => {
                    Some(object.spec.type_name(&object.metadata.name))
                }
                _ => None,
            });
        types.collect()
    }

    pub(super) fn chains(&self) -> impl Iterator<Item = (&Name, &'a ChainSpec)> {
        self.resources
            .values()
            .filter_map(|resource| match resource {
                Resource::Chain(object) => Some((&object.metadata.name, &object.spec)),
                _ => None,
            })
    }

    fn document(&self, kind: Kind, name: &Name) -> Option<&'a Document<'a>> {
        self.documents
            .get(&ResourceId::new(kind, name.clone()))
            .copied()
    }
}

/// Checks all documents.
pub(super) fn check(
    documents: &[Document<'_>],
    context: Context<'_>,
    errors: &mut Vec<ManifestError>,
    warnings: &mut Vec<ManifestError>,
) {
    let mut union = Union {
        resources: context
            .resources
            .iter()
            .map(|(id, resource)| (id.clone(), resource))
            .collect(),
        documents: BTreeMap::new(),
    };
    twice(documents, errors);
    for document in documents {
        let id = document.resource.id();
        if union.documents.contains_key(&id) {
            continue;
        }
        union.resources.insert(id.clone(), &document.resource);
        union.documents.insert(id, document);
    }
    names(&union, errors);
    types(&union, context, errors);
    ends(&union, errors);
    dependencies(&union, errors);
    secrets(&union, errors);
    super::physical::cross(&union, errors);
    nodes(&union, context, warnings);
}

/// Nothing may be here twice.
pub(super) fn twice(documents: &[Document<'_>], errors: &mut Vec<ManifestError>) {
    let mut seen: BTreeMap<ResourceId, &Document<'_>> = BTreeMap::new();
    for document in documents {
        let id = document.resource.id();
        let Some(first) = seen.get(&id) else {
            seen.insert(id, document);
            continue;
        };
        let there = first.error(&["metadata", "name"], "");
        let message = format!(
            "{id} is already at {}:{}:{}",
            there.file, there.line, there.column
        );
        errors.push(document.error(&["metadata", "name"], message));
    }
}

/// Instances are called after their owners, whatever their kind.
fn names(union: &Union<'_>, errors: &mut Vec<ManifestError>) {
    for (id, document) in &union.documents {
        let other = match id.kind {
            Kind::Service => Kind::ServiceFunction,
            Kind::ServiceFunction => Kind::Service,
            Kind::Chain | Kind::Node | Kind::Secret | Kind::Stack => continue,
        };
        let other = ResourceId::new(other, id.name.clone());
        if union.resources.contains_key(&other) {
            let message = format!("{other} has this name, and containers of both would have it");
            errors.push(document.error(&["metadata", "name"], message));
        }
    }
}

fn types(union: &Union<'_>, context: Context<'_>, errors: &mut Vec<ManifestError>) {
    let types = union.types();
    for (chain, spec) in union.chains() {
        for (index, function) in spec.functions.iter().enumerate() {
            if types.contains(function) {
                continue;
            }
            if let Some(document) = union.document(Kind::Chain, chain) {
                let message = format!("no ServiceFunction has the type {function}");
                let hint = hint(function.as_str(), "types", types.iter().map(|t| t.as_str()));
                errors.push(ManifestError {
                    hint,
                    ..document.error(&["spec", "functions", &index.to_string()], message)
                });
            } else if let Some(document) = lost(union, context, function) {
                let message = format!("chain {chain} needs a function of type {function}");
                errors.push(document.error(&["spec", "type"], message));
            }
        }
    }
}

/// The document that takes a type away.
fn lost<'a>(union: &Union<'a>, context: Context<'_>, function: &Name) -> Option<&'a Document<'a>> {
    let before = context
        .resources
        .iter()
        .filter_map(|(id, resource)| match resource {
            Resource::ServiceFunction(object) => {
                Some((id, object.spec.type_name(&object.metadata.name)))
            }
            _ => None,
        });
    let mut lost = before.filter(|(_, offered)| *offered == function);
    lost.find_map(|(id, _)| union.documents.get(id).copied())
}

/// Two chains without a match cannot share an end: the second would never get a frame.
fn ends(union: &Union<'_>, errors: &mut Vec<ManifestError>) {
    let mut taken: BTreeMap<&End, &Name> = BTreeMap::new();
    for (chain, spec) in union.chains().filter(|(_, spec)| spec.matches.is_empty()) {
        let back = (spec.return_path == ReturnPath::Symmetric).then_some(("to", &spec.to));
        for (key, end) in std::iter::once(("from", &spec.from)).chain(back) {
            let Some(first) = taken.insert(end, chain).filter(|first| *first != chain) else {
                continue;
            };
            let (mine, other) = match union.document(Kind::Chain, chain) {
                Some(document) => (Some(document), first),
                None => (union.document(Kind::Chain, first), chain),
            };
            let Some(document) = mine else { continue };
            let message = format!(
                "chain {other} already takes everything from {end}; give one of them a match"
            );
            errors.push(document.error(&["spec", key], message));
        }
    }
}

/// `dependsOn` must name functions and services, and must not go in a circle.
fn dependencies(union: &Union<'_>, errors: &mut Vec<ManifestError>) {
    let all: BTreeMap<&Name, (&ResourceId, &Vec<Name>)> = union
        .resources
        .iter()
        .filter_map(|(id, resource)| match resource {
            Resource::Service(object) => Some((&id.name, (id, &object.spec.depends_on))),
            Resource::ServiceFunction(object) => Some((&id.name, (id, &object.spec.depends_on))),
            Resource::Chain(_) | Resource::Node(_) | Resource::Secret(_) => None,
        })
        .collect();
    let needs: BTreeMap<&Name, &Vec<Name>> =
        all.iter().map(|(n, (_, needs))| (*n, *needs)).collect();
    let mut told = BTreeSet::new();
    for (name, (id, own)) in &all {
        let Some(document) = union.documents.get(id) else {
            continue;
        };
        for (index, need) in own.iter().enumerate() {
            let index = index.to_string();
            let path = ["spec", "dependsOn", index.as_str()];
            if !needs.contains_key(need) {
                let known = needs.keys().map(|name| name.as_str());
                let hint = hint(need.as_str(), "services and functions", known);
                let message = format!("there is no Service or ServiceFunction {need}");
                errors.push(ManifestError {
                    hint,
                    ..document.error(&path, message)
                });
            } else if let Some(circle) = circle(&needs, name, need) {
                let members: BTreeSet<_> = circle.iter().copied().collect();
                if told.insert(members) {
                    let names: Vec<_> = circle.iter().map(|name| name.as_str()).collect();
                    let message = format!(
                        "dependsOn goes in a circle: {} -> {name}",
                        names.join(" -> ")
                    );
                    errors.push(document.error(&path, message));
                }
            }
        }
    }
}

/// The way from `start` over `next` back to `start`, if there is one.
fn circle<'a>(
    needs: &BTreeMap<&'a Name, &'a Vec<Name>>,
    start: &'a Name,
    next: &'a Name,
) -> Option<Vec<&'a Name>> {
    let mut came_from: BTreeMap<&Name, &Name> = BTreeMap::from([(next, start)]);
    let mut ahead = vec![next];
    while let Some(here) = ahead.pop() {
        if here == start {
            let mut way = Vec::new();
            let mut at = start;
            while let Some(before) = came_from.get(at) {
                way.push(*before);
                at = before;
                if at == start {
                    break;
                }
            }
            way.reverse();
            return Some(way);
        }
        for need in needs.get(here).into_iter().flat_map(|needs| needs.iter()) {
            if !came_from.contains_key(need) {
                came_from.insert(need, here);
                ahead.push(need);
            }
        }
    }
    None
}

/// What containers name must be there, and must stay.
fn secrets(union: &Union<'_>, errors: &mut Vec<ManifestError>) {
    let secrets: BTreeMap<&Name, &Secret> = union
        .resources
        .values()
        .filter_map(|resource| match resource {
            Resource::Secret(secret) => Some((&secret.metadata.name, secret)),
            _ => None,
        })
        .collect();
    for (id, resource) in &union.resources {
        let work = match resource {
            Resource::ServiceFunction(object) => object.spec.workload(),
            Resource::Service(object) => object.spec.workload(),
            Resource::Chain(_) | Resource::Node(_) | Resource::Secret(_) => continue,
        };
        let mut look = |path: &[&str], name: &Name, keys: &[&str]| {
            let secret = secrets.get(name);
            let missing = keys
                .iter()
                .find(|key| secret.is_some_and(|s| !s.keys.contains_key(**key)));
            let (message, hint) = match (secret, missing) {
                (None, _) => {
                    let known = secrets.keys().map(|name| name.as_str());
                    (
                        format!("there is no Secret {name}"),
                        hint(name.as_str(), "secrets", known),
                    )
                }
                (Some(secret), Some(key)) => {
                    let known = secret.keys.keys().map(String::as_str);
                    (
                        format!("Secret {name} has no key {key}"),
                        hint(key, "its keys", known),
                    )
                }
                (Some(_), None) => return,
            };
            let mine = union.documents.get(id);
            let error = match (mine, union.document(Kind::Secret, name)) {
                (Some(document), _) => document.error(path, message),
                (None, Some(taken)) => taken.error(
                    &["metadata", "name"],
                    format!("{message}, which {id} needs"),
                ),
                (None, None) => return,
            };
            errors.push(ManifestError { hint, ..error });
        };
        for (index, secret) in work.secrets.iter().enumerate() {
            let index = index.to_string();
            let field = if secret.key.is_some() && secrets.contains_key(&secret.name) {
                "key"
            } else {
                "name"
            };
            let key = secret.key.as_deref();
            look(
                &["spec", "secrets", &index, field],
                &secret.name,
                key.as_slice(),
            );
        }
        if let Some(name) = work.pull_secret {
            let whole = secrets
                .get(name)
                .is_some_and(|s| s.keys.contains_key(DOCKER_CONFIG));
            let keys: &[&str] = if whole {
                &[]
            } else {
                &["username", "password"]
            };
            look(&["spec", "pullSecret"], name, keys);
        }
    }
}

/// Nodes register themselves, so a name nobody knows is odd but may become right.
fn nodes(union: &Union<'_>, context: Context<'_>, warnings: &mut Vec<ManifestError>) {
    let announced = union.resources.keys().filter(|id| id.kind == Kind::Node);
    let announced: BTreeSet<&str> = announced.map(|id| id.name.as_str()).collect();
    let known: BTreeSet<&str> = context
        .nodes
        .iter()
        .map(NodeName::as_str)
        .chain(announced)
        .collect();
    let mut look = |document: &Document<'_>, path: &[&str], node: &NodeName| {
        if !known.contains(node.as_str()) {
            let message = format!("no node {node} has registered yet");
            let hint = hint(node.as_str(), "nodes", known.iter().copied());
            warnings.push(ManifestError {
                hint,
                ..document.error(path, message)
            });
        }
    };
    for document in union.documents.values() {
        let placement = match &document.resource {
            Resource::ServiceFunction(object) => {
                for (index, hardware) in object.spec.physical.iter().enumerate() {
                    let path = ["spec", "physical", &index.to_string(), "node"];
                    look(document, &path, &hardware.node);
                }
                &object.spec.placement.nodes
            }
            Resource::Service(object) => &object.spec.placement.nodes,
            Resource::Secret(_) => continue,
            Resource::Chain(object) => {
                look(document, &["spec", "from", "node"], &object.spec.from.node);
                look(document, &["spec", "to", "node"], &object.spec.to.node);
                continue;
            }
            Resource::Node(object) => {
                for (index, link) in object.spec.links.iter().enumerate() {
                    look(
                        document,
                        &["spec", "links", &index.to_string(), "to"],
                        &link.to,
                    );
                }
                continue;
            }
        };
        for (index, node) in placement.iter().enumerate() {
            look(
                document,
                &["spec", "placement", "nodes", &index.to_string()],
                node,
            );
        }
    }
}
