//! `spillway key`: a new key for a caller.

use anyhow::Context as _;
use spillway_control_plane::token;

use crate::command::KeyArgs;
use crate::output::say;

pub(crate) fn run(args: &KeyArgs) -> anyhow::Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if args.name.is_empty() || !args.name.chars().all(fits) {
        anyhow::bail!("the name must be letters, digits, '-' and '_', e.g. team-a");
    }
    let made = token::caller_key().context("no key could be drawn")?;
    say!("{}", made.key);
    say!();
    say!("Give it to its caller; it is kept nowhere. This goes into the policy:");
    say!();
    say!("[keys.{}]", args.name);
    say!("sha256 = \"{}\"", made.sha256);
    Ok(())
}
