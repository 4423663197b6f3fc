//! A request of another dialect, as Converse.
//!
//! Owns: the body that is sent, and what it cannot say. Converse wants turns that
//! alternate, no empty text, and the tools of every call that a conversation holds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use spillway_routing::catalogue::Upstream;
use spillway_routing::prompt::Role;
use spillway_routing::unit::Tokens;

use crate::conversation::{
    Conversation, Effort, Form, Loss, Losses, Part, Setting, Source, Tool, ToolChoice, ToolResult,
};
use crate::dialect::{JSON_ONLY, OPENING, claude, seal};

/// Settings that other dialects know as well, under their names here.
const SETTINGS: [(Setting, &str); 2] = [
    (Setting::Temperature, "temperature"),
    (Setting::TopP, "topP"),
];
/// Formats of documents, by their media types.
const DOCUMENTS: [(&str, &str); 9] = [
    ("application/pdf", "pdf"),
    ("text/csv", "csv"),
    ("application/msword", "doc"),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "docx",
    ),
    ("application/vnd.ms-excel", "xls"),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "xlsx",
    ),
    ("text/html", "html"),
    ("text/plain", "txt"),
    ("text/markdown", "md"),
];
const IMAGES: [&str; 4] = ["png", "jpeg", "gif", "webp"];
/// Where Claude says which sequence stopped it; Converse tells only who asks.
const STOP_SEQUENCE: &str = "/stop_sequence";
/// A document's name, with room for what tells it from others (200 in all).
const NAME_BYTES_MAX: usize = 190;
/// Of a document without a name.
const UNNAMED: &str = "document";

/// What this dialect cannot say of a conversation.
pub(in crate::dialect) fn losses(conversation: &Conversation) -> Losses {
    let has = |wanted| SETTINGS.iter().any(|(known, _)| *known == wanted);
    let mut losses = conversation.losses_without(has);
    losses.add_if(conversation.instructs_later(), Loss::LaterInstructions);
    losses.add_if(conversation.form == Form::JsonObject, Loss::JsonObject);
    losses.add_if(conversation.ends_with_answer(), Loss::Prefill);
    losses.add_if(conversation.one_call, Loss::OneCall);
    let hot = |value: &Value| value.as_f64().is_some_and(|degree| degree > 1.0);
    let temperature = conversation.setting(Setting::Temperature);
    losses.add_if(temperature.is_some_and(hot), Loss::Temperature);
    claude::losses(conversation, &mut losses);
    let blank = |stop: &String| stop.trim().is_empty();
    losses.add_if(conversation.stop.iter().any(blank), Loss::Stop);
    // No choice forbids calls, and where calls were made their tools must be declared.
    let forbidden = conversation.tool_choice == ToolChoice::None;
    losses.add_if(
        forbidden && !conversation.called().is_empty(),
        Loss::ToolChoice,
    );
    for part in conversation.turns.iter().flat_map(|turn| &turn.parts) {
        match part {
            Part::Reasoning(_) => losses.add(Loss::EarlierReasoning),
            Part::Result(result) => result.parts.iter().for_each(|part| lost(part, &mut losses)),
            part => lost(part, &mut losses),
        }
    }
    losses
}

fn lost(part: &Part, losses: &mut Losses) {
    match part {
        Part::Audio(_) => losses.add(Loss::Audio),
        Part::Image(Source::Url(_))
        | Part::File {
            source: Source::Url(_),
            ..
        } => losses.add(Loss::RemoteFile),
        Part::Image(Source::Data { media, .. }) => {
            losses.add_if(image_format(media).is_none(), Loss::File);
        }
        Part::File {
            source: Source::Data { media, .. },
            ..
        } => losses.add_if(document_format(media).is_none(), Loss::File),
        _ => {}
    }
}

