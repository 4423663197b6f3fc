//! A bucket of an S3 that runs here (moto).

use std::process::Stdio;
use std::time::Instant;

use tokio::process::{Child, Command};

use super::{PATIENCE, free_port, request};

const NAME: &str = "spillway";

pub(crate) struct Bucket {
    endpoint: String,
    _child: Child,
}

impl Bucket {
    pub(crate) async fn start() -> Self {
        let root = env!("CARGO_MANIFEST_DIR");
        let port = free_port();
        let child = Command::new(format!("{root}/.tools/python/bin/moto_server"))
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("moto is installed: scripts/setup.sh test");
        let bucket = Self {
            endpoint: format!("http://127.0.0.1:{port}"),
            _child: child,
        };
        let url = format!("{}/{NAME}", bucket.endpoint);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let made = request("PUT", &url, &[], "").await;
            if made.is_ok_and(|answer| answer.status == 200) {
                return bucket;
            }
            assert!(Instant::now() < deadline, "the bucket was never made");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// What whoever uses it finds in the environment.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let named = [
            ("AWS_ENDPOINT", self.endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "a-key"),
            ("AWS_SECRET_ACCESS_KEY", "a-secret"),
        ];
        named
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    pub(crate) fn url(prefix: &str) -> String {
        format!("s3://{NAME}/{prefix}")
    }

    /// The objects below a prefix, as S3 lists them.
    pub(crate) async fn listed(&self, prefix: &str) -> String {
        let url = format!("{}/{NAME}?list-type=2&prefix={prefix}", self.endpoint);
        request("GET", &url, &[], "").await.unwrap().text()
    }
}
