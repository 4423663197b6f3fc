//! How large that which is learnt may become.
//!
//! Owns: the largest shapes that are trained. They keep the heads of 16 models within
//! 64 KiB and those of 64 within 256 (`proto` measures it), so that a retrained table
//! reaches a large fleet quickly. What a table is checked against is wider
//! (`check/learned.rs`): another build may train other shapes.

/// Slices with a cell of their own; those with the most prompts have it.
pub const SLICES_MAX: usize = 24;
pub const CLUSTERS_MAX: usize = 96;
pub const TREES: usize = 8;
/// Of each tree.
pub const LEAVES_MAX: usize = 64;
pub const NETWORKS: usize = 3;
/// Of each network's hidden layer.
pub const UNITS: usize = 64;
/// Of a calibration curve: every sixteenth.
pub const KNOTS: usize = 17;
