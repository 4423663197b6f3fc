//! Tests of the traffic client, against the simulator and against a stand-in router.

use std::sync::Mutex;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::config::{ProviderConfig, SimulatorConfig};
use crate::script::Fault;
use crate::server::Running;
use crate::stand::start_with;
use crate::world::World;

async fn simulator() -> (Running, Answerer) {
    let world = Arc::new(World::new(8));
    let provider = ProviderConfig::new("alpha", world.served()).with_key("sk-1");
    let oracle = Answerer::World(world);
    let config = SimulatorConfig::instant(oracle.clone(), vec![provider]);
    (start_with(config).await, oracle)
}

fn config(running: &Running, oracle: Answerer, requests: u64) -> TrafficConfig {
    let mut config = TrafficConfig::new(running.base_url("alpha"), "sim-mini", oracle, requests);
    config.key = Some("sk-1".to_owned());
    config
}

#[tokio::test]
async fn what_the_traffic_counts_is_what_the_ledger_bills() {
    let (running, oracle) = simulator().await;
    let (progress, seen) = watch::channel(Progress::default());
    let mut config = config(&running, oracle.clone(), 60);
    config.progress = Some(progress);
    let report = play(config).await.unwrap();
    assert_eq!(
        (report.requests, report.answered, report.failed),
        (60, 60, 0)
    );
    assert_eq!(report.by_status, [(200, 60)].into());
    let totals = running.ledger().totals();
    assert_eq!(report.cost_nano_usd, totals.cost_nano_usd);
    assert_eq!(
        report.share_by_model()["sim-mini"].to_bits(),
        1_f64.to_bits()
    );
    let scores = (0..60).map(|n| oracle.score("sim-mini", &oracle.prompt(n).text).unwrap());
    assert!((report.quality_mean - scores.sum::<f64>() / 60.0).abs() < 1e-9);
    let streams = running.ledger().count(|attempt| attempt.streaming);
    assert!((15..45).contains(&streams), "{streams} streams");
    assert!(report.latency_ms_p50 > 0.0 && report.first_token_ms_p95 > 0.0);
    assert!(report.latency_ms_p50 <= report.latency_ms_p99);
    assert_eq!(seen.borrow().answered, 60);
}

#[tokio::test]
async fn failures_are_counted_by_what_they_are() {
    let (running, oracle) = simulator().await;
    let script = running.script("alpha").unwrap();
    let mut config = config(&running, oracle, 5);
    config.load = Load::Closed { concurrency: 1 };
    config.streaming_share = 1.0;
    config.request_timeout = Duration::from_millis(200);
    script.fail_next(1, Fault::CutAfter { content_chunks: 1 });
    script.fail_next(1, Fault::HangBeforeHeaders);
    script.fail_next(1, Fault::DoneAtOnce);
    script.fail_next(1, Fault::status(503));
    let report = play(config).await.unwrap();
    assert_eq!((report.answered, report.failed), (1, 4));
    assert_eq!(report.by_status, [(200, 3), (503, 1)].into());
    let says = [
        "status 503",
        "no content",
        "within 200ms",
        "the stream broke",
    ];
    for (failure, says) in report.failures.iter().zip(says) {
        assert!(failure.contains(says), "{failure}");
    }
    assert_eq!(report.failures.len(), 4);
}

#[tokio::test]
async fn an_open_loop_keeps_its_rate_and_an_end_is_kept() {
    let (running, oracle) = simulator().await;
    let mut config = config(&running, oracle, 100);
    config.load = Load::Open {
        requests_per_second: 200.0,
    };
    let report = play(config.clone()).await.unwrap();
    let expected: Duration = Arrivals::new(config.seed, 200.0).take(100).sum();
    assert_eq!(report.answered, 100);
    assert!(
        report.elapsed >= expected,
        "{:?} {expected:?}",
        report.elapsed
    );
    config.load = Load::Open {
        requests_per_second: 20.0,
    };
    config.duration_max = Duration::from_millis(200);
    let report = play(config.clone()).await.unwrap();
    assert!(report.requests < 20 && report.requests == report.answered);
    config.stop.cancel();
    assert_eq!(play(config).await.unwrap().requests, 0);
}

