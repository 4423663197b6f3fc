//! The OpenAI Embeddings wire.
//!
//! Owns: reading a request and the vectors that answer it: the same model and text give
//! the same vector, anything else another. It must not know faults or timing.

use serde_json::{Value, json};

use super::openai::{self, missing, wrong_type, wrong_value};
use super::{Inbound, unknown_member};
use crate::answer::Answer;
use crate::ask::{Ask, Refusal, Work, count_text_tokens};
use crate::base64;
use crate::dice::Dice;

/// Everything a request may have; anything else is refused.
const KNOWN: [&str; 5] = ["model", "input", "dimensions", "encoding_format", "user"];
/// How long a vector is when the request does not say it: short, for tests to print.
const DIMENSIONS: u64 = 16;
/// Longer vectors are refused.
const DIMENSIONS_MAX: u64 = 3_072;
/// More inputs are refused.
const INPUTS_MAX: usize = 2_048;

/// What the answer to one request is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pen {
    model: String,
    inputs: Vec<Input>,
    dimensions: u64,
    base64: bool,
}

/// One thing to embed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Input {
    /// The text, or the token ids in writing.
    text: String,
    tokens: u64,
}

/// Reads a request, or says why it is refused.
pub(super) fn read(inbound: &Inbound<'_>) -> Result<(Ask, super::Pen), Refusal> {
    let body = openai::parse(inbound.body)?;
    if let Some(name) = unknown_member(&body, &KNOWN) {
        let message = format!("Unrecognized request argument supplied: {name}");
        return Err(Refusal::invalid(message).about(name));
    }
    let model = openai::model(&body)?;
    let dimensions = openai::count(&body, "dimensions")?.unwrap_or(DIMENSIONS);
    if dimensions == 0 || dimensions > DIMENSIONS_MAX {
        return Err(wrong_value("dimensions", &body["dimensions"]));
    }
    let base64 = match body["encoding_format"].as_str() {
        None if body["encoding_format"].is_null() => false,
        Some("float") => false,
        Some("base64") => true,
        _ => return Err(wrong_value("encoding_format", &body["encoding_format"])),
    };
    let inputs = inputs(&body["input"])?;
    let ask = Ask {
        model: model.clone(),
        work: Work::Silent { output_tokens: 0 },
        prompt: inputs.first().map(|i| i.text.clone()).unwrap_or_default(),
        input_tokens: inputs.iter().map(|input| input.tokens).sum(),
        ..Ask::default()
    };
    let pen = Pen {
        model,
        inputs,
        dimensions,
        base64,
    };
    Ok((ask, super::Pen::Embeddings(pen)))
}

fn inputs(input: &Value) -> Result<Vec<Input>, Refusal> {
    let list = match input {
        Value::Null => return Err(missing("input")),
        Value::String(text) => return Ok(vec![of_text(text)?]),
        Value::Array(list) => list,
        _ => return Err(wrong_type("input", "a string or an array")),
    };
    if list.is_empty() || list.len() > INPUTS_MAX {
        return Err(wrong_value("input", &json!(list.len())));
    }
    if list.iter().all(Value::is_u64) {
        return Ok(vec![of_tokens(list)]);
    }
    let one = |value: &Value| match value {
        Value::String(text) => of_text(text),
        Value::Array(ids) if !ids.is_empty() && ids.iter().all(Value::is_u64) => Ok(of_tokens(ids)),
        _ => Err(wrong_type("input", "texts or token ids")),
    };
    list.iter().map(one).collect()
}

fn of_text(text: &str) -> Result<Input, Refusal> {
    if text.is_empty() {
        return Err(Refusal::invalid("'input' cannot be an empty string.").about("input"));
    }
    Ok(Input {
        text: text.to_owned(),
        tokens: count_text_tokens(text),
    })
}

fn of_tokens(ids: &[Value]) -> Input {
    let ids: Vec<String> = ids.iter().map(Value::to_string).collect();
    Input {
        tokens: ids.len() as u64,
        text: format!("token ids {}", ids.join(" ")),
    }
}

impl Pen {
    pub(super) fn whole(&self, answer: &Answer) -> String {
        let data = self.inputs.iter().enumerate().map(|(index, input)| {
            let embedding = self.embedding(&input.text);
            json!({"object": "embedding", "index": index, "embedding": embedding})
        });
        self.list(&data.collect(), answer)
    }

