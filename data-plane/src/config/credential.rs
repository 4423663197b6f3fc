//! What is behind a credential's name.
//!
//! Owns: the kinds of credentials, and reading each from where the configuration says it
//! is. Knows no providers.

use spillway_routing::id::CredentialName;

use super::{ConfigError, Env, RawCredential};
use crate::aws::AwsKeys;
use crate::secret::{Auth, Secret};

/// How this proxy shows itself to a provider.
#[derive(Clone, Debug)]
pub enum Credential {
    /// The provider wants none.
    None,
    Key(Secret),
    /// Requests are signed.
    Aws(AwsKeys),
}

pub(super) fn read(
    raw: &RawCredential,
    env: Env<'_>,
) -> Result<(CredentialName, Credential), ConfigError> {
    let field = format!("credentials[{}]", raw.name);
    let flawed = |flaw: String| ConfigError::new(&field, flaw);
    let credential = match (&raw.env, &raw.file, raw.aws, raw.none) {
        (Some(variable), None, false, false) => {
            let unset = || flawed(format!("variable {variable} is not set"));
            Credential::Key(Secret::new(&env(variable).ok_or_else(unset)?))
        }
        (None, Some(path), false, false) => {
            let unread = |e: std::io::Error| flawed(format!("cannot read {}: {e}", path.display()));
            Credential::Key(Secret::new(&std::fs::read_to_string(path).map_err(unread)?))
        }
        (None, None, true, false) => Credential::Aws(AwsKeys::found(env).map_err(flawed)?),
        (None, None, false, true) => Credential::None,
        _ => {
            let flaw = "needs exactly one of env, file, aws = true, none = true";
            return Err(flawed(flaw.to_owned()));
        }
    };
    if let Credential::Key(key) = &credential
        && (key.is_empty() || key.header(Auth::Bearer).is_none())
    {
        return Err(flawed("is empty or cannot stand in a header".to_owned()));
    }
    Ok((CredentialName::new(&raw.name), credential))
}
