//! Which rule and which hop of the former tables each of the new ones continues. Found out before
//! the new tables are handed to the packet thread: of a hundred thousand names it would take that
//! longer than queues are.

use super::Compiled;
use rustc_hash::FxHashMap;

/// Nothing is continued.
const NEW: u32 = u32::MAX;

/// Places in the former tables, by place in the new ones.
#[derive(Debug, Clone)]
pub(crate) struct Heritage {
    /// Generation of the former tables.
    of: u64,
    rules: Vec<u32>,
    hops: Vec<u32>,
}

impl Heritage {
    /// What `new` continues of `former`.
    pub(crate) fn between(former: &Compiled, new: &Compiled) -> Self {
        let held: FxHashMap<&String, u32> = names(former).zip(0..).collect();
        let rules = names(new).map(|name| held.get(name).copied().unwrap_or(NEW));
        let mut hops = vec![NEW; new.steering.len()];
        for hop in new.steering.iter() {
            if let (Some(held), Some(place)) = (
                former.steering.get(hop.key),
                hops.get_mut(hop.number as usize),
            ) {
                *place = held.number;
            }
        }
        Self {
            of: former.generation(),
            rules: rules.collect(),
            hops,
        }
    }

    /// Whether it is about tables of this generation.
    pub(crate) fn is_of(&self, generation: u64) -> bool {
        self.of == generation
    }

    /// What belongs to the new rules, out of what belonged to the former ones.
    pub(crate) fn rules<T: Copy + Default>(&self, former: &[T]) -> Vec<T> {
        continued(&self.rules, former)
    }

    /// What belongs to the new hops, out of what belonged to the former ones.
    pub(crate) fn hops<T: Copy + Default>(&self, former: &[T]) -> Vec<T> {
        continued(&self.hops, former)
    }
}

fn names(tables: &Compiled) -> impl Iterator<Item = &String> {
    tables.tables().rules.iter().map(|rule| &rule.name)
}

fn continued<T: Copy + Default>(places: &[u32], former: &[T]) -> Vec<T> {
    let held = |place: &u32| former.get(*place as usize).copied().unwrap_or_default();
    places.iter().map(held).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(generation: u64, rules: &[&str], paths: &[u32]) -> Compiled {
        let mut text = format!("generation = {generation}\n[[ports]]\nname = \"p\"\n");
        for name in rules {
            text += &format!("[[rules]]\nname = \"{name}\"\naction = \"drop\"\n");
        }
        for spi in paths {
            let hops = "[{ si = 255, to = { egress = { port = \"p\" } } }]";
            text += &format!("[[paths]]\nspi = {spi}\nhops = {hops}\n");
        }
        Compiled::new(toml::from_str(&text).unwrap()).unwrap()
    }

    #[test]
    fn what_stays_keeps_what_it_had_wherever_it_moves() {
        let former = compiled(1, &["a", "b", "c"], &[7, 8, 9]);
        let new = compiled(2, &["c", "x", "a"], &[9, 10, 7, 8]);
        let heritage = Heritage::between(&former, &new);
        assert!(heritage.is_of(1) && !heritage.is_of(2));
        assert_eq!(heritage.rules(&[10, 20, 30]), [30, 0, 10]);
        assert_eq!(heritage.hops(&[70, 80, 90]), [90, 0, 70, 80]);
    }
}