/// The body, without what the lane decides. `most` is the model's own limit.
pub(in crate::dialect) fn write(
    conversation: &Conversation,
    upstream: &Upstream,
    most: Tokens,
) -> Map<String, Value> {
    let mut body = Map::new();
    let mut system: Vec<&str> = conversation.system();
    if conversation.form == Form::JsonObject {
        system.push(JSON_ONLY);
    }
    if !system.is_empty() {
        let system = system.iter().map(|text| json!({ "text": text }));
        body.insert("system".into(), system.collect());
    }
    body.insert("messages".into(), messages(conversation).into());
    let claude = claude::name(upstream);
    let inference = inference(conversation, claude, most);
    if !inference.is_empty() {
        body.insert("inferenceConfig".into(), inference.into());
    }
    tools(conversation, &mut body);
    if let Form::JsonSchema { name, schema, .. } = &conversation.form {
        let schema = match claude {
            Some(_) => &claude::schema(schema),
            None => schema,
        };
        let mut form = json!({ "schema": schema.to_string() });
        if let Some(name) = name {
            form["name"] = name.as_str().into();
        }
        let format = json!({ "type": "json_schema", "structure": { "jsonSchema": form } });
        body.insert("outputConfig".into(), json!({ "textFormat": format }));
    }
    let stops = conversation.stop.iter().any(|stop| !stop.trim().is_empty());
    if stops && claude.is_some() {
        let paths = json!([STOP_SEQUENCE]);
        body.insert("additionalModelResponseFieldPaths".into(), paths);
    }
    if let Some(effort) = conversation.thinking.effort {
        thinking(effort, conversation, claude, most, &mut body);
    }
    body
}

fn inference(
    conversation: &Conversation,
    claude: Option<&str>,
    most: Tokens,
) -> Map<String, Value> {
    let mut inference = Map::new();
    // Bedrock cuts Claude off at some 4,000 tokens where nobody says more.
    let usual = claude.map(|_| most.0.into());
    if let Some(most) = conversation.max_output.or(usual) {
        inference.insert("maxTokens".into(), most.into());
    }
    let stops = conversation.stop.iter();
    let stops: Vec<&String> = stops.filter(|stop| !stop.trim().is_empty()).collect();
    if !stops.is_empty() {
        inference.insert("stopSequences".into(), json!(stops));
    }
    let may_set = |setting| claude.is_none_or(|c| claude::may_set(setting, conversation, c));
    for (setting, name) in SETTINGS {
        if let Some(value) = conversation.setting(setting).filter(|_| may_set(setting)) {
            let degree = value.as_f64().map(|degree| degree.min(1.0).into());
            inference.insert(name.into(), degree.unwrap_or_else(|| value.clone()));
        }
    }
    inference
}

/// Claude is told as its own dialect tells it, in a place for what Converse does not know;
/// for other models there is an effort.
fn thinking(
    effort: Effort,
    conversation: &Conversation,
    claude: Option<&str>,
    most: Tokens,
    body: &mut Map<String, Value>,
) {
    if let Some(name) = claude {
        let limit = conversation.max_output.unwrap_or(most.0.into());
        let mut fields = Map::new();
        claude::think(effort, conversation, name, limit, &mut fields);
        if !fields.is_empty() {
            body.insert("additionalModelRequestFields".into(), fields.into());
        }
        return;
    }
    let effort = match effort {
        // There is no word for it.
        Effort::None => return,
        Effort::Minimal => Effort::Low,
        other => other,
    };
    let config = body.entry("outputConfig").or_insert_with(|| json!({}));
    config["effort"] = effort.name().into();
}

