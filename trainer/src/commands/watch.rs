use std::io::{self, Write};
use std::path::Path;

use tui::{Access, WatchOptions};

use crate::TrainError;
use crate::cli::{FrameSize, WatchArgs};

/// The frame of `--once` where no size is given.
const DEFAULT_SIZE: FrameSize = FrameSize {
    columns: 120,
    rows: 40,
};

/// Shows a run until the user leaves, or prints one frame of it.
pub(super) fn run(args: &WatchArgs) -> Result<(), TrainError> {
    if !args.once {
        let options = WatchOptions {
            access: match args.read_only {
                true => Access::ReadOnly,
                false => Access::Control,
            },
            trainer: None,
        };
        return Ok(tui::watch(&args.run_dir, options)?);
    }
    let FrameSize { columns, rows } = args.size.unwrap_or(DEFAULT_SIZE);
    let frame = tui::render_once(&args.run_dir, columns, rows)?;
    let stdout = Path::new("standard output");
    io::stdout()
        .write_all(frame.as_bytes())
        .map_err(TrainError::io(stdout))
}
