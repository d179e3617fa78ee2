//! Signals. Ctrl-C and SIGTERM: the run saves a checkpoint at the next step and ends; a second one
//! ends it at once. SIGHUP, which comes when a terminal closes or a connection breaks, is ignored:
//! nobody asked the run to end.

use std::io;
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
            let installed = on_stop_signal(move || {
                if ASKED_BEFORE.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
                crate::say!("\nstopping after this step; again to stop at once");
                handle.stop(Some("signal"));
            });
            // Without a handler a signal ends the process, and the last checkpoint is whole.
            if let Err(error) = installed {
                crate::say::warning(&format!("Ctrl-C will not save a checkpoint: {error}"));
            }
            interrupter
        })
        .clone()
}

/// From now on the process outlives its terminal. For a training run, before it does anything that
/// takes time.
pub fn ignore_hangup() {
    #[cfg(unix)]
    {
        use signal_hook::{consts::SIGHUP, flag};
        // A handler that only sets a flag, and nobody looks at the flag.
        if let Err(error) = flag::register(SIGHUP, Default::default()) {
            crate::say::warning(&format!("closing the terminal will end the run: {error}"));
        }
    }
}

/// Calls `action` on a thread of its own, at each Ctrl-C and SIGTERM.
#[cfg(unix)]
fn on_stop_signal(action: impl Fn() + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || signals.forever().for_each(|_| action()))?;
    Ok(())
}

/// Calls `action` on a thread of its own, at each Ctrl-C and Ctrl-Break.
#[cfg(not(unix))]
fn on_stop_signal(action: impl Fn() + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(action).map_err(io::Error::other)
}
