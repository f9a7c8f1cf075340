//! Room on the engine's disk: images that nobody needs go when it is nearly full.

use super::Keeper;
use crate::docker;
use crate::load::{disk, percent};
use crate::reconcile::{Lane, PulledImage};
use bollard::Docker;
use kc_agent_api::EventKind;
use std::path::PathBuf;

/// By how many percent of the disk it goes below the mark, so that it does not go on at every pull.
const STEP: u8 = 5;

/// When a disk has room again.
#[derive(Debug, Clone)]
pub(super) struct Room {
    data_root: PathBuf,
    below: u8,
}

impl Room {
    fn is_there(&self) -> bool {
        percent(disk(&self.data_root).unwrap_or_default()) < self.below
    }
}

/// Removes images until there is room; returns those that have gone.
pub(super) async fn collect(
    docker: &Docker,
    images: Vec<PulledImage>,
    room: Room,
) -> Vec<PulledImage> {
    let mut gone = Vec::new();
    for image in images {
        if room.is_there() {
            break;
        }
        match docker::remove_image(docker, &image).await {
            Ok(true) => gone.push(image),
            Ok(false) => tracing::debug!(image.reference, "somebody else uses it"),
            Err(error) => tracing::warn!("{}", super::explain(&error)),
        }
    }
    gone
}

impl Keeper {
    pub(super) fn room(&self) -> Room {
        let data_root = self.data_root.clone();
        Room {
            data_root: data_root.unwrap_or_else(|| crate::agent::DATA_ROOT.into()),
            below: self.settings.image_gc_percent.saturating_sub(STEP),
        }
    }

    /// The disk is this full.
    pub(super) fn on_disk(&mut self, percent: u8) {
        let mark = self.settings.image_gc_percent;
        // 100 is never: a full disk may well be all of it.
        self.memory.disk_full = mark < 100 && percent >= mark;
        if !self.memory.disk_full {
            self.memory.backoffs.succeeded(&Lane::Images);
        }
    }

    /// An image was pulled.
    pub(super) async fn pulled(&mut self, id: &str, reference: &str) {
        self.memory.pulled.record(PulledImage {
            id: id.to_owned(),
            reference: reference.to_owned(),
        });
        self.keep_pulled().await;
    }

    /// Images have gone; those that could not are tried again later.
    pub(super) async fn collected(&mut self, gone: Vec<PulledImage>) {
        let (now, jitter) = (self.now_ms(), fastrand::f64());
        self.memory.backoffs.failed(Lane::Images, now, jitter);
        if gone.is_empty() {
            return;
        }
        for image in &gone {
            self.memory.pulled.forget(image);
        }
        self.keep_pulled().await;
        let names: Vec<_> = gone.iter().map(|image| image.reference.as_str()).collect();
        let told = format!(
            "the disk is nearly full; removed what nobody needs: {}",
            names.join(", ")
        );
        self.event(EventKind::ImagesRemoved, "images", told);
    }

    async fn keep_pulled(&mut self) {
        let (ledger, pulled) = (self.ledger.clone(), self.memory.pulled.clone());
        let stored = tokio::task::spawn_blocking(move || ledger.store_pulled(&pulled)).await;
        match stored {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.ledger_trouble(&error),
            Err(error) => tracing::error!(%error, "the ledger's writer ended early"),
        }
    }
}
