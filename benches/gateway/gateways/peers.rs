//! The other gateways, each with the configuration that lies in `peers/`.
//!
//! Owns: their commands, paths, headers and names of models. Configurations are templates
//! that get the ports of this run, so that nothing collides with what else runs here.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{ANSWERS_WITHIN, CHAT, Gateway, Held, Kind, first_answer, text};
use crate::driver::{Ports, local};
use crate::machine::{Spawned, variable};
use crate::requests::Target;
use crate::stand::free_port;

/// LiteLLM starts with none that looks weaker.
const LITELLM_KEY: &str = "sk-3f9c1b7a5d2e48f03f9c1b7a5d2e48f0";
/// How failover is asked for where it is by path.
const FAILOVER_PATH: &str = "/failover/v1/chat/completions";

pub(super) fn envoy() -> String {
    variable("ENVOY_BIN").unwrap_or_else(|| "envoy".to_owned())
}

pub(super) fn litellm() -> String {
    variable("LITELLM_BIN").unwrap_or_else(|| "litellm".to_owned())
}

/// A command, and how what it starts is asked.
struct Plan {
    words: Vec<String>,
    environment: Vec<(&'static str, &'static str)>,
    plain: Target,
    failover: Target,
}

struct Site<'a> {
    ports: Ports,
    listen: u16,
    folder: &'a Path,
}

impl Site<'_> {
    /// Fills a template in and writes it; its path.
    fn write(&self, name: &str, template: &str) -> Result<String> {
        let filled = template
            .replace("@LISTEN@", &self.listen.to_string())
            .replace("@MAIN@", &self.ports.main.to_string())
            .replace("@BAD@", &self.ports.bad.to_string())
            .replace("@GOOD@", &self.ports.good.to_string());
        let file = self.folder.join(name);
        std::fs::write(&file, filled)?;
        text(&file)
    }

    fn target(&self, path: &str, model: &str) -> Target {
        Target {
            to: local(self.listen),
            path: path.to_owned(),
            model: model.to_owned(),
            headers: vec![("authorization", "Bearer sk-mock".to_owned())],
        }
    }

    /// Failover is behind a path of its own.
    fn by_path(&self, words: &[&str]) -> Plan {
        Plan {
            words: words.iter().map(ToString::to_string).collect(),
            environment: Vec::new(),
            plain: self.target(CHAT, "mock-model"),
            failover: self.target(FAILOVER_PATH, "mock-model"),
        }
    }

    fn tensorzero(&self) -> Result<Plan> {
        let script = self.write("start.py", include_str!("../peers/tensorzero.py"))?;
        let config = self.write("tensorzero.toml", include_str!("../peers/tensorzero.toml"))?;
        let path = "/openai/v1/chat/completions";
        let model = |name: &str| format!("tensorzero::model_name::{name}");
        let python = variable("TENSORZERO_PY").unwrap_or_default();
        Ok(Plan {
            words: vec![python, script, config],
            environment: Vec::new(),
            plain: self.target(path, &model("mock-model")),
            failover: self.target(path, &model("failover")),
        })
    }

    /// Its configuration comes with each request.
    fn portkey(&self) -> Plan {
        let script = variable("PORTKEY_JS").unwrap_or_default();
        let port = format!("--port={}", self.listen);
        let mut plan = self.by_path(&["node", &script, &port, "--headless"]);
        plan.environment.push(("NODE_ENV", "production"));
        let lane = |port: u16| {
            serde_json::json!({
                "provider": "openai", "api_key": "sk-mock",
                "custom_host": format!("http://{}/v1", local(port)),
            })
        };
        let failover = serde_json::json!({
            "strategy": { "mode": "fallback" },
            "targets": [lane(self.ports.bad), lane(self.ports.good)],
        });
        plan.failover = self.target(CHAT, "mock-model");
        for (target, config) in [
            (&mut plan.plain, lane(self.ports.main)),
            (&mut plan.failover, failover),
        ] {
            target.headers = vec![("x-portkey-config", config.to_string())];
        }
        plan
    }

    fn litellm(&self) -> Result<Plan> {
        let config = self.write("litellm.yaml", include_str!("../peers/litellm.yaml"))?;
        let port = self.listen.to_string();
        let options = ["--host", "127.0.0.1", "--num_workers", "1", "--port", &port];
        let words = [&["--config", &config], &options[..]].concat();
        let mut plan = self.by_path(&words);
        plan.words.insert(0, litellm());
        plan.environment = vec![
            ("LITELLM_MASTER_KEY", LITELLM_KEY),
            ("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
            ("LITELLM_MODE", "PRODUCTION"),
        ];
        plan.failover = self.target(CHAT, "failover");
        for target in [&mut plan.plain, &mut plan.failover] {
            target.headers = vec![("authorization", format!("Bearer {LITELLM_KEY}"))];
        }
        Ok(plan)
    }

    fn plan(&self, kind: Kind) -> Result<Plan> {
        match kind {
            Kind::Nginx => {
                let config = self.write("nginx.conf", include_str!("../peers/nginx.conf"))?;
                let folder = text(self.folder)?;
                Ok(self.by_path(&["nginx", "-p", &folder, "-c", &config]))
            }
            Kind::Haproxy => {
                let config = self.write("haproxy.cfg", include_str!("../peers/haproxy.cfg"))?;
                Ok(self.by_path(&["haproxy", "-db", "-f", &config]))
            }
            Kind::Envoy => {
                let config = self.write("envoy.yaml", include_str!("../peers/envoy.yaml"))?;
                let options = [
                    "--concurrency",
                    "1",
                    "--use-dynamic-base-id",
                    "-l",
                    "warning",
                ];
                let program = envoy();
                let words = [&[&*program, "-c", &config], &options[..]].concat();
                Ok(self.by_path(&words))
            }
            Kind::Tensorzero => self.tensorzero(),
            Kind::Portkey => Ok(self.portkey()),
            Kind::Litellm => self.litellm(),
            Kind::Direct | Kind::Spillway => bail!("{} is no peer", kind.name()),
        }
    }
}

/// The port that a gateway chose by itself and printed in a URL.
async fn printed_port(process: &mut Spawned) -> Result<u16> {
    let began = Instant::now();
    while began.elapsed() < ANSWERS_WITHIN {
        let output = process.output();
        let rest = output.split_once("http://127.0.0.1:").map(|(_, rest)| rest);
        let digits = rest.and_then(|rest| rest.split_once(|c: char| !c.is_ascii_digit()));
        if let Some((digits, _)) = digits {
            return digits.parse().context("a port");
        }
        process.check()?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bail!("it printed no address:\n{}", process.last_words())
}

pub(super) async fn start(kind: Kind, ports: Ports, folder: &Path) -> Result<Gateway> {
    std::fs::create_dir_all(folder)?;
    let listen = free_port();
    let site = Site {
        ports,
        listen,
        folder,
    };
    let mut plan = site.plan(kind)?;
    let began = Instant::now();
    let mut process = Spawned::start(&plan.words, folder, &plan.environment)?;
    if kind == Kind::Tensorzero {
        let port = printed_port(&mut process).await?;
        (plan.plain.to, plan.failover.to) = (local(port), local(port));
    }
    let first_answer = first_answer(&plan.plain, &mut process, began).await?;
    Ok(Gateway {
        kind,
        plain: plan.plain,
        failover: Some(plan.failover),
        pid: Some(process.pid),
        first_answer,
        held: Held::Peer(Box::new(process)),
    })
}
