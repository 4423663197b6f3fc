//! The configuration file: one TOML, each section typed by its plane.
//!
//! Owns: reading the file and saying where it is wrong. What a setting means is its
//! plane's business.

use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

/// The file as typed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// The form of this file; 1.
    pub(crate) version: u32,
    pub(crate) control: Option<spillway_control_plane::config::RawConfig>,
    pub(crate) proxy: Option<spillway_data_plane::config::RawConfig>,
}

/// Reads a configuration file.
///
/// # Errors
///
/// Names the file, and the line and field that is wrong.
pub(crate) fn read(path: &Path) -> anyhow::Result<File> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    let file: File =
        toml::from_str(&text).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    anyhow::ensure!(
        file.version == 1,
        "{}: version {} is not known; this build reads version 1",
        path.display(),
        file.version
    );
    Ok(file)
}

/// The environment, handed to whoever resolves a configuration.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::vars()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
}
