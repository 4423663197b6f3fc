//! The `spillway` binary as a child process, with its output kept.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use super::PATIENCE;

pub(crate) struct Process {
    name: String,
    child: Option<Child>,
    output: Arc<Mutex<String>>,
}

/// What a command that ended left behind.
pub(crate) struct Done {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The binary of this build; `SPILLWAY_BIN` names another, e.g. an optimised one.
fn binary() -> String {
    let named = std::env::vars().find(|(name, _)| name == "SPILLWAY_BIN");
    named.map_or_else(
        || env!("CARGO_BIN_EXE_spillway").to_owned(),
        |(_, path)| path,
    )
}

/// Runs a command of the binary to its end.
pub(crate) async fn spillway(args: &[&str]) -> Done {
    let output = Command::new(binary()).args(args).output().await.unwrap();
    Done {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Process {
    /// A place for a process that there is none of.
    pub(crate) fn none() -> Self {
        Self {
            name: String::new(),
            child: None,
            output: Arc::default(),
        }
    }

    /// Starts the binary and waits until it printed a line with `sign`.
    pub(crate) async fn start(name: &str, args: &[&str], sign: &str) -> Self {
        Self::start_in(&[], name, args, sign).await
    }

    /// The same, with more in the environment.
    pub(crate) async fn start_in(
        environment: &[(String, String)],
        name: &str,
        args: &[&str],
        sign: &str,
    ) -> Self {
        let mut child = Command::new(binary())
            .args(args)
            .envs(environment.iter().cloned())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().unwrap(), &output);
        collect(child.stderr.take().unwrap(), &output);
        let process = Self {
            name: name.to_owned(),
            child: Some(child),
            output,
        };
        let deadline = Instant::now() + PATIENCE;
        while !process.output().contains(sign) {
            assert!(
                Instant::now() < deadline,
                "{name} never said {sign:?}:\n{}",
                process.output()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        process
    }

    pub(crate) fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).unwrap()
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.unwrap();
        }
    }

    /// SIGTERM.
    pub(crate) async fn terminate(&self) {
        let pid = self.pid();
        let sent = Command::new("kill")
            .args(["-TERM", &pid.to_string()])
            .status()
            .await
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for it to end by itself; whether it ended well.
    pub(crate) async fn ended(&mut self) -> bool {
        let child = self.child.as_mut().unwrap();
        tokio::time::timeout(PATIENCE, child.wait())
            .await
            .expect("it ends")
            .unwrap()
            .success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.name.is_empty() {
            println!("---- {} ----\n{}", self.name, self.output());
        }
        let panicked = self
            .output
            .lock()
            .is_ok_and(|output| output.contains("panicked at"));
        assert!(
            !panicked || std::thread::panicking(),
            "{} panicked:\n{}",
            self.name,
            self.output()
        );
    }
}

fn collect(stream: impl AsyncRead + Unpin + Send + 'static, output: &Arc<Mutex<String>>) {
    let output = Arc::clone(output);
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut output = output.lock().unwrap();
            output.push_str(&line);
            output.push('\n');
        }
    });
}
