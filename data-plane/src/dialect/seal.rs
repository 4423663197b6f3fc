//! What a provider wants back with a call, hidden in the call's id.
//!
//! Gemini signs its function calls, or the thoughts before them, and refuses the next turn
//! where the signature is missing. Other dialects have no place for it, and the proxy keeps
//! nothing between two requests; but every client returns a call's id as it came.
//!
//! Owns: putting a signature into an id and taking it out again.

use serde_json::Value;

/// What was signed: each of Google's dialects wants back its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signed {
    /// By generateContent.
    Call,
    /// By Interactions.
    Thought,
}

/// What all marks begin with.
const MARK: &str = "__spillway_";

impl Signed {
    const ALL: [Self; 2] = [Self::Call, Self::Thought];

    /// Between the id and the signature. Providers make ids of letters, digits and lines.
    fn mark(self) -> &'static str {
        match self {
            Self::Call => "__spillway_sig__",
            Self::Thought => "__spillway_thought__",
        }
    }
}

/// Takes the place of a signature where a call was made by another model; documented by
/// Google for histories of mixed origin.
pub(super) const UNSIGNED: &str = "skip_thought_signature_validator";

/// An id that carries a signature (base64), in characters every client takes in ids.
pub(super) fn sealed(id: &str, signed: Signed, signature: Option<&str>) -> String {
    let real = |signature: &&str| !signature.is_empty() && *signature != UNSIGNED;
    let Some(signature) = signature.filter(real) else {
        return id.to_owned();
    };
    let safe = signature.trim_end_matches('=').chars().map(|c| match c {
        '+' => '-',
        '/' => '_',
        other => other,
    });
    format!("{id}{}{}", signed.mark(), safe.collect::<String>())
}

/// The id that the provider made.
pub(super) fn stripped(id: &str) -> &str {
    let marks = Signed::ALL.map(Signed::mark).into_iter();
    let bare = marks
        .filter_map(|mark| id.split_once(mark))
        .map(|(id, _)| id);
    bare.min_by_key(|id| id.len()).unwrap_or(id)
}

/// Whether an id carries anything.
fn is_sealed(id: &str) -> bool {
    stripped(id).len() < id.len()
}

/// The signature, if the id carries one of this kind.
pub(super) fn signature(id: &str, signed: Signed) -> Option<String> {
    let (_, safe) = id.split_once(signed.mark())?;
    let safe = safe.split_once(MARK).map_or(safe, |(safe, _)| safe);
    let mut signature: String = safe
        .chars()
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    while !signature.len().is_multiple_of(4) {
        signature.push('=');
    }
    Some(signature)
}

/// Fields that hold a call's id, in any dialect.
const ID_FIELDS: [&str; 4] = ["id", "tool_call_id", "call_id", "tool_use_id"];

/// Raw JSON with all signatures cut out of its ids; `None` where there are none. Only ids
/// are touched: the mark in a caller's text is the caller's.
pub(super) fn cut(raw: &str) -> Option<String> {
    if !raw.contains(MARK) {
        return None;
    }
    let mut value: Value = serde_json::from_str(raw).ok()?;
    strip(&mut value).then(|| value.to_string())
}

fn strip(value: &mut Value) -> bool {
    match value {
        Value::Array(items) => items.iter_mut().fold(false, |any, item| strip(item) | any),
        Value::Object(fields) => fields.iter_mut().fold(false, |any, (name, field)| {
            let sealed = match field {
                Value::String(id) if ID_FIELDS.contains(&name.as_str()) => is_sealed(id),
                _ => false,
            };
            if sealed {
                let bare = field.as_str().map(|id| stripped(id).to_owned());
                *field = bare.into();
                return true;
            }
            strip(field) | any
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_signature_comes_back(id in "[a-z0-9-]{1,20}", signature in "([A-Za-z0-9+/]{4}){1,9}([A-Za-z0-9+/]{2}==)?") {
            for (signed, other) in [(Signed::Call, Signed::Thought), (Signed::Thought, Signed::Call)] {
                let sealed = sealed(&id, signed, Some(&signature));
                prop_assert_eq!(stripped(&sealed), id.as_str());
                prop_assert_eq!(super::signature(&sealed, signed), Some(signature.clone()));
                prop_assert_eq!(super::signature(&sealed, other), None);
                let raw = format!(r#"[{{"id":"{sealed}","x":1}}]"#);
                prop_assert_eq!(cut(&raw), Some(format!(r#"[{{"id":"{id}","x":1}}]"#)));
            }
        }
    }

    #[test]
    fn each_of_two_signatures_comes_back_whole() {
        let twice = sealed("c", Signed::Call, Some("c2ln"));
        let twice = sealed(&twice, Signed::Thought, Some("dGhv"));
        assert_eq!(signature(&twice, Signed::Call).as_deref(), Some("c2ln"));
        assert_eq!(signature(&twice, Signed::Thought).as_deref(), Some("dGhv"));
        assert_eq!(stripped(&twice), "c");
    }

    #[test]
    fn the_mark_in_a_text_is_the_callers() {
        let raw = r#"[{"content":"what does foo__spillway_sig__bar mean"}]"#;
        assert_eq!(cut(raw), None);
    }

    #[test]
    fn without_a_signature_an_id_stays() {
        assert_eq!(sealed("call_1", Signed::Call, None), "call_1");
        assert_eq!(signature("call_1", Signed::Call), None);
        assert_eq!(cut(r#"{"id":"call_1"}"#), None);
    }
}
