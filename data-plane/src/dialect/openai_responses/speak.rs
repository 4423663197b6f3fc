//! An answer of another dialect, as Responses.
//!
//! Owns: the response object, and the events in their order. Items are told one after
//! the other; the last event holds the whole response, so what was said is kept until
//! then.

use bytes::Bytes;
use serde_json::{Value, json};
use spillway_routing::catalogue::Tier;

use crate::dialect::event::{End, Event, Piece, Said, Stamp, known};
use crate::dialect::{Reported, sse, usage};

/// Letters of a stamp's id: a request's, without its lines.
const STAMP: usize = 32;

/// A whole answer.
pub(in crate::dialect) fn whole(said: &Said, reported: &Reported, stamp: &Stamp) -> Bytes {
    let mut items: Vec<Item> = Vec::new();
    for piece in &said.pieces {
        match piece {
            Piece::Text(text) => add(&mut items, Kind::Text, text),
            Piece::Refusal(text) => add(&mut items, Kind::Refusal, text),
            Piece::Reasoning(text) => add(&mut items, Kind::Reasoning, text),
            Piece::Call(call) => items.push(Item {
                kind: Kind::Call {
                    id: call.id.clone(),
                    name: call.name.clone(),
                },
                text: call.arguments.clone(),
            }),
        }
    }
    let output: Vec<Value> = items
        .iter()
        .enumerate()
        .map(|(index, item)| item.json(&stamp.id, index, "completed"))
        .collect();
    let body = response(stamp, Some(said.end), output, Some(reported));
    Bytes::from(body.to_string())
}

fn add(items: &mut Vec<Item>, kind: Kind, text: &str) {
    match items.last_mut() {
        Some(last) if last.kind == kind => last.text.push_str(text),
        _ => items.push(Item {
            kind,
            text: text.to_owned(),
        }),
    }
}

/// Why an answer is not complete. A refusal in words is complete.
fn shortfall(end: End, output: &[Value]) -> Option<&'static str> {
    let refuses = |item: &Value| item.pointer("/content/0/type") == Some(&"refusal".into());
    match end {
        End::Whole => None,
        End::CutOff => Some("max_output_tokens"),
        End::Refused if output.iter().any(refuses) => None,
        End::Refused => Some("content_filter"),
    }
}

/// The response object; `end` is `None` while it is under way.
fn response(
    stamp: &Stamp,
    end: Option<End>,
    output: Vec<Value>,
    reported: Option<&Reported>,
) -> Value {
    let reason = end.and_then(|end| shortfall(end, &output));
    let status = match (end, reason) {
        (None, _) => "in_progress",
        (Some(_), None) => "completed",
        (Some(_), Some(_)) => "incomplete",
    };
    let incomplete = reason.map(|reason| json!({ "reason": reason }));
    let tier = match reported.and_then(|reported| reported.tier) {
        Some(Tier::Flex) => "flex",
        Some(Tier::Priority) => "priority",
        _ => "default",
    };
    let usage = reported.map(|reported| usage::responses(&known(reported.usage)));
    json!({
        "id": format!("resp_{}", stamp.id),
        "object": "response",
        "created_at": stamp.created,
        "status": status,
        "background": false,
        "error": null,
        "incomplete_details": incomplete,
        "instructions": null,
        "max_output_tokens": null,
        "metadata": {},
        "model": stamp.model,
        "output": output,
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "reasoning": { "effort": null, "summary": null },
        "service_tier": tier,
        "store": false,
        "temperature": null,
        "text": { "format": { "type": "text" } },
        "tool_choice": "auto",
        "tools": [],
        "top_p": null,
        "truncation": "disabled",
        "usage": usage,
    })
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Refusal,
    Reasoning,
    Call { id: String, name: String },
}

/// One output item and all of its text so far.
#[derive(Debug)]
struct Item {
    kind: Kind,
    text: String,
}

/// Whether this id of a thought was given here: no provider knows it.
pub(super) fn is_told(id: &str) -> bool {
    let parts = id.strip_prefix("rs_").and_then(|id| id.split_once('_'));
    parts.is_some_and(|(stamp, index)| {
        let hex = stamp.bytes().all(|byte| byte.is_ascii_hexdigit());
        stamp.len() == STAMP && hex && index.parse::<usize>().is_ok()
    })
}

