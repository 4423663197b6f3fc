//! What every dialect can say comes back as it was: requests written and read again,
//! answers spoken and heard again, whole and as a stream.

use proptest::prelude::*;
use serde_json::json;
use spillway_routing::catalogue::{Tier, Usage};
use spillway_routing::dialect::{Dialect, Fidelity};
use spillway_routing::prompt::Role;
use spillway_routing::unit::Tokens;

use super::{chat, folded, stamp, upstream};
use crate::conversation::{
    Conversation, Form, Losses, Part, Setting, Source, Tool, ToolCall, ToolChoice, ToolResult, Turn,
};
use crate::dialect::event::{End, Event, Piece, Said};
use crate::dialect::sse::Splitter;
use crate::dialect::{Ear, Reported, Speaker, answer, said, translated, whole};

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Zäß\"\\\\\n 你🙂]{0,12}x"
}

fn object() -> impl Strategy<Value = String> {
    (text(), any::<i32>()).prop_map(|(text, n)| json!({ "a": text, "n": n }).to_string())
}

fn image() -> impl Strategy<Value = Part> {
    "[A-Za-z0-9+/]{4}".prop_map(|base64| {
        let media = "image/png".to_owned();
        Part::Image(Source::Data { media, base64 })
    })
}

/// A question, an answer with calls, their results, another question.
fn conversations() -> impl Strategy<Value = Conversation> {
    let user = prop::collection::vec(prop_oneof![text().prop_map(Part::Text), image()], 1..3);
    let calls = prop::collection::vec(object(), 0..3);
    let settings = prop::option::of(0u32..=100);
    (text(), user, text(), calls, text(), settings, any::<bool>()).prop_map(
        |(system, user, said, calls, result, heat, schema)| {
            let turn = |role, parts| Turn { role, parts };
            let mut assistant = vec![Part::Text(said.clone())];
            let mut last = Vec::new();
            for (i, arguments) in calls.iter().enumerate() {
                let id = format!("call_{i}");
                assistant.push(Part::Call(ToolCall {
                    id: id.clone(),
                    name: "look".to_owned(),
                    arguments: arguments.clone(),
                }));
                last.push(Part::Result(ToolResult {
                    id,
                    parts: vec![Part::Text(result.clone())],
                    failed: false,
                }));
            }
            last.push(Part::Text(said));
            let parameters =
                json!({ "type": "object", "properties": { "a": { "type": "string" } }, "additionalProperties": false });
            Conversation {
                turns: vec![
                    turn(Role::System, vec![Part::Text(system)]),
                    turn(Role::User, user),
                    turn(Role::Assistant, assistant),
                    turn(Role::User, last),
                ],
                tools: vec![Tool {
                    name: "look".to_owned(),
                    description: Some("looks".to_owned()),
                    parameters: Some(parameters.clone()),
                    strict: None,
                }],
                tool_choice: if schema {
                    ToolChoice::None
                } else {
                    ToolChoice::Required
                },
                form: if schema {
                    Form::JsonSchema {
                        name: None,
                        schema: parameters,
                        strict: None,
                    }
                } else {
                    Form::Text
                },
                max_output: Some(700),
                settings: heat
                    .map(|heat| (Setting::Temperature, json!(f64::from(heat) / 100.0)))
                    .into_iter()
                    .collect(),
                ..Conversation::default()
            }
        },
    )
}

/// Turns as they are told apart everywhere: results have no turn of their own in some
/// dialects, and names of schemas and strictness are defaults in others.
fn settled(mut conversation: Conversation) -> Conversation {
    let mut turns: Vec<Turn> = Vec::new();
    for turn in std::mem::take(&mut conversation.turns) {
        let role = if turn.role == Role::Tool {
            Role::User
        } else {
            turn.role
        };
        match turns.last_mut() {
            Some(last) if last.role == role => last.parts.extend(turn.parts),
            _ => turns.push(Turn { role, ..turn }),
        }
    }
    conversation.turns = turns;
    for tool in &mut conversation.tools {
        tool.strict = None;
    }
    if let Form::JsonSchema { name, strict, .. } = &mut conversation.form {
        (*name, *strict) = (None, None);
    }
    conversation.own = Losses::default();
    conversation
}

/// The conversation as a request of a dialect, and read again.
fn again(conversation: &Conversation, through: Dialect) -> Conversation {
    let (upstream, most) = (upstream(through), Tokens(4_096));
    let wire = translated(
        conversation,
        false,
        through,
        &upstream,
        Tier::Standard,
        most,
    );
    chat(through, std::str::from_utf8(&wire.body).unwrap()).conversation
}