#[test]
fn arrivals_are_seeded_and_have_their_mean() {
    let gaps = |seed| Arrivals::new(seed, 50.0).take(4_000).collect::<Vec<_>>();
    assert_eq!(gaps(1), gaps(1));
    assert_ne!(gaps(1), gaps(2));
    let mean_ms = gaps(1).iter().sum::<Duration>().as_secs_f64() * 1000.0 / 4_000.0;
    assert!((19.0..21.0).contains(&mean_ms), "{mean_ms}");
}

#[tokio::test]
async fn what_cannot_be_played_is_an_error() {
    let config = |url: &str| TrafficConfig::new(url, "m", Answerer::Echo, 1);
    for url in ["", "127.0.0.1:80", "https://x/v1", "http://"] {
        let error = play(config(url)).await.unwrap_err();
        assert!(matches!(error, TrafficError::BaseUrl(_)), "{url}");
    }
    let mut broken = config("http://x/v1");
    broken.key = Some("a\nb".to_owned());
    assert!(matches!(
        play(broken).await,
        Err(TrafficError::Header("key"))
    ));
    let mut long = config("http://x/v1");
    long.requests = u64::MAX;
    assert!(matches!(
        play(long).await,
        Err(TrafficError::TooMany { .. })
    ));
    let report = play(config("http://127.0.0.1:9/v1")).await.unwrap();
    assert_eq!((report.failed, report.by_status.len()), (1, 0));
}

/// A stand-in router: always answers as `sim-pro`, keeps feedback and slices.
#[derive(Debug, Default)]
struct Router {
    feedback: Mutex<Vec<Value>>,
    slices: Mutex<Vec<String>>,
}

impl Router {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body: Value =
            serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        if head.uri.path() == "/v1/feedback" {
            self.feedback.lock().unwrap().push(body);
            return Response::new(Full::default());
        }
        assert_eq!(body["model"], "auto");
        let mut slices = self.slices.lock().unwrap();
        slices.push(
            head.headers["x-spillway-slice"]
                .to_str()
                .unwrap()
                .to_owned(),
        );
        let message = json!({"role": "assistant", "content": "fine"});
        let answer = json!({"model": "auto", "choices": [{"message": message}]});
        Response::builder()
            .header("x-spillway-request-id", format!("r-{}", slices.len()))
            .header("x-spillway-model", "sim-pro")
            .header("x-spillway-cost-usd", "0.0000025")
            .body(Full::from(answer.to_string()))
            .unwrap()
    }
}

#[tokio::test]
async fn feedback_is_the_score_of_the_model_that_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Arc::new(Router::default());
    let served = Arc::clone(&router);
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let router = Arc::clone(&served);
            let service = service_fn(move |request| {
                let router = Arc::clone(&router);
                async move { Ok::<_, std::convert::Infallible>(router.answer(request).await) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    let world = Arc::new(World::new(8));
    let oracle = Answerer::World(Arc::clone(&world));
    let mut config = TrafficConfig::new(format!("http://{address}/v1/"), "auto", oracle, 3);
    config.load = Load::Closed { concurrency: 1 };
    config.streaming_share = 0.0;
    config.first_prompt = 40;
    config.slice = SliceLabel::OfPrompt;
    let report = play(config).await.unwrap();
    serving.abort();
    assert_eq!(report.failures, Vec::<String>::new());
    assert_eq!((report.answered, report.feedback_taken), (3, 3));
    assert_eq!(report.reported_cost_nano_usd, 7_500);
    assert_eq!(report.by_model, [("sim-pro".to_owned(), 3)].into());
    let feedback = router.feedback.lock().unwrap();
    let slices = router.slices.lock().unwrap();
    for (index, given) in feedback.iter().enumerate() {
        let prompt = world.prompt(40 + index as u64);
        assert_eq!(given["request_id"], format!("r-{}", index + 1));
        assert_eq!(
            given["score"],
            json!(world.score("sim-pro", &prompt.text).unwrap())
        );
        assert_eq!(slices[index], prompt.kind.name());
    }
}
