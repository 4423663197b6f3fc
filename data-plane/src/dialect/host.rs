//! What hosts of Chat Completions want of messages beyond OpenAI's reference.
//!
//! Owns: who wants a model's reasoning back and who refuses to see it, whose ids are short,
//! and messages made fit for a host. Hosts are known by their provider's usual id.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::Value;
use spillway_routing::catalogue::Upstream;

use super::seal;

/// Models that refuse a call without the reasoning that led to it.
const WANT_REASONING: [&str; 2] = ["deepseek", "kimi"];
/// Hosts that refuse messages with reasoning, or have no use for it.
const REFUSE_REASONING: [&str; 5] = ["azure", "cerebras", "groq", "mistral", "openai"];
const REASONING: [&str; 2] = ["reasoning", "reasoning_content"];
/// Letters and digits of a call's id, all of them, at a host that takes no other.
const SHORT_ID: usize = 9;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// One host's wishes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host<'u> {
    upstream: &'u Upstream,
    refuses_reasoning: bool,
    short_ids: bool,
}

impl<'u> Host<'u> {
    pub(super) fn of(upstream: &'u Upstream) -> Self {
        let provider = upstream.provider.as_str();
        Self {
            upstream,
            refuses_reasoning: REFUSE_REASONING.contains(&provider),
            short_ids: provider == "mistral",
        }
    }

    /// Whether the model wants its reasoning back.
    pub(super) fn wants_reasoning(&self) -> bool {
        let names = [
            self.upstream.wire_model.as_str(),
            self.upstream.model.as_str(),
        ];
        let names = names.map(str::to_ascii_lowercase);
        let wants = |model: &str| names.iter().any(|name| name.contains(model));
        !self.refuses_reasoning && WANT_REASONING.into_iter().any(wants)
    }

    /// A call's id as the host takes it: what another one made is made anew, alike for the
    /// call and its result.
    pub(super) fn id<'a>(&self, id: &'a str) -> Cow<'a, str> {
        let id = seal::stripped(id);
        let fits = id.len() == SHORT_ID && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !self.short_ids || fits {
            return id.into();
        }
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let mut hash = hasher.finish();
        let short = (0..SHORT_ID).map(|_| {
            let digit = DIGITS[(hash % DIGITS.len() as u64) as usize];
            hash /= DIGITS.len() as u64;
            char::from(digit)
        });
        short.collect::<String>().into()
    }

    /// The caller's messages as the host takes them; `None` where it takes them as they are.
    pub(super) fn fitted(&self, messages: &str) -> Option<String> {
        let bare = seal::cut(messages);
        let now = bare.as_deref().unwrap_or(messages);
        let thoughts = self.refuses_reasoning && now.contains("\"reasoning");
        let ids = self.short_ids && now.contains("\"tool_call");
        if !thoughts && !ids {
            return bare;
        }
        let mut messages: Value = serde_json::from_str(now).ok()?;
        let mut changed = false;
        for message in messages.as_array_mut()? {
            changed |= self.fit(message);
        }
        if changed {
            Some(messages.to_string())
        } else {
            bare
        }
    }

    fn fit(&self, message: &mut Value) -> bool {
        let Value::Object(fields) = message else {
            return false;
        };
        let mut changed = false;
        if self.refuses_reasoning {
            for name in REASONING {
                changed |= fields.remove(name).is_some();
            }
        }
        let calls = fields.get_mut("tool_calls").and_then(Value::as_array_mut);
        for call in calls.into_iter().flatten() {
            changed |= call.get_mut("id").is_some_and(|id| self.shorten(id));
        }
        let answered = fields.get_mut("tool_call_id");
        changed | answered.is_some_and(|id| self.shorten(id))
    }

    fn shorten(&self, id: &mut Value) -> bool {
        let short = id.as_str().map(|id| self.id(id).into_owned());
        let changed = short.is_some() && short.as_deref() != id.as_str();
        if changed {
            *id = short.into();
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::tests::upstream;
    use serde_json::json;
    use spillway_routing::dialect::Dialect;

    fn fitted(provider: &str, messages: &str) -> Option<String> {
        let upstream = Upstream {
            provider: provider.into(),
            ..upstream(Dialect::OpenAiChat)
        };
        Host::of(&upstream).fitted(messages)
    }

    fn moved() -> String {
        let calls = json!([{ "id": "toolu_0123456789", "type": "function", "function": {} }]);
        let messages = json!([
            { "role": "user", "content": "the \"reasoning\" of others" },
            { "role": "assistant", "reasoning_content": "hm", "tool_calls": calls },
            { "role": "tool", "tool_call_id": "toolu_0123456789", "content": "4" },
        ]);
        messages.to_string()
    }

    #[test]
    fn only_hosts_that_refuse_reasoning_get_none() {
        assert_eq!(fitted("together", &moved()), None);
        let sent = fitted("groq", &moved()).unwrap();
        let sent: Value = serde_json::from_str(&sent).unwrap();
        assert!(sent[1].get("reasoning_content").is_none());
        assert_eq!(sent[1]["tool_calls"][0]["id"], "toolu_0123456789");
        let plain = r#"[{"role":"user","content":"my \"reasoning\""}]"#;
        assert_eq!(fitted("groq", plain), None);
    }

    #[test]
    fn reasoning_goes_back_to_models_that_want_it_where_their_host_takes_it() {
        for (provider, model, wants) in [
            ("deepseek", "deepseek-v4-flash", true),
            ("together", "moonshotai/Kimi-K3", true),
            ("groq", "moonshotai/kimi-k2-instruct", false),
            ("together", "openai/gpt-oss-120b", false),
        ] {
            let upstream = Upstream {
                provider: provider.into(),
                wire_model: model.to_owned(),
                ..upstream(Dialect::OpenAiChat)
            };
            let wanted = Host::of(&upstream).wants_reasoning();
            assert_eq!(wanted, wants, "{model} at {provider}");
        }
    }

    #[test]
    fn ids_are_short_where_they_must_be_and_still_a_pair() {
        let sent = fitted("mistral", &moved()).unwrap();
        let sent: Value = serde_json::from_str(&sent).unwrap();
        let id = sent[1]["tool_calls"][0]["id"].as_str().unwrap();
        assert!(id.len() == SHORT_ID && id.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_eq!(sent[2]["tool_call_id"], id);
        // Its own ids stay, and so do those that were made fit.
        let again = fitted("mistral", &sent.to_string());
        assert_eq!(again, None);
        let own = moved().replace("toolu_0123456789", "D681PevKs");
        let own = own.replace("reasoning_content", "note");
        assert_eq!(fitted("mistral", &own), None);
    }
}
