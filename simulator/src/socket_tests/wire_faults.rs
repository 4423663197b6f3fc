//! Every fault on every wire: its form, how it ends, and what it bills.
//!
//! It must not use the code it tests.

use serde_json::Value;

use super::speakers::{SPEAKERS, Speaker, Wish};
use super::the_attempt;
use crate::ledger::{Attempt, Outcome};
use crate::script::{Fault, FaultKind};
use crate::stand::{End, Heard, say, say_in_vain, start};
use crate::wire::Family;

async fn suffer(speaker: Speaker, fault: Fault, stream: bool) -> (Heard, Attempt) {
    let running = start().await;
    let hangs = matches!(
        fault,
        Fault::HangBeforeHeaders | Fault::HangAfterHeaders | Fault::HangAfter { .. }
    );
    running.script("alpha").unwrap().fail(fault);
    let mut wish = Wish::new("one two three");
    wish.stream = stream;
    let request = speaker.request(&wish);
    let heard = if hangs {
        say_in_vain(running.address(), &request).await
    } else {
        say(running.address(), &request).await
    };
    let attempt = the_attempt(&running.ledger()).await;
    running.stop().await.unwrap();
    (heard, attempt)
}

/// Words of the echo that were heard.
fn words(heard: &Heard) -> usize {
    // There is a "one" in the name of the last event of Gemini's interactions.
    let text = heard.text().replace("event: done", "");
    // The events that only end something repeat the whole.
    let ends = text.find("output_text.done").unwrap_or(text.len());
    let said = &text[..ends];
    ["echo:", "one", "two", "three"]
        .iter()
        .filter(|word| said.contains(**word))
        .count()
}

