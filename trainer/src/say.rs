//! Lines for the person who watches, on standard error.

use std::fmt::Arguments;
use std::io::Write;

/// As `eprintln!`, but where standard error cannot be written the line is lost and nothing else: it
/// may lead to a file on a disk that is full, or to a terminal that is gone, and `eprintln!` would
/// end a run of days with a panic.
#[macro_export]
macro_rules! say {
    ($($line:tt)*) => {
        $crate::say::line(format_args!($($line)*))
    };
}

/// Writes a line; see [`say!`].
pub fn line(line: Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
