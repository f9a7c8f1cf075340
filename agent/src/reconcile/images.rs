//! Images that were pulled here, and which of them may go when the disk is full: those that no
//! document, no container of ours and no trial needs. What somebody else pulled or built is not ours.

use super::World;
use serde::{Deserialize, Serialize};

/// Most images that are remembered.
const MOST: usize = 1_000;

/// One image as it was pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PulledImage {
    /// The engine's id of it.
    pub id: String,
    /// What it was pulled as; means another image by now, if that was pulled later.
    pub reference: String,
}

/// All of them, the latest last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pulled(Vec<PulledImage>);

impl Pulled {
    /// An image was pulled.
    pub fn record(&mut self, image: PulledImage) {
        self.0.retain(|known| *known != image);
        self.0.push(image);
        let surplus = self.0.len().saturating_sub(MOST);
        self.0.drain(..surplus);
    }

    /// An image has gone.
    pub fn forget(&mut self, image: &PulledImage) {
        self.0.retain(|known| known != image);
    }

    /// What nobody needs, the oldest first.
    pub(super) fn surplus(&self, world: &World<'_>) -> Vec<PulledImage> {
        let newest = |image: &&PulledImage| {
            let mut same = self.0.iter().rev();
            let newest = same.find(|other| other.reference == image.reference);
            newest.is_some_and(|newest| newest.id == image.id)
        };
        let named = |image: &&PulledImage| {
            let mut wanted = world.spec.containers.iter();
            image.reference == world.pause_image || wanted.any(|want| want.image == image.reference)
        };
        let used = |image: &&PulledImage| {
            let mut seen = world.seen.containers.iter();
            let mut kept = world.memory.rollouts.images();
            seen.any(|seen| seen.image_id.as_ref() == Some(&image.id))
                || kept.any(|id| id == image.id)
        };
        let needed = |image: &&PulledImage| used(image) || named(image) && newest(image);
        let free = self.0.iter().filter(|image| !needed(image));
        free.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Action;
    use super::super::model::{Model, container};
    use super::*;
    use kc_agent_api::Network;

    fn image(id: &str, reference: &str) -> PulledImage {
        PulledImage {
            id: id.into(),
            reference: reference.into(),
        }
    }

    fn collected(model: &Model) -> Vec<PulledImage> {
        let actions = model.plan().actions;
        let collect = actions.into_iter().find_map(|action| match action {
            Action::Collect { images } => Some(images),
            _ => None,
        });
        collect.unwrap_or_default()
    }

    #[test]
    fn only_what_nobody_needs_goes_and_only_from_a_full_disk() {
        let mut model = Model::new(vec![container("a", Network::Host)]);
        model.settle();
        for (id, reference) in [
            ("old-app", "app:1"),
            ("gone", "gone:1"),
            ("pause", super::super::model::PAUSE),
            ("app", "app:1"),
        ] {
            model.memory.pulled.record(image(id, reference));
        }
        assert_eq!(collected(&model), []);
        model.memory.disk_full = true;
        // An older image of a name that is in use goes like any other.
        let free = [image("old-app", "app:1"), image("gone", "gone:1")];
        assert_eq!(collected(&model), free);
        // Unless a container still runs it.
        model.seen.containers[0].image_id = Some("old-app".into());
        assert_eq!(collected(&model), free[1..]);
        model.seen.engine = false;
        assert_eq!(collected(&model), []);
    }

    #[test]
    fn a_ledger_that_may_be_old_gives_no_leave_to_remove() {
        let mut model = Model::new(vec![]);
        model.memory.pulled.record(image("gone", "gone:1"));
        model.memory.disk_full = true;
        model.memory.outdated = true;
        assert_eq!(collected(&model), []);
        model.memory.outdated = false;
        assert_eq!(collected(&model).len(), 1);
    }

    #[test]
    fn memory_is_bounded_and_what_comes_again_is_new_again() {
        let mut pulled = Pulled::default();
        for number in 0..=MOST {
            pulled.record(image(&number.to_string(), "x"));
        }
        assert_eq!(pulled.0.len(), MOST);
        assert_eq!(pulled.0[0].id, "1");
        pulled.record(image("1", "x"));
        assert_eq!((pulled.0.len(), pulled.0[0].id.as_str()), (MOST, "2"));
        pulled.forget(&image("1", "x"));
        assert_eq!(pulled.0.len(), MOST - 1);
    }
}
