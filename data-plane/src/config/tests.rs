//! What operators type, and what they hear.

use object_store::memory::InMemory;

use super::*;

const KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

fn resolve(change: impl Fn(&str) -> String) -> Result<Config, ConfigError> {
    let text = format!(
        r#"
        name = "proxy-1"
        data_dir = "/tmp/x"
        trusted_keys = ["{KEY}"]
        [feed]
        kind = "etcd"
        endpoints = ["http://127.0.0.1:2379"]
        [[providers]]
        id = "openai"
        base_url = "https://api.openai.com/v1/"
        [[credentials]]
        name = "openai-key"
        env = "OPENAI_API_KEY"
        [[keys]]
        id = "team"
        sha256 = "{KEY}"
        "#
    );
    let raw: RawConfig =
        toml::from_str(&change(&text)).map_err(|e| ConfigError::new("toml", e.to_string()))?;
    let env = |name: &str| (name == "OPENAI_API_KEY").then(|| "sk-canary".to_owned());
    let bucket = |url: &str| -> Result<(Arc<dyn ObjectStore>, String), String> {
        let known = url == "s3://kept/jobs";
        let bucket = || (Arc::new(InMemory::new()) as _, "jobs".to_owned());
        known
            .then(bucket)
            .ok_or_else(|| format!("{url} is unknown"))
    };
    Config::resolve(raw, &env, &bucket)
}

#[test]
fn a_good_file_resolves_with_safe_defaults() {
    let config = resolve(str::to_owned).unwrap();
    assert!(config.listen.ip().is_loopback() && config.admin_listen.ip().is_loopback());
    assert_eq!(
        config.providers[&ProviderId::new("openai")].base_url,
        "https://api.openai.com/v1"
    );
    assert_eq!(config.limits.body_bytes, 8 << 20);
    assert!(!format!("{config:?}").contains("canary"));
}

#[test]
fn requests_to_aws_are_signed_for_the_region_of_their_host() {
    let region = |url: &str, more: &str| {
        let provider = format!("[[providers]]\nid = \"aws\"\nbase_url = \"{url}\"\n{more}");
        let config = resolve(|text| {
            let text = text.replace("env = \"OPENAI_API_KEY\"", "aws = true");
            format!("{text}\n{provider}")
        });
        let config = config.unwrap();
        let credential = &config.credentials[&CredentialName::new("openai-key")];
        assert!(matches!(credential, Credential::Aws(_)));
        config.providers[&ProviderId::new("aws")].region.clone()
    };
    let host = "https://bedrock-runtime.eu-central-1.amazonaws.com";
    assert_eq!(region(host, "").as_deref(), Some("eu-central-1"));
    assert_eq!(region("https://gateway.example", ""), None);
    let said = region("https://gateway.example", "region = \"us-west-2\"");
    assert_eq!(said.as_deref(), Some("us-west-2"));
    let both = resolve(|text| text.replace("env = ", "aws = true\nenv = "));
    assert_eq!(both.unwrap_err().field, "credentials[openai-key]");
}

#[test]
fn each_flaw_names_its_field() {
    let replaced = |from: &'static str, to: &'static str| {
        resolve(move |text| text.replace(from, to))
            .unwrap_err()
            .field
    };
    assert_eq!(replaced("proxy-1", "a/b"), "name");
    assert_eq!(
        replaced("OPENAI_API_KEY", "MISSING"),
        "credentials[openai-key]"
    );
    assert_eq!(
        replaced("https://api", "http://api"),
        "providers[openai].base_url"
    );
    for host in [
        "https://10.0.0.1/",
        "https://169.254.169.254/",
        "https://[::1]/",
        "https://localhost/",
        "https://u@x.com/",
    ] {
        let url = format!("{host}v1");
        let error =
            resolve(move |text| text.replace("https://api.openai.com/v1/", &url)).unwrap_err();
        assert_eq!(error.field, "providers[openai].base_url", "{host}");
    }
    assert_eq!(
        replaced("trusted_keys = [", "trusted_keys = [] # ["),
        "trusted_keys"
    );
    assert_eq!(
        replaced("[\"http://127.0.0.1:2379\"]", "[]"),
        "feed.endpoints"
    );
    assert_eq!(
        replaced("kind = \"etcd\"", "kind = \"etcd\"\nnope = 1"),
        "toml"
    );
    assert_eq!(
        replaced("[feed]", "[limits]\nidle_ms = 0\n[feed]"),
        "limits.idle_ms"
    );
}

