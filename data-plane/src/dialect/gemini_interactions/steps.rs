//! The steps of a streamed interaction, put together.
//!
//! Owns: what each delta adds to its step. One that cannot be added to the letter spoils
//! the whole: half an answer in Google's own name would be a false one.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::dialect::peek::{at, count, text};

#[derive(Debug, Default)]
pub(crate) struct Steps {
    steps: BTreeMap<u64, Value>,
    /// Arguments as they are written.
    arguments: BTreeMap<u64, String>,
    /// The interaction as its end tells it.
    interaction: Option<Value>,
    spoilt: bool,
}

impl Steps {
    pub(in crate::dialect) fn add(&mut self, event: &Value) {
        let index = count(event, "index").unwrap_or(0);
        match text(event, "event_type").unwrap_or_default() {
            "step.start" => {
                let step = at(event, "step").cloned().unwrap_or_default();
                self.steps.insert(index, step);
            }
            "step.delta" => {
                let added = at(event, "delta").and_then(|delta| self.delta(index, delta));
                self.spoilt |= added.is_none();
            }
            "interaction.completed" => self.interaction = at(event, "interaction").cloned(),
            _ => {}
        }
    }

    fn delta(&mut self, index: u64, delta: &Value) -> Option<()> {
        let step = self.steps.get_mut(&index)?;
        match text(delta, "type")? {
            "text" => says(step, "content", text(delta, "text")?),
            "thought_summary" => {
                let content = at(delta, "content")?;
                says(step, "summary", text(content, "text")?)
            }
            "thought_signature" => {
                step["signature"] = at(delta, "signature")?.clone();
                Some(())
            }
            "arguments_delta" => {
                let written = self.arguments.entry(index).or_default();
                written.push_str(text(delta, "arguments")?);
                Some(())
            }
            _ => None,
        }
    }

    /// The interaction, as it would have come at once.
    pub(in crate::dialect) fn whole(mut self) -> Option<Bytes> {
        for (index, written) in &self.arguments {
            let arguments = serde_json::from_str::<Value>(written).ok()?;
            self.steps.get_mut(index)?["arguments"] = arguments;
        }
        let mut interaction = self.interaction.filter(|_| !self.spoilt)?;
        if at(&interaction, "steps").is_none() {
            let steps: Vec<Value> = self.steps.into_values().collect();
            interaction
                .as_object_mut()?
                .insert("steps".into(), steps.into());
        }
        Some(Bytes::from(interaction.to_string()))
    }
}

/// Adds words to the last content of a step, or begins one.
fn says(step: &mut Value, name: &str, added: &str) -> Option<()> {
    let contents = step
        .as_object_mut()?
        .entry(name)
        .or_insert_with(|| json!([]));
    let contents = contents.as_array_mut()?;
    match contents.last_mut().and_then(|last| last.get_mut("text")) {
        Some(Value::String(known)) => known.push_str(added),
        _ => contents.push(json!({ "type": "text", "text": added })),
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_together(deltas: &[Value]) -> Option<Value> {
        let mut steps = Steps::default();
        let call = json!({ "type": "function_call", "id": "a", "name": "f", "arguments": {} });
        for (index, step) in [
            json!({ "type": "thought" }),
            json!({ "type": "model_output" }),
            call,
        ]
        .into_iter()
        .enumerate()
        {
            steps.add(&json!({ "event_type": "step.start", "index": index, "step": step }));
        }
        for delta in deltas {
            steps.add(delta);
        }
        let interaction = json!({ "id": "v1_1", "status": "requires_action" });
        steps.add(&json!({ "event_type": "interaction.completed", "interaction": interaction }));
        let whole = steps.whole()?;
        Some(serde_json::from_slice(&whole).unwrap())
    }

    fn delta(index: u64, delta: Value) -> Value {
        json!({ "event_type": "step.delta", "index": index, "delta": delta })
    }

    #[test]
    fn deltas_make_the_steps_that_would_have_come_at_once() {
        let summary = |text: &str| {
            let content = json!({ "type": "text", "text": text });
            delta(0, json!({ "type": "thought_summary", "content": content }))
        };
        let arguments =
            |json: &str| delta(2, json!({ "type": "arguments_delta", "arguments": json }));
        let whole = put_together(&[
            summary("De"),
            summary("ep"),
            delta(
                0,
                json!({ "type": "thought_signature", "signature": "c2ln" }),
            ),
            delta(1, json!({ "type": "text", "text": "7" })),
            delta(1, json!({ "type": "text", "text": ".5" })),
            arguments("{\"n\":"),
            arguments("1}"),
        ]);
        let steps = json!([
            { "type": "thought", "summary": [{ "type": "text", "text": "Deep" }], "signature": "c2ln" },
            { "type": "model_output", "content": [{ "type": "text", "text": "7.5" }] },
            { "type": "function_call", "id": "a", "name": "f", "arguments": { "n": 1 } },
        ]);
        let whole = whole.unwrap();
        assert_eq!(whole["id"], "v1_1");
        assert_eq!(whole["steps"], steps);
    }

    #[test]
    fn what_is_not_understood_is_not_put_together() {
        assert_eq!(
            put_together(&[delta(1, json!({ "type": "hologram" }))]),
            None
        );
        let broken = json!({ "type": "arguments_delta", "arguments": "{\"n\"" });
        assert_eq!(put_together(&[delta(2, broken)]), None);
        assert_eq!(
            put_together(&[delta(7, json!({ "type": "text", "text": "x" }))]),
            None
        );
    }
}