fn messages(conversation: &Conversation) -> Vec<Value> {
    let opening = || json!({ "role": "user", "content": [{ "text": OPENING }] });
    let mut messages = Vec::new();
    for (role, parts) in conversation.exchanges() {
        let results = parts.iter().filter_map(|part| match part {
            Part::Result(result) => Some(self::result(result)),
            _ => None,
        });
        let mut blocks: Vec<Value> = results.collect();
        blocks.extend(parts.iter().filter_map(|part| block(part)));
        if blocks.is_empty() {
            continue;
        }
        // A document stands beside words about it, or is refused.
        let has = |name: &str| blocks.iter().any(|block| block.get(name).is_some());
        if has("document") && !has("text") {
            blocks.push(json!({ "text": OPENING }));
        }
        let role = if role == Role::Assistant {
            "assistant"
        } else {
            "user"
        };
        if messages.is_empty() && role == "assistant" {
            messages.push(opening());
        }
        // What stood between two turns of one role had nothing to say.
        match messages.last_mut() {
            Some(last) if last["role"] == role => {
                let content = last["content"].as_array_mut();
                content
                    .into_iter()
                    .for_each(|content| content.append(&mut blocks));
            }
            _ => messages.push(json!({ "role": role, "content": blocks })),
        }
    }
    if messages.is_empty() {
        messages.push(opening());
    }
    let mut names = BTreeMap::new();
    let blocks = messages
        .iter_mut()
        .filter_map(|message| message["content"].as_array_mut());
    blocks
        .flatten()
        .for_each(|block| tell_apart(block, &mut names));
    messages
}

/// No two documents of a conversation may have one name.
fn tell_apart(block: &mut Value, names: &mut BTreeMap<String, usize>) {
    if let Some(Value::String(name)) = block.pointer_mut("/document/name") {
        let mut fresh = name.clone();
        // Of each name how many there were, so that nobody counts from the start again.
        while let Some(count) = names.get_mut(&fresh.to_ascii_lowercase()) {
            *count += 1;
            fresh = format!("{fresh} {count}");
        }
        names.insert(fresh.to_ascii_lowercase(), 1);
        *name = fresh;
    }
    let nested = block.pointer_mut("/toolResult/content");
    let nested = nested.and_then(Value::as_array_mut).into_iter().flatten();
    nested.for_each(|block| tell_apart(block, names));
}

fn block(part: &Part) -> Option<Value> {
    Some(match part {
        Part::Text(text) | Part::Refusal(text) if text.trim().is_empty() => return None,
        Part::Text(text) | Part::Refusal(text) => json!({ "text": text }),
        Part::Image(Source::Data { media, base64 }) => json!({
            "image": { "format": image_format(media)?, "source": { "bytes": base64 } },
        }),
        Part::File {
            source: Source::Data { media, base64 },
            name,
        } => json!({
            "document": {
                "format": document_format(media)?,
                "name": name.as_deref().map_or_else(|| UNNAMED.to_owned(), document_name),
                "source": { "bytes": base64 },
            },
        }),
        Part::Call(call) => json!({
            "toolUse": { "toolUseId": id(&call.id), "name": call.name, "input": call.object() },
        }),
        Part::Image(Source::Url(_))
        | Part::File {
            source: Source::Url(_),
            ..
        }
        | Part::Audio(_)
        | Part::Reasoning(_)
        | Part::Result(_) => return None,
    })
}

fn result(result: &ToolResult) -> Value {
    let mut blocks: Vec<Value> = result.parts.iter().filter_map(block).collect();
    if blocks.is_empty() {
        blocks.push(json!({ "json": {} }));
    }
    let status = if result.failed { "error" } else { "success" };
    json!({
        "toolResult": { "toolUseId": id(&result.id), "content": blocks, "status": status },
    })
}

fn image_format(media: &str) -> Option<&'static str> {
    let kind = media.strip_prefix("image/")?;
    IMAGES.into_iter().find(|known| *known == kind)
}

fn document_format(media: &str) -> Option<&'static str> {
    let known = DOCUMENTS.iter().find(|(known, _)| *known == media);
    known.map(|(_, format)| *format)
}

/// Names are letters, digits, brackets, lines and single spaces here.
fn document_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '(' | ')' | '[' | ']');
    let words = name.split(|c: char| !plain(c)).filter(|w| !w.is_empty());
    let mut name = words.collect::<Vec<_>>().join(" ");
    name.truncate(NAME_BYTES_MAX);
    if name.is_empty() {
        return UNNAMED.to_owned();
    }
    name.trim_end().to_owned()
}

/// Ids are letters, digits and lines here, 64 at most.
fn id(id: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    let id = seal::stripped(id).chars().take(64);
    id.map(|c| if safe(c) { c } else { '_' }).collect()
}