/// The kind of an error; Converse tells it in a header.
fn error_of(speaker: Speaker, error: &Value) -> String {
    if speaker == Speaker::Converse {
        assert!(error["message"].is_string(), "{error}");
        return String::new();
    }
    let error = &error["error"];
    assert!(error["message"].is_string(), "{error}");
    let name = match speaker {
        Speaker::Gemini | Speaker::GeminiArray | Speaker::Interactions => &error["status"],
        _ => &error["type"],
    };
    name.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn statuses_have_the_error_form_of_their_wire() {
    let cases = [
        (
            429,
            ["rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED"],
        ),
        (500, ["server_error", "api_error", "INTERNAL"]),
        (
            503,
            ["service_unavailable_error", "api_error", "UNAVAILABLE"],
        ),
        (504, ["server_error", "timeout_error", "DEADLINE_EXCEEDED"]),
        (529, ["overloaded_error", "overloaded_error", "INTERNAL"]),
    ];
    for (code, [openai, anthropic, gemini]) in cases {
        for speaker in SPEAKERS {
            let (heard, attempt) = suffer(speaker, Fault::status(code), true).await;
            assert_eq!((heard.status, heard.end), (Some(code), End::Tidy));
            let expected = match speaker {
                Speaker::Chat | Speaker::Responses => openai,
                Speaker::Messages => anthropic,
                Speaker::Gemini | Speaker::GeminiArray | Speaker::Interactions => gemini,
                Speaker::Converse => "",
            };
            assert_eq!(error_of(speaker, &heard.json()), expected);
            let id = match speaker {
                Speaker::Chat | Speaker::Responses => "x-request-id: req_",
                Speaker::Messages => "\nrequest-id: req_",
                Speaker::Gemini | Speaker::GeminiArray | Speaker::Interactions => {
                    "content-type: application/json"
                }
                Speaker::Converse => "x-amzn-requestid: ",
            };
            assert!(heard.head.contains(id), "{}", heard.head);
            assert_eq!(attempt.outcome, Outcome::Refused(code));
            assert_eq!(attempt.cost_nano_usd, 0);
        }
    }
}

#[tokio::test]
async fn a_limited_client_learns_when_to_come_back() {
    for speaker in SPEAKERS {
        let (heard, _) = suffer(speaker, Fault::rate_limited(17), false).await;
        let gemini = speaker.wire().family() == Family::Gemini;
        assert_eq!(heard.head.contains("retry-after: 17"), !gemini);
        assert_eq!(heard.text().contains("\"retryDelay\":\"17s\""), gemini);
    }
}

#[tokio::test]
async fn cuts_and_stalls_stop_after_their_content() {
    for speaker in SPEAKERS {
        for (fault, kind) in [
            (Fault::CutAfter { content_chunks: 2 }, FaultKind::CutAfter),
            (Fault::HangAfter { content_chunks: 2 }, FaultKind::HangAfter),
        ] {
            let (heard, attempt) = suffer(speaker, fault, true).await;
            assert_eq!(words(&heard), 2, "{speaker:?} {}", heard.text());
            assert!(matches!(heard.end, End::Closed | End::Silent));
            assert_eq!(attempt.outcome, Outcome::Faulted(kind));
            assert_eq!((attempt.input_tokens, attempt.output_tokens), (7, 2));
        }
        let (heard, attempt) = suffer(speaker, Fault::CutBeforeContent, true).await;
        assert_eq!((words(&heard), heard.end), (0, End::Closed));
        assert_eq!(attempt.cost_nano_usd, 0);
        let (heard, _) = suffer(speaker, Fault::CutAfter { content_chunks: 99 }, true).await;
        assert_eq!((words(&heard), heard.end), (4, End::Closed));
        for end in [
            "[DONE]",
            "response.completed",
            "message_stop",
            "finishReason",
            "messageStop",
            "interaction.completed",
        ] {
            assert!(!heard.text().contains(end), "{}", heard.text());
        }
    }
}

#[tokio::test]
async fn hangs_and_resets_are_the_same_everywhere() {
    for speaker in SPEAKERS {
        let (heard, _) = suffer(speaker, Fault::HangBeforeHeaders, true).await;
        assert_eq!((heard.status, heard.end), (None, End::Silent));
        let (heard, attempt) = suffer(speaker, Fault::HangAfterHeaders, true).await;
        assert_eq!((heard.status, heard.end), (Some(200), End::Silent));
        assert_eq!((words(&heard), attempt.cost_nano_usd), (0, 0));
        let (heard, _) = suffer(speaker, Fault::Reset, false).await;
        assert_eq!((heard.status, heard.end), (None, End::Reset));
    }
}

#[tokio::test]
async fn an_error_in_a_stream_is_an_event_of_its_wire() {
    for content_chunks in [0, 2] {
        for speaker in SPEAKERS {
            let fault = Fault::ErrorInStream { content_chunks };
            let (heard, attempt) = suffer(speaker, fault, true).await;
            assert_eq!((heard.status, heard.end), (Some(200), End::Tidy));
            assert_eq!(words(&heard), content_chunks, "{speaker:?}");
            match speaker {
                Speaker::Chat => {
                    error_of(speaker, heard.chunks().last().unwrap());
                }
                Speaker::Responses => {
                    let events = heard.named_events();
                    let (name, data) = events.last().unwrap();
                    assert_eq!(
                        (name.as_str(), &data["type"]),
                        ("error", &Value::from("error"))
                    );
                    assert_eq!(data["code"], "server_error");
                    assert_eq!(data["sequence_number"], events.len() - 1);
                }
                Speaker::Messages => {
                    let (name, data) = heard.named_events().pop().unwrap();
                    assert_eq!(
                        (name.as_str(), &data["type"]),
                        ("error", &Value::from("error"))
                    );
                    assert_eq!(error_of(speaker, &data), "api_error");
                }
                Speaker::Gemini => {
                    assert_eq!(
                        error_of(speaker, heard.chunks().last().unwrap()),
                        "INTERNAL"
                    );
                }
                Speaker::GeminiArray => {
                    let all = heard.json();
                    let last = all.as_array().unwrap().last().unwrap().clone();
                    assert_eq!(error_of(speaker, &last), "INTERNAL");
                }
                Speaker::Interactions => {
                    let (name, data) = heard.named_events().pop().unwrap();
                    assert_eq!(
                        (name.as_str(), &data["event_type"]),
                        ("error", &Value::from("error"))
                    );
                    assert_eq!(data["error"]["code"], "internal_server_error");
                    assert!(data["error"]["message"].is_string());
                }
                Speaker::Converse => {
                    let (name, data) = heard.frames().pop().unwrap();
                    assert_eq!(name, "internalServerException");
                    error_of(speaker, &data);
                }
            }
            let outcome = Outcome::Faulted(FaultKind::ErrorInStream);
            assert_eq!(attempt.outcome, outcome);
            assert_eq!(attempt.output_tokens, content_chunks as u64);
        }
    }
}

#[tokio::test]
async fn bodies_that_are_no_answers() {
    for speaker in SPEAKERS {
        for stream in [false, true] {
            let (heard, _) = suffer(speaker, Fault::Garbage, stream).await;
            assert!(heard.text().contains("<html>"));
            let (heard, _) = suffer(speaker, Fault::EmptyBody, stream).await;
            assert!(heard.body.is_empty() && heard.end == End::Tidy);
            let (heard, attempt) = suffer(speaker, Fault::TruncatedJson, stream).await;
            assert_eq!((heard.status, heard.end), (Some(200), End::Tidy));
            if speaker == Speaker::Converse && stream {
                // Half a frame.
                let (frames, left) = heard.frames_and_rest();
                assert!(frames.is_empty() && left > 0);
            } else {
                let text = heard.text();
                let json = text.rsplit("data: ").next().unwrap();
                assert!(json.starts_with(['{', '[']), "{speaker:?} {text}");
                assert!(serde_json::from_str::<Value>(json).is_err());
            }
            assert_eq!(attempt.outcome, Outcome::Faulted(FaultKind::TruncatedJson));
            assert_eq!(attempt.cost_nano_usd, 0);
        }
    }
}

#[tokio::test]
async fn an_end_without_content_is_all_end() {
    for speaker in SPEAKERS {
        for stream in [false, true] {
            let (heard, attempt) = suffer(speaker, Fault::DoneAtOnce, stream).await;
            assert_eq!((heard.status, heard.end), (Some(200), End::Tidy));
            assert_eq!(words(&heard), 0);
            if !(speaker == Speaker::Chat) {
                let said = speaker.said(&heard, stream);
                assert_eq!((said.text.as_str(), said.output), ("", 0), "{speaker:?}");
                assert!(!said.finish.is_empty());
            }
            assert_eq!(attempt.outcome, Outcome::Faulted(FaultKind::DoneAtOnce));
            assert_eq!(attempt.cost_nano_usd, 0);
        }
    }
}
