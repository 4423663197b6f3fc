//! How long a whole answer may take.

use super::*;
use crate::tests::stand::{Act, Fake};

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
const ANSWER: &str = r#"{"choices":[{"message":{"content":"4"}}]}"#;
const GIVE_UP: Duration = Duration::from_millis(300);
const WHOLE: Duration = Duration::from_millis(900);

/// What comes of one attempt, and after how long.
async fn asked(act: Act) -> (Result<Committed, Miss>, Duration) {
    let fake = Fake::start(vec![act]).await;
    let clients = Clients::new(Duration::from_secs(5)).unwrap();
    let target = Target {
        access: Access::nearby(&fake.url),
        via: HeaderValue::from_static("test"),
        dialect: Dialect::OpenAiChat,
        passed: &HeaderMap::new(),
        translating: false,
    };
    let wire = WireRequest {
        path: "/chat/completions".into(),
        body: Bytes::from_static(b"{}"),
    };
    let started = Instant::now();
    let bounds = Bounds {
        give_up: started + GIVE_UP,
        whole_by: started + WHOLE,
        idle: Duration::from_secs(60),
        answer_bytes: 1 << 20,
    };
    let answer = attempt(&clients, &target, wire, false, &bounds, &Sent::default()).await;
    (answer, started.elapsed())
}

fn timed_out(answer: Result<Committed, Miss>) -> bool {
    answer.is_err_and(|miss| (miss.class, miss.result) == (Class::Unknown, AttemptResult::TimedOut))
}

#[tokio::test]
async fn white_space_is_no_beginning() {
    let (answer, took) = asked(Act::Drip(HEAD.into(), " \n")).await;
    assert!(timed_out(answer));
    assert!((GIVE_UP..WHOLE).contains(&took), "{took:?}");
    let padded = format!("{HEAD} \r\n\t{ANSWER}");
    let (answer, _) = asked(Act::Say(padded)).await;
    assert!(matches!(answer, Ok(Committed::Whole { .. })));
}

#[tokio::test]
async fn an_answer_that_drips_is_given_up_at_its_bound() {
    let (answer, took) = asked(Act::Drip(format!("{HEAD}{{"), "\"")).await;
    assert!(timed_out(answer));
    assert!((WHOLE..WHOLE * 3).contains(&took), "{took:?}");
}
