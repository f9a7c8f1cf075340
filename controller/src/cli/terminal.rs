//! The terminal of whoever runs kc: its size, and raw mode, which is taken back however kc ends
//! short of SIGKILL.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{IsTerminal as _, stderr, stdin, stdout};
use std::sync::{Mutex, Once, PoisonError};

/// How the terminal was.
static FORMER: Mutex<Option<Termios>> = Mutex::new(None);

/// Rows and columns, where there is a terminal.
pub(super) fn size() -> Option<(u16, u16)> {
    let sizes = [
        tcgetwinsize(stdout()),
        tcgetwinsize(stdin()),
        tcgetwinsize(stderr()),
    ];
    let size = sizes.into_iter().find_map(Result::ok)?;
    Some((size.ws_row, size.ws_col))
}

/// Whether standard input is a terminal.
pub(super) fn is_input() -> bool {
    stdin().is_terminal()
}

/// Raw mode: every key goes to whoever is at the other end. Ends when dropped.
#[derive(Debug)]
pub(super) struct Raw(());

impl Raw {
    /// Switches standard input to raw mode.
    pub(super) fn enter() -> std::io::Result<Self> {
        static HOOK: Once = Once::new();
        // A release build aborts on a panic, and drops nothing.
        HOOK.call_once(|| {
            let former = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                former(panic);
            }));
        });
        let was = tcgetattr(stdin())?;
        let mut raw = was.clone();
        raw.make_raw();
        *FORMER.lock().unwrap_or_else(PoisonError::into_inner) = Some(was);
        let entered = Self(());
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(entered)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    let former = FORMER.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(former) = former {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &former);
    }
}