impl Item {
    fn id(&self, stamp: &str, index: usize) -> String {
        let prefix = match self.kind {
            Kind::Text | Kind::Refusal => "msg",
            Kind::Reasoning => "rs",
            Kind::Call { .. } => "fc",
        };
        format!("{prefix}_{stamp}_{index}")
    }

    fn part(&self, text: &str) -> Value {
        match self.kind {
            Kind::Refusal => json!({ "type": "refusal", "refusal": text }),
            Kind::Reasoning => json!({ "type": "summary_text", "text": text }),
            Kind::Text | Kind::Call { .. } => {
                json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
            }
        }
    }

    fn json(&self, stamp: &str, index: usize, status: &str) -> Value {
        let id = self.id(stamp, index);
        let begun = status != "completed";
        match &self.kind {
            Kind::Text | Kind::Refusal => {
                let content = if begun {
                    vec![]
                } else {
                    vec![self.part(&self.text)]
                };
                json!({ "id": id, "type": "message", "role": "assistant", "status": status,
                        "content": content })
            }
            Kind::Reasoning => {
                let summary = if begun {
                    vec![]
                } else {
                    vec![self.part(&self.text)]
                };
                json!({ "id": id, "type": "reasoning", "summary": summary })
            }
            Kind::Call { id: call, name } => {
                json!({ "id": id, "type": "function_call", "status": status, "call_id": call,
                        "name": name, "arguments": self.text })
            }
        }
    }
}

/// A stream under way.
#[derive(Debug, Default)]
pub(crate) struct Speaker {
    sequence: u64,
    items: Vec<Item>,
    /// The last item is not finished.
    open: bool,
    /// Calls so far: index in the provider's words, and the item.
    calls: Vec<(usize, usize)>,
    end: Option<End>,
}

impl Speaker {
    pub(in crate::dialect) fn say(&mut self, event: Event, stamp: &Stamp, out: &mut Vec<u8>) {
        self.begins(stamp, out);
        match event {
            Event::Text(text) => self.speaks(Kind::Text, &text, stamp, out),
            Event::Refusal(text) => self.speaks(Kind::Refusal, &text, stamp, out),
            Event::Reasoning(text) => self.speaks(Kind::Reasoning, &text, stamp, out),
            Event::CallStarts { index, id, name } => {
                self.closes(stamp, out);
                self.opens(Kind::Call { id, name }, stamp, out);
                self.calls.push((index, self.items.len() - 1));
            }
            // Also for an item that has ended: readers go by its index, and the last event
            // has all of it.
            Event::CallArguments { index, json } => {
                let known = self.calls.iter().rev().find(|(call, _)| *call == index);
                if let Some((_, item)) = known {
                    self.delta(*item, &json, stamp, out);
                }
            }
            Event::Ends { end, .. } => self.end = Some(end),
        }
    }

    pub(in crate::dialect) fn end(
        &mut self,
        reported: &Reported,
        stamp: &Stamp,
        out: &mut Vec<u8>,
    ) {
        self.begins(stamp, out);
        self.closes(stamp, out);
        let end = self.end.unwrap_or_default();
        let output = self.output(stamp);
        let whole = shortfall(end, &output).is_none();
        let kind = if whole {
            "response.completed"
        } else {
            "response.incomplete"
        };
        let response = response(stamp, Some(end), output, Some(reported));
        self.event(kind, json!({ "response": response }), out);
    }

    fn output(&self, stamp: &Stamp) -> Vec<Value> {
        let items = self.items.iter().enumerate();
        items
            .map(|(index, item)| item.json(&stamp.id, index, "completed"))
            .collect()
    }

    fn event(&mut self, kind: &str, mut fields: Value, out: &mut Vec<u8>) {
        fields["type"] = kind.into();
        fields["sequence_number"] = self.sequence.into();
        self.sequence += 1;
        sse::write_event(kind, &fields.to_string(), out);
    }

    fn begins(&mut self, stamp: &Stamp, out: &mut Vec<u8>) {
        if self.sequence > 0 {
            return;
        }
        for kind in ["response.created", "response.in_progress"] {
            let response = response(stamp, None, Vec::new(), None);
            self.event(kind, json!({ "response": response }), out);
        }
    }

