//! Shortest path: the fewest hops in all, from the ingress SFF over every function to the egress
//! SFF as far as the ends are known. Among equally short paths the one with the least load in
//! sum, then the first by name.

use super::layers::Layers;
use super::survey::Seen;
use super::{Choice, NoPath, Request, Scheduler};
use crate::resource::Length;

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct ShortestPath;

impl Scheduler for ShortestPath {
    fn name(&self) -> String {
        "shortest-path".to_owned()
    }

    fn schedule(&self, request: &Request<'_>) -> Result<Choice, NoPath> {
        let layers = Layers::new(request)?;
        let path = layers.cheapest(f32::INFINITY)?;
        let all = layers.hops(&path);
        let length = request.topology.length();
        let why = |_: &Seen<'_>, taken, hops: Option<u32>| match (taken, hops) {
            (true, _) => format!("{} in all", length.words(all)),
            (false, Some(hops)) if hops == all => {
                "as short, but more loaded in sum or later by name".to_owned()
            }
            (false, Some(hops)) => format!("{} in all by it", length.words(hops)),
            (false, None) => "no way through it".to_owned(),
        };
        let rule = match length {
            Length::Hops => "on the path with the fewest hops in all",
            Length::Latency => "on the quickest path",
        };
        Ok(layers.tell(self.name(), &path, f32::INFINITY, rule, why))
    }
}