fn tools(conversation: &Conversation, body: &mut Map<String, Value>) {
    let called = conversation.called();
    let forbidden = conversation.tool_choice == ToolChoice::None;
    if called.is_empty() && (forbidden || conversation.tools.is_empty()) {
        return;
    }
    let mut tools: Vec<Value> = conversation.tools.iter().map(tool).collect();
    // Tools that were called once and are not offered any more.
    let known = |name: &str| conversation.tools.iter().any(|tool| tool.name == name);
    let gone: BTreeSet<&str> = called.into_values().filter(|name| !known(name)).collect();
    tools.extend(gone.into_iter().map(|name| {
        tool(&Tool {
            name: name.to_owned(),
            description: None,
            parameters: None,
            strict: None,
        })
    }));
    let mut config = json!({ "tools": tools });
    let choice = match &conversation.tool_choice {
        ToolChoice::Auto | ToolChoice::None => None,
        ToolChoice::Required => Some(json!({ "any": {} })),
        ToolChoice::Named(name) => Some(json!({ "tool": { "name": name } })),
    };
    if let Some(choice) = choice {
        config["toolChoice"] = choice;
    }
    body.insert("toolConfig".into(), config);
}

fn tool(tool: &Tool) -> Value {
    let schema = tool.parameters.clone();
    let schema = schema.unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
    let schema = match tool.strict {
        Some(true) => claude::schema(&schema),
        _ => schema,
    };
    let mut one = json!({ "name": tool.name, "inputSchema": { "json": schema } });
    let description = tool.description.as_deref().filter(|text| !text.is_empty());
    if let Some(description) = description {
        one["description"] = description.into();
    }
    if tool.strict == Some(true) {
        one["strict"] = true.into();
    }
    json!({ "toolSpec": one })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::Turn;

    #[test]
    fn a_documents_name_is_made_of_what_may_stand_in_it() {
        assert_eq!(
            document_name("report (final).v2.pdf"),
            "report (final) v2 pdf"
        );
        assert_eq!(document_name("…"), UNNAMED);
        assert_eq!(document_name(&"a".repeat(400)).len(), NAME_BYTES_MAX);
    }

    fn written(turns: Vec<Turn>) -> Vec<Value> {
        messages(&Conversation {
            turns,
            ..Conversation::default()
        })
    }

    fn turn(role: Role, parts: Vec<Part>) -> Turn {
        Turn { role, parts }
    }

    #[test]
    fn a_turn_that_says_nothing_leaves_no_two_of_one_role() {
        let said = |text: &str| vec![Part::Text(text.to_owned())];
        let thought = vec![Part::Reasoning("hm".to_owned())];
        let written = written(vec![
            turn(Role::User, said("one")),
            turn(Role::Assistant, thought),
            turn(Role::User, said("two")),
        ]);
        let content = json!([{ "text": "one" }, { "text": "two" }]);
        assert_eq!(written, [json!({ "role": "user", "content": content })]);
    }

    #[test]
    fn documents_are_told_apart_by_their_names() {
        let file = |name: Option<&str>| Part::File {
            source: Source::Data {
                media: "application/pdf".to_owned(),
                base64: "JVBERi0=".to_owned(),
            },
            name: name.map(str::to_owned),
        };
        let result = Part::Result(ToolResult {
            id: "a".to_owned(),
            parts: vec![file(Some("A b.pdf"))],
            failed: false,
        });
        let files = vec![file(None), file(None), file(Some("a.b.pdf")), result];
        let written = written(vec![turn(Role::User, files)]).remove(0);
        let content = written["content"].as_array().unwrap();
        let name = |block: &Value| block["document"]["name"].as_str().map(str::to_owned);
        let names: Vec<String> = content.iter().filter_map(name).collect();
        assert_eq!(names, ["document", "document 2", "a b pdf 2"]);
        assert_eq!(
            content[0]["toolResult"]["content"][0]["document"]["name"],
            "A b pdf"
        );
    }
}