    fn speaks(&mut self, kind: Kind, text: &str, stamp: &Stamp, out: &mut Vec<u8>) {
        let same = self.open && self.items.last().is_some_and(|item| item.kind == kind);
        if !same {
            self.closes(stamp, out);
            self.opens(kind, stamp, out);
        }
        self.delta(self.items.len() - 1, text, stamp, out);
    }

    fn opens(&mut self, kind: Kind, stamp: &Stamp, out: &mut Vec<u8>) {
        let item = Item {
            kind,
            text: String::new(),
        };
        let index = self.items.len();
        let id = item.id(&stamp.id, index);
        let added = item.json(&stamp.id, index, "in_progress");
        let part = item.part("");
        let names = Names::of(&item.kind);
        self.items.push(item);
        self.open = true;
        let fields = json!({ "output_index": index, "item": added });
        self.event("response.output_item.added", fields, out);
        if let Some(names) = names.part {
            let mut fields = json!({ "item_id": id, "output_index": index, "part": part });
            fields[names.index] = 0.into();
            self.event(names.added, fields, out);
        }
    }

    fn delta(&mut self, index: usize, text: &str, stamp: &Stamp, out: &mut Vec<u8>) {
        let Some(item) = self.items.get_mut(index) else {
            return;
        };
        item.text.push_str(text);
        let names = Names::of(&item.kind);
        let mut fields =
            json!({ "item_id": item.id(&stamp.id, index), "output_index": index, "delta": text });
        if let Some(part) = names.part {
            fields[part.index] = 0.into();
        }
        if item.kind == Kind::Text {
            fields["logprobs"] = json!([]);
        }
        self.event(names.delta, fields, out);
    }

    fn closes(&mut self, stamp: &Stamp, out: &mut Vec<u8>) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let index = self.items.len().saturating_sub(1);
        let Some(item) = self.items.last() else {
            return;
        };
        let id = item.id(&stamp.id, index);
        let names = Names::of(&item.kind);
        let part = item.part(&item.text);
        let mut done = json!({ "item_id": id, "output_index": index });
        done[names.text] = item.text.as_str().into();
        if item.kind == Kind::Text {
            done["logprobs"] = json!([]);
        }
        if let Kind::Call { name, .. } = &item.kind {
            done["name"] = name.as_str().into();
        }
        let whole = item.json(&stamp.id, index, "completed");
        if let Some(names) = names.part {
            done[names.index] = 0.into();
        }
        self.event(names.done, done, out);
        if let Some(names) = names.part {
            let mut fields = json!({ "item_id": id, "output_index": index, "part": part });
            fields[names.index] = 0.into();
            self.event(names.finished, fields, out);
        }
        let fields = json!({ "output_index": index, "item": whole });
        self.event("response.output_item.done", fields, out);
    }
}

/// Names of an item's events and fields.
struct Names {
    delta: &'static str,
    done: &'static str,
    /// The field of the last event that holds all of it.
    text: &'static str,
    part: Option<PartNames>,
}

#[derive(Clone, Copy)]
struct PartNames {
    added: &'static str,
    finished: &'static str,
    index: &'static str,
}

impl Names {
    fn of(kind: &Kind) -> Self {
        const CONTENT: PartNames = PartNames {
            added: "response.content_part.added",
            finished: "response.content_part.done",
            index: "content_index",
        };
        const SUMMARY: PartNames = PartNames {
            added: "response.reasoning_summary_part.added",
            finished: "response.reasoning_summary_part.done",
            index: "summary_index",
        };
        let (delta, done, text, part) = match kind {
            Kind::Text => (
                "response.output_text.delta",
                "response.output_text.done",
                "text",
                Some(CONTENT),
            ),
            Kind::Refusal => (
                "response.refusal.delta",
                "response.refusal.done",
                "refusal",
                Some(CONTENT),
            ),
            Kind::Reasoning => (
                "response.reasoning_summary_text.delta",
                "response.reasoning_summary_text.done",
                "text",
                Some(SUMMARY),
            ),
            Kind::Call { .. } => (
                "response.function_call_arguments.delta",
                "response.function_call_arguments.done",
                "arguments",
                None,
            ),
        };
        Self {
            delta,
            done,
            text,
            part,
        }
    }
}
