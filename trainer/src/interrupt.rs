//! Ctrl-C, SIGTERM and SIGHUP: the run saves a checkpoint at the next step and ends. A second one ends it
//! at once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use burn_train::Interrupter;

/// The interrupter that signals stop. The first call installs the handler.
pub fn on_signal() -> Interrupter {
    static INTERRUPTER: OnceLock<Interrupter> = OnceLock::new();
    static ASKED_BEFORE: AtomicBool = AtomicBool::new(false);
    INTERRUPTER
        .get_or_init(|| {
            let interrupter = Interrupter::new();
            let handle = interrupter.clone();
            let installed = ctrlc::set_handler(move || {
                if ASKED_BEFORE.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
                crate::say!("\nstopping after this step; again to stop at once");
                handle.stop(Some("signal"));
            });
            // Without a handler a signal ends the process, and the last checkpoint is whole.
            if let Err(error) = installed {
                crate::say!("warning: Ctrl-C will not save a checkpoint: {error}");
            }
            interrupter
        })
        .clone()
}
