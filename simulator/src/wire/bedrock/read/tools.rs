//! The Bedrock Converse wire: the tools of a request.
//!
//! Owns: their specifications, and what the request says of calls. It must not know the
//! rest of a request.

use serde_json::Value;

use super::messages::{cache_point, is_name};
use super::{by_model, constraint, missing, object, only_known, union};
use crate::ask::{Ask, Choice, Refusal, Tool};
use crate::schema;

/// Reads tools and tool choice. A conversation with calls in it needs the tools too.
pub(super) fn read(
    body: &Value,
    more: &Value,
    ask: &mut Ask,
    used_before: bool,
) -> Result<(), Refusal> {
    let config = object(body, "toolConfig")?;
    if config.is_null() {
        return if used_before {
            Err(Refusal::invalid(
                "The toolConfig field must be defined when using toolUse and toolResult content \
                 blocks.",
            ))
        } else {
            Ok(())
        };
    }
    only_known(config, &["tools", "toolChoice"], "toolConfig")?;
    let tools = match &config["tools"] {
        Value::Array(tools) if !tools.is_empty() => tools,
        Value::Null => return Err(missing("toolConfig.tools")),
        other => {
            let rule = "have length greater than or equal to 1";
            return Err(constraint("toolConfig.tools", other, rule));
        }
    };
    for (index, tool) in tools.iter().enumerate() {
        // Members of lists are counted from 1 in these messages.
        let at = format!("toolConfig.tools.{}.member", index + 1);
        match union(tool, &at)? {
            ("toolSpec", spec) => ask.tools.push(specification(spec, &at)?),
            ("cachePoint", point) => cache_point(point, &at)?,
            // A tool of the provider's own is known and never called.
            ("systemTool", _) => {}
            (name, _) => {
                let rule = "satisfy enum value set: [toolSpec, systemTool, cachePoint]";
                return Err(constraint(&at, &Value::from(name), rule));
            }
        }
    }
    let own = &more["tool_choice"];
    ask.one_call = own["disable_parallel_tool_use"] == true;
    let wanted = choice(&config["toolChoice"])?;
    if !ask.choose(&wanted) {
        return Err(by_model(Refusal::invalid(
            "tool_choice: no such tool among `tools`",
        )));
    }
    if ask.reasoning && ask.tool_required {
        let flaw = "Thinking may not be enabled when tool_choice forces tool use.";
        return Err(by_model(Refusal::invalid(flaw)));
    }
    Ok(())
}

fn specification(spec: &Value, at: &str) -> Result<Tool, Refusal> {
    let at = format!("{at}.toolSpec");
    let known = ["name", "description", "inputSchema", "strict"];
    only_known(spec, &known, &at)?;
    let name = spec["name"].as_str();
    let name = name.ok_or_else(|| missing(&format!("{at}.name")))?;
    if !is_name(name) {
        let rule = "satisfy regular expression pattern: [a-zA-Z0-9_-]+";
        return Err(constraint(&format!("{at}.name"), &spec["name"], rule));
    }
    if spec["description"] == "" {
        let rule = "have length greater than or equal to 1";
        let at = format!("{at}.description");
        return Err(constraint(&at, &spec["description"], rule));
    }
    let schema = &spec["inputSchema"]["json"];
    if schema.is_null() {
        return Err(missing(&format!("{at}.inputSchema")));
    }
    if schema["type"] != "object" {
        return Err(Refusal::invalid(format!(
            "The value at {at}.inputSchema.json.type must be one of the following: object."
        )));
    }
    Ok(Tool {
        name: name.to_owned(),
        arguments: schema::arguments(Some(schema)).to_string(),
    })
}

fn choice(choice: &Value) -> Result<Choice, Refusal> {
    if choice.is_null() {
        return Ok(Choice::Auto);
    }
    match union(choice, "toolConfig.toolChoice")? {
        ("auto", _) => Ok(Choice::Auto),
        ("any", _) => Ok(Choice::Required),
        ("tool", tool) => {
            let name = tool["name"].as_str();
            let name = name.ok_or_else(|| missing("toolConfig.toolChoice.tool.name"))?;
            Ok(Choice::named(name))
        }
        (name, _) => {
            let rule = "satisfy enum value set: [auto, any, tool]";
            Err(constraint(
                "toolConfig.toolChoice",
                &Value::from(name),
                rule,
            ))
        }
    }
}
