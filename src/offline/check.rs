//! `spillway check`: a policy or a configuration, and what is wrong with it.

use anyhow::Context as _;
use spillway_control_plane::policy;
use spillway_proto::envelope::SecretKey;

use super::train::faulty;
use crate::bucket;
use crate::command::CheckArgs;
use crate::config;
use crate::output::say;

pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<()> {
    let path = &args.file;
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let is_configuration = text.lines().any(|line| {
        let line = line.trim_start();
        line.starts_with("[control]") || line.starts_with("[proxy")
    });
    if is_configuration {
        let file = config::read(path)?;
        let together = file.control.is_some();
        if let Some(control) = file.control {
            spillway_control_plane::config::Config::resolve(control, &bucket::open)
                .with_context(|| path.display().to_string())?;
        }
        if let Some(mut proxy) = file.proxy {
            if together && proxy.trusted_keys.is_empty() {
                // `spillway all` trusts the control plane beside it; any key stands for it.
                proxy
                    .trusted_keys
                    .push(SecretKey::from_seed([0; 32]).public().to_string());
            }
            let resolved = spillway_data_plane::config::Config::resolve(
                proxy,
                &config::environment,
                &bucket::open,
            );
            resolved.with_context(|| format!("{} [proxy]", path.display()))?;
        }
    } else {
        let faults = policy::faults(&text);
        if !faults.is_empty() {
            return Err(faulty(&faults).context(path.display().to_string()));
        }
    }
    say!("{}: ok", path.display());
    Ok(())
}
