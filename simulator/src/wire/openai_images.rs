//! The OpenAI Images wire.
//!
//! Owns: reading a request for new images, and the answer to it, whole or streamed. The
//! pictures are in `png`. It must not know faults or timing.

mod png;

use serde_json::{Map, Value, json};

use super::openai::{self, missing, wrong_value};
use super::{CREATED, Inbound, Stream, named_event, unknown_member};
use crate::answer::{Answer, Usage};
use crate::ask::{Ask, Refusal, Work, count_text_tokens};
use crate::base64;

/// Everything a request may have; anything else is refused.
const KNOWN: [&str; 15] = [
    "model",
    "prompt",
    "n",
    "size",
    "quality",
    "background",
    "output_format",
    "output_compression",
    "moderation",
    "response_format",
    "stream",
    "partial_images",
    "style",
    "user",
    "safety_identifier",
];
/// What every image costs, in output tokens.
const IMAGE_TOKENS: u64 = 272;
/// More images are refused.
const IMAGES_MAX: u64 = 10;
/// More partial images are refused.
const PARTIALS_MAX: u64 = 3;

/// What the answer to one request is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pen {
    prompt: String,
    images: u64,
    partials: u64,
    /// Members of the answer that repeat the request.
    echo: Map<String, Value>,
}

/// Reads a request, or says why it is refused.
pub(super) fn read(inbound: &Inbound<'_>) -> Result<(Ask, super::Pen), Refusal> {
    let body = openai::parse(inbound.body)?;
    if let Some(name) = unknown_member(&body, &KNOWN) {
        let message = format!("Unknown parameter: '{name}'.");
        return Err(Refusal::invalid(message).about(name));
    }
    let prompt = body["prompt"].as_str().filter(|prompt| !prompt.is_empty());
    let prompt = prompt.ok_or_else(|| missing("prompt"))?;
    let images = openai::count(&body, "n")?.unwrap_or(1);
    let streaming = openai::flag(&body, "stream")?.unwrap_or(false);
    let partials = openai::count(&body, "partial_images")?.unwrap_or(0);
    if images == 0 || images > IMAGES_MAX || (streaming && images > 1) {
        return Err(wrong_value("n", &body["n"]));
    }
    if partials > PARTIALS_MAX || (partials > 0 && !streaming) {
        return Err(wrong_value("partial_images", &body["partial_images"]));
    }
    let ask = Ask {
        model: openai::model(&body)?,
        work: Work::Silent {
            output_tokens: images * IMAGE_TOKENS,
        },
        streaming,
        prompt: prompt.to_owned(),
        input_tokens: count_text_tokens(prompt),
        ..Ask::default()
    };
    let pen = Pen {
        prompt: prompt.to_owned(),
        images,
        partials,
        echo: echo(&body),
    };
    Ok((ask, super::Pen::Images(pen)))
}

fn echo(body: &Value) -> Map<String, Value> {
    let defaults = [
        ("background", "opaque"),
        ("output_format", "png"),
        ("quality", "low"),
        ("size", "1024x1024"),
    ];
    let asked = |name: &str| {
        body[name]
            .as_str()
            .filter(|asked| *asked != "auto")
            .map(str::to_owned)
    };
    defaults
        .into_iter()
        .map(|(name, usual)| {
            (
                name.to_owned(),
                json!(asked(name).unwrap_or(usual.to_owned())),
            )
        })
        .collect()
}

impl Pen {
    fn image(&self, index: u64) -> String {
        base64::encode(&png::dot(&format!("{} {index}", self.prompt)))
    }

    pub(super) fn whole(&self, answer: &Answer) -> String {
        let images = 0..self.images;
        let data = images.map(|index| json!({"b64_json": self.image(index)}));
        self.list(&data.collect(), answer)
    }

    /// The answer of a provider that forgot to answer.
    pub(super) fn empty(&self, answer: &Answer) -> String {
        self.list(&json!([]), answer)
    }

    fn list(&self, data: &Value, answer: &Answer) -> String {
        let mut list = json!({
            "created": CREATED, "data": data, "usage": usage_json(answer.usage),
        });
        if let Some(members) = list.as_object_mut() {
            members.extend(self.echo.clone());
        }
        list.to_string()
    }

    pub(super) fn stream(&self, answer: &Answer) -> Stream {
        let mut stream = Stream::default();
        let event = |name: &str, more: Value| {
            let mut data = json!({"type": name, "created_at": CREATED});
            if let (Some(members), Value::Object(more)) = (data.as_object_mut(), more) {
                members.extend(self.echo.clone());
                members.extend(more);
            }
            named_event(name, &data)
        };
        for index in 0..self.partials {
            let partial = json!({
                "b64_json": self.image(index + 1), "partial_image_index": index,
            });
            stream.speak(event("image_generation.partial_image", partial), 0);
        }
        let last = json!({"b64_json": self.image(0), "usage": usage_json(answer.usage)});
        let last = event("image_generation.completed", last);
        stream.speak(last, answer.usage.output_tokens);
        stream
    }
}

fn usage_json(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"text_tokens": usage.input_tokens, "image_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"image_tokens": usage.output_tokens, "text_tokens": 0},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stand;
    use crate::wire::Wire;

    #[test]
    fn what_is_wrong_is_refused() {
        let with = |more: Value| {
            let mut body = json!({"model": "m", "prompt": "a cat"});
            let members = body.as_object_mut().unwrap();
            members.extend(more.as_object().unwrap().clone());
            stand::read(Wire::OpenAiImages, &body)
        };
        assert_eq!(with(json!({"n": 2})).unwrap().0.input_tokens, 2);
        for more in [
            json!({"prompt": null}),
            json!({"model": null}),
            json!({"n": 0}),
            json!({"n": 11}),
            json!({"n": 2, "stream": true}),
            json!({"partial_images": 1}),
            json!({"partial_images": 4, "stream": true}),
            json!({"start_within": "5m"}),
            json!({"input": "a cat"}),
        ] {
            assert_eq!(with(more.clone()).unwrap_err().status, 400, "{more}");
        }
    }
}
