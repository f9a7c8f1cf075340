//! What the pipeline does because time has passed, and not because a frame came. Each part says
//! when it wants to be called; where no part is in use, nobody waits.

use super::Pipeline;
use super::run::Run;
use crate::pipeline::Outputs;

impl Pipeline {
    /// When [`tick`](Self::tick) has something to do, on the clock of
    /// [`process`](Self::process); `None` while nothing waits for a time. Cheap: to be asked
    /// before every wait.
    pub fn next_deadline(&self) -> Option<u64> {
        let parts = [
            self.state.lan.next_deadline(),
            self.state.oam.under_way.earliest_ms(),
            self.state.health.next_ms(),
            self.state.fragments.next_deadline(),
        ];
        parts.into_iter().flatten().min()
    }

    /// Does what is due at `now_ms` and puts the frames that come of it into `out`. Calling it
    /// early or late does no harm.
    pub fn tick(&mut self, now_ms: u64, out: &mut Outputs) {
        let Self { tables, state } = self;
        state.taps.begin_own();
        let mut run = Run {
            tables,
            state,
            now_ms,
            out,
        };
        run.tick_neighbours();
        run.give_up_echoes();
        run.probe_who_is_due();
        run.drop_orphans();
    }
}
