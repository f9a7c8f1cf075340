//! A probe under way: carries frames between its endpoint and the pipeline, and hands the report
//! to whoever asked.

use super::later::Promise;
use super::worker::Worker;
use crate::pipeline::Ingress;
use crate::probe::Session;
use kc_forwarder_api::{ControlError, ErrorCode, ProbeError, Response};
use std::time::Duration;

/// Turns between endpoint and pipeline before others are served.
const TURNS: usize = 16;

/// The only probe.
pub(super) struct Probing {
    session: Session,
    promise: Promise,
}

fn refusal(code: ErrorCode, message: String) -> Response {
    Response::Error {
        error: ControlError { code, message },
    }
}

impl Worker {
    /// Begins a probe, unless one is under way.
    pub(super) fn begin_probe(&mut self, session: Session, promise: Promise) {
        if let Some(other) = &self.probing {
            let port = other.session.port();
            let message = format!("a probe by port {port} is under way; try again when it is over");
            return promise.keep(refusal(ErrorCode::Busy, message));
        }
        if !self.pipeline.admit(session.port(), session.mac()) {
            let message = format!("there is no access port {}", session.port());
            return promise.keep(refusal(ErrorCode::Invalid, message));
        }
        self.probing = Some(Probing { session, promise });
    }

    /// How long the probe under way can wait.
    pub(super) fn probe_due(&mut self) -> Option<Duration> {
        let now_us = self.microseconds();
        let probing = self.probing.as_mut()?;
        let due_us = probing.session.due_us(now_us);
        Some(Duration::from_micros(due_us.saturating_sub(now_us)))
    }

    /// Carries the probe on, as far as it goes now.
    pub(super) fn go_on_probing(&mut self) {
        for _ in 0..TURNS {
            let now_us = self.microseconds();
            let Some(Probing { session, promise }) = &mut self.probing else {
                return;
            };
            if !promise.is_awaited() {
                self.end_probe();
                return;
            }
            if !self.pipeline.has_guest() {
                if let Some(probing) = self.end_probe() {
                    let Probing { session, promise } = probing;
                    let report = session.cut_short(ProbeError::PortGone);
                    promise.keep(Response::Probe { report });
                }
                return;
            }
            let take = |frame: &[u8]| session.accept(now_us, frame);
            self.pipeline.feed_guest(&mut self.outputs, take);
            session.poll(now_us, &mut self.batch);
            if let Some(report) = session.report() {
                // What it sends last, such as a reset, is on its way before the answer.
                self.process(now_us / 1000, Ingress::Guest);
                if let Some(probing) = self.end_probe() {
                    probing.promise.keep(Response::Probe { report });
                }
                return;
            }
            if self.batch.is_empty() {
                return;
            }
            self.process(now_us / 1000, Ingress::Guest);
        }
    }

    fn end_probe(&mut self) -> Option<Probing> {
        self.pipeline.dismiss();
        self.probing.take()
    }

    fn microseconds(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