fn saids() -> impl Strategy<Value = Said> {
    let end = prop_oneof![Just(End::Whole), Just(End::CutOff)];
    let calls = prop::collection::vec(object(), 0..3);
    (prop::option::of(text()), text(), calls, end).prop_map(|(thought, said, calls, end)| {
        let mut pieces: Vec<Piece> = thought.into_iter().map(Piece::Reasoning).collect();
        pieces.push(Piece::Text(said));
        for (i, arguments) in calls.into_iter().enumerate() {
            pieces.push(Piece::Call(ToolCall {
                id: format!("call_{i}"),
                name: format!("tool_{i}"),
                arguments,
            }));
        }
        Said {
            pieces,
            end,
            stop: None,
        }
    })
}

/// An answer in steps, with its texts cut in two.
fn steps(said: &Said) -> Vec<Event> {
    let mut events = Vec::new();
    let halves = |text: &str| {
        let at = text.floor_char_boundary(text.len() / 2);
        [text[..at].to_owned(), text[at..].to_owned()]
    };
    for (index, piece) in said.pieces.iter().enumerate() {
        match piece {
            Piece::Text(text) => events.extend(halves(text).map(Event::Text)),
            Piece::Reasoning(text) => events.extend(halves(text).map(Event::Reasoning)),
            Piece::Refusal(text) => events.extend(halves(text).map(Event::Refusal)),
            Piece::Call(call) => {
                events.push(Event::CallStarts {
                    index,
                    id: call.id.clone(),
                    name: call.name.clone(),
                });
                let cut = |json| Event::CallArguments { index, json };
                events.extend(halves(&call.arguments).map(cut));
            }
        }
    }
    let (end, stop) = (said.end, said.stop.clone());
    events.push(Event::Ends { end, stop });
    events
}

fn reported() -> Reported {
    Reported {
        begun: None,
        usage: Some(Usage {
            input: Tokens(100),
            cache_read: Tokens(60),
            cache_write: Tokens(0),
            output: Tokens(40),
            reasoning: Tokens(0),
        }),
        tier: None,
    }
}

/// Arguments are compared as values: some dialects write them as objects.
fn comparable(mut said: Said) -> Said {
    for piece in &mut said.pieces {
        if let Piece::Call(call) = piece {
            call.arguments = call.object().to_string();
        }
    }
    said
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_conversation_comes_back_from_every_dialect(given in conversations()) {
        for through in Dialect::SPOKEN {
            let losses = crate::dialect::losses(through, &given);
            prop_assert_eq!(losses.fidelity(), Some(Fidelity::Exact), "{} {}", through.name(), losses);
            let back = settled(again(&given, through));
            prop_assert_eq!(back, settled(given.clone()), "through {}", through.name());
        }
    }

    #[test]
    fn an_answer_comes_back_from_every_dialect(given in saids()) {
        let given = comparable(given);
        for through in Dialect::SPOKEN {
            let body = whole(through, &given, &reported(), &stamp());
            let heard = comparable(said(through, &body));
            prop_assert_eq!(&heard, &given, "through {}", through.name());
            let answer = answer(through, &body).unwrap();
            prop_assert_eq!(answer.reported.usage, reported().usage, "{}", through.name());
        }
    }

    #[test]
    fn a_stream_comes_back_from_every_dialect(given in saids()) {
        let given = comparable(given);
        for through in Dialect::SPOKEN {
            let mut speaker = Speaker::new(through);
            let mut bytes = speaker.say(steps(&given), &stamp());
            bytes.extend(speaker.end(&reported(), &stamp()));
            let (mut ear, mut splitter) = (Ear::new(through, true), Splitter::default());
            splitter.push(&bytes);
            let (mut events, mut told) = (Vec::new(), Reported::default());
            while let Some(frame) = splitter.next().unwrap() {
                let meaning = ear.hear(&frame);
                told.add(meaning.reported);
                events.extend(meaning.events);
            }
            prop_assert_eq!(comparable(folded(events)), given.clone(), "through {}", through.name());
            prop_assert_eq!(told.usage, reported().usage, "through {}", through.name());
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for dialect in Dialect::CONVERSING {
            let frame = crate::dialect::sse::Frame(bytes.clone().into());
            let _ = Ear::new(dialect, true).hear(&frame);
            let _ = (answer(dialect, &bytes), said(dialect, &bytes));
        }
    }
}
