//! Standard output, where results go.
//!
//! Owns: writing to it. A reader that went away (`| head`) wants no more: that is no
//! error, and a plain print would panic.

/// One line.
macro_rules! say {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($arg)*);
    }};
}

/// Text that brings its own line ends.
macro_rules! tell {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        let _ = write!(std::io::stdout(), $($arg)*);
    }};
}

pub(crate) use {say, tell};