    /// The answer of a provider that forgot to answer.
    pub(super) fn empty(&self, answer: &Answer) -> String {
        self.list(&json!([]), answer)
    }

    fn list(&self, data: &Value, answer: &Answer) -> String {
        let tokens = answer.usage.input_tokens;
        json!({
            "object": "list", "data": data, "model": self.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        })
        .to_string()
    }

    fn embedding(&self, text: &str) -> Value {
        let vector = vector(&self.model, text, self.dimensions);
        if self.base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|n| n.to_le_bytes()).collect();
            return json!(base64::encode(&bytes));
        }
        json!(vector)
    }
}

/// A vector of length one.
fn vector(model: &str, text: &str, dimensions: u64) -> Vec<f32> {
    let mut dice = Dice::of(0, &["embedding", model, text]);
    let drawn: Vec<f64> = (0..dimensions).map(|_| dice.unit() - 0.5).collect();
    let length = drawn.iter().map(|n| n * n).sum::<f64>().sqrt();
    let unit = |n: &f64| (n / length.max(f64::MIN_POSITIVE)) as f32;
    drawn.iter().map(unit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stand;
    use crate::wire::Wire;

    fn read(body: &Value) -> Result<(Ask, super::super::Pen), Refusal> {
        stand::read(Wire::OpenAiEmbeddings, body)
    }

    fn answer(body: &Value) -> Value {
        let (ask, pen) = read(body).unwrap();
        let whole = pen.whole(&Answer::silent(ask.input_tokens, 0));
        serde_json::from_str(&whole).unwrap()
    }

    #[test]
    fn a_text_has_one_vector_of_each_model() {
        let of = |model: &str, input: Value| {
            answer(&json!({"model": model, "input": input, "dimensions": 8}))
        };
        let both = of("m", json!(["hello", "world"]));
        assert_eq!(
            (&both["object"], &both["data"][1]["index"]),
            (&json!("list"), &json!(1))
        );
        let embedding = |answer: &Value, index: usize| answer["data"][index]["embedding"].clone();
        assert_eq!(embedding(&of("m", json!("world")), 0), embedding(&both, 1));
        assert_ne!(embedding(&both, 0), embedding(&both, 1));
        assert_ne!(embedding(&of("n", json!("world")), 0), embedding(&both, 1));
        let vector = embedding(&both, 0);
        let vector = vector.as_array().unwrap();
        let squares: f64 = vector.iter().map(|n| n.as_f64().unwrap().powi(2)).sum();
        assert_eq!(vector.len(), 8);
        assert!((squares - 1.0).abs() < 1e-6, "{squares}");
        // Two tokens each: five bytes.
        assert_eq!(
            both["usage"],
            json!({"prompt_tokens": 4, "total_tokens": 4})
        );
    }

    #[test]
    fn base64_is_the_same_vector() {
        let floats = answer(&json!({"model": "m", "input": [1, 2, 3]}));
        let coded =
            answer(&json!({"model": "m", "input": [[1, 2, 3]], "encoding_format": "base64"}));
        let coded = coded["data"][0]["embedding"].as_str().unwrap();
        let bytes = base64::decode(coded).unwrap();
        let floats = floats["data"][0]["embedding"].as_array().unwrap();
        assert_eq!((bytes.len(), floats.len()), (64, 16));
        for (four, float) in bytes.chunks(4).zip(floats) {
            let coded = f32::from_le_bytes(four.try_into().unwrap());
            assert!((f64::from(coded) - float.as_f64().unwrap()).abs() < 1e-7);
        }
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for body in [
            json!({"model": "m"}),
            json!({"input": "a"}),
            json!({"model": "m", "input": ""}),
            json!({"model": "m", "input": []}),
            json!({"model": "m", "input": ["a", 1]}),
            json!({"model": "m", "input": {"text": "a"}}),
            json!({"model": "m", "input": "a", "dimensions": 0}),
            json!({"model": "m", "input": "a", "encoding_format": "int8"}),
            json!({"model": "m", "input": "a", "start_within": "5m"}),
            json!({"model": "m", "input": "a", "messages": []}),
        ] {
            assert_eq!(read(&body).unwrap_err().status, 400, "{body}");
        }
        let ask = read(&json!({"model": "m", "input": [7, 8, 9]})).unwrap().0;
        assert_eq!(ask.input_tokens, 3);
    }
}
