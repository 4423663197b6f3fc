//! The Gemini generateContent wire: the tools of a request.
//!
//! Owns: their declarations, the smaller language their `parameters` are written in, and
//! what the request says of calls. It must not know the rest of a request.

use serde_json::Value;

use super::{field, invalid_value, snake, unknown_name};
use crate::ask::{Ask, Choice, Refusal, Tool};
use crate::schema;

/// What a schema of this wire's own may have: a part of OpenAPI, not JSON Schema.
const SCHEMA: [&str; 23] = [
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "maxItems",
    "minItems",
    "properties",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "example",
    "anyOf",
    "propertyOrdering",
    "default",
    "items",
    "minimum",
    "maximum",
    "prefixItems",
];
const TOOLS: [&str; 8] = [
    "functionDeclarations",
    "googleSearch",
    "googleSearchRetrieval",
    "codeExecution",
    "urlContext",
    "computerUse",
    "fileSearch",
    "googleMaps",
];
const DECLARATION: [&str; 7] = [
    "name",
    "description",
    "parameters",
    "parametersJsonSchema",
    "response",
    "responseJsonSchema",
    "behavior",
];

/// Reads tools and tool choice.
pub(super) fn read(body: &Value, ask: &mut Ask) -> Result<(), Refusal> {
    let tools = match field(body, "tools") {
        None => &Vec::new(),
        Some(Value::Array(tools)) => tools,
        Some(other) => return Err(invalid_value("tools", other)),
    };
    for (index, tool) in tools.iter().enumerate() {
        let at = format!("tools[{index}]");
        super::only_known(tool, &TOOLS, &format!(" at '{at}'"))?;
        let declared = field(tool, "functionDeclarations").and_then(Value::as_array);
        for (index, function) in declared.into_iter().flatten().enumerate() {
            let at = format!("{at}.function_declarations[{index}]");
            ask.tools.push(declaration(function, &at)?);
        }
    }
    let choice = choice(body)?;
    if ask.choose(&choice) {
        Ok(())
    } else {
        let message = "Function calling config: no function declaration of an allowed name.";
        Err(Refusal::invalid(message))
    }
}

fn declaration(function: &Value, at: &str) -> Result<Tool, Refusal> {
    super::only_known(function, &DECLARATION, &format!(" at '{at}'"))?;
    let name = function["name"].as_str().filter(|name| fits(name));
    let name = name.ok_or_else(|| {
        Refusal::invalid(format!(
            "* GenerateContentRequest.{at}.name: Invalid function name. Must start with a letter \
             or an underscore."
        ))
    })?;
    let own = field(function, "parameters");
    let json = field(function, "parametersJsonSchema");
    if own.is_some() && json.is_some() {
        let message = format!("{at}: parameters and parameters_json_schema exclude each other");
        return Err(Refusal::invalid(message));
    }
    if let Some(schema) = own {
        check_schema(schema, &format!("{at}.parameters"))?;
    }
    Ok(Tool {
        name: name.to_owned(),
        arguments: schema::arguments(own.or(json)).to_string(),
    })
}

/// Whether a function may be called so.
pub(in crate::wire) fn fits(name: &str) -> bool {
    let begins = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    let fit = |letter: char| letter.is_ascii_alphanumeric() || "_.:-".contains(letter);
    name.starts_with(begins) && name.len() <= 128 && name.chars().all(fit)
}

/// Refuses what JSON Schema has and this wire's own schemas have not.
pub(super) fn check_schema(schema: &Value, at: &str) -> Result<(), Refusal> {
    let Some(members) = schema.as_object() else {
        return Err(invalid_value(at, schema));
    };
    for (name, value) in members {
        let known = SCHEMA.iter().find(|k| *k == name || snake(k) == *name);
        match known.copied() {
            None => return Err(unknown_name(name, &format!(" at '{at}'"))),
            Some("type") if !value.is_string() => {
                return Err(invalid_value(&format!("{at}.type"), value));
            }
            Some("items") => check_schema(value, &format!("{at}.items"))?,
            Some("properties") => {
                let all = value.as_object();
                for (name, property) in all.into_iter().flatten() {
                    check_schema(property, &format!("{at}.properties[{name}]"))?;
                }
            }
            Some("anyOf") => {
                for variant in value.as_array().into_iter().flatten() {
                    check_schema(variant, &format!("{at}.any_of"))?;
                }
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn choice(body: &Value) -> Result<Choice, Refusal> {
    let config = field(body, "toolConfig").and_then(|c| field(c, "functionCallingConfig"));
    let Some(config) = config else {
        return Ok(Choice::Auto);
    };
    let at = "tool_config.function_calling_config";
    let known = [
        "mode",
        "allowedFunctionNames",
        "streamFunctionCallArguments",
    ];
    super::only_known(config, &known, &format!(" at '{at}'"))?;
    let mode = config["mode"].as_str().map(str::to_uppercase);
    let allowed = field(config, "allowedFunctionNames").and_then(Value::as_array);
    let names: Option<Vec<String>> = allowed.map(|names| {
        let names = names.iter().filter_map(Value::as_str);
        names.map(str::to_owned).collect()
    });
    match (mode.as_deref(), names) {
        (None | Some("AUTO" | "MODE_UNSPECIFIED" | "VALIDATED"), None) => Ok(Choice::Auto),
        (Some("NONE"), None) => Ok(Choice::None),
        (Some("ANY"), None) => Ok(Choice::Required),
        (Some("ANY"), Some(names)) => Ok(Choice::Among {
            required: true,
            names,
        }),
        (Some("VALIDATED"), Some(names)) => Ok(Choice::Among {
            required: false,
            names,
        }),
        (None | Some("AUTO" | "NONE" | "MODE_UNSPECIFIED"), Some(_)) => Err(Refusal::invalid(
            "Please set allowed_function_names only when function calling mode is ANY.",
        )),
        (Some(_), _) => Err(invalid_value(&format!("{at}.mode"), &config["mode"])),
    }
}