#[test]
fn beyond_loopback_takes_keys_and_tls() {
    let open = |rest: &str| resolve(move |text| format!("listen = \"0.0.0.0:80\"\n{rest}\n{text}"));
    assert_eq!(open("").unwrap_err().field, "listen");
    assert!(open("behind_tls_proxy = true").is_ok());
    let keyless = resolve(|text| {
        let cut = text.find("[[keys]]").unwrap();
        format!(
            "listen = \"0.0.0.0:80\"\nbehind_tls_proxy = true\n{}",
            &text[..cut]
        )
    });
    assert!(keyless.unwrap_err().flaw.contains("[[keys]]"));
}

#[test]
fn the_keys_of_an_sdk_are_for_the_one_provider_that_is_meant() {
    let second = |host: &str, more: &str| {
        let more = format!("[[providers]]\nid = \"two\"\nbase_url = \"{host}\"\n{more}\n");
        resolve(move |text| text.replacen("[[providers]]", &format!("{more}[[providers]]"), 1))
    };
    let taker = |config: Config| {
        let taker = config.sdk_keys.get(&Sdk::OpenAi);
        taker.map(ToString::to_string)
    };
    let taken = |config: Result<Config, ConfigError>| taker(config.unwrap());
    let (home, away) = ("https://api.openai.com/v1", "https://eu.example.com/v1");
    assert_eq!(taken(resolve(str::to_owned)).as_deref(), Some("openai"));
    assert_eq!(taken(second(away, "")).as_deref(), Some("openai"));
    assert_eq!(
        taken(second(away, "sdk = \"openai\"")).as_deref(),
        Some("two")
    );
    // Two at the SDK's own host: somebody has to say which.
    assert_eq!(taken(second(home, "")), None);
    assert_eq!(
        taken(second(home, "sdk = \"openai\"")).as_deref(),
        Some("two")
    );
    assert_eq!(
        second(away, "sdk = \"cohere\"").unwrap_err().field,
        "providers[two].sdk"
    );
    let twice = second(
        away,
        "sdk = \"openai\"\n[[providers]]\nid = \"three\"\nbase_url = \"https://x\"\nsdk = \"openai\"",
    );
    assert_eq!(twice.unwrap_err().field, "providers[three].sdk");
}

#[test]
fn jobs_are_kept_in_a_folder_or_in_a_bucket() {
    let jobs = |lines: &str| {
        let lines = format!("[jobs]\n{lines}\n[[providers]]");
        let config = resolve(move |text| text.replacen("[[providers]]", &lines, 1));
        config.map(|config| config.jobs.unwrap().place)
    };
    let place = jobs("folder = \"/tmp/x\"").unwrap();
    assert!(matches!(place, JobsPlace::Folder(folder) if folder.ends_with("x")));
    let place = jobs("bucket = \"s3://kept/jobs\"").unwrap();
    assert!(matches!(place, JobsPlace::Bucket(_)));
    let flaw = jobs("bucket = \"s3://gone\"").unwrap_err();
    assert_eq!(flaw.to_string(), "jobs.bucket: s3://gone is unknown");
    for lines in ["", "folder = \"/tmp/x\"\nbucket = \"s3://kept/jobs\""] {
        assert_eq!(jobs(lines).unwrap_err().field, "jobs");
    }
}
