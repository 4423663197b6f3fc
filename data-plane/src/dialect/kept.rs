//! Ids of what a provider keeps, marked with the account that keeps it.
//!
//! A stored response is known to one account and to nobody else, and the proxy keeps
//! nothing between two requests; but every client returns a response's id as it came.
//!
//! Owns: the mark in an id, taking it out of a request, and marking the ids of an answer
//! that goes out. Everything else stays byte for byte, but for what the lane decides.

use bytes::Bytes;
use serde_json::Value;
use spillway_routing::account::Account;

use super::WireRequest;
use super::peek::{at, text};
use super::sse::Frame;
use crate::chat::{Body, quoted};

/// Between the id and the account. Providers make ids of letters, digits and lines.
const MARK: &str = "__spillway_at_";

/// An id that says which account keeps what it names.
fn marked(id: &str, account: Account) -> String {
    format!("{id}{MARK}{account}")
}

/// The id that the provider made, and the account, if it says one.
pub(crate) fn opened(id: &str) -> (&str, Option<Account>) {
    let parts = id.rsplit_once(MARK);
    let known = parts.and_then(|(id, account)| Some((id, Account::parse(account)?)));
    known.map_or((id, None), |(id, account)| (id, Some(account)))
}

/// What a lane changes of a request whose answer may be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane<'a> {
    pub(super) path: &'static str,
    pub(super) model: &'a str,
    pub(super) tier: Option<&'a str>,
    pub(super) stream: bool,
}

impl Lane<'_> {
    /// The caller's body for it; all other values byte for byte. `previous` names what the
    /// request goes on from, `input` takes the place of what was said, where it has to.
    pub(super) fn forward(
        &self,
        body: &Body,
        previous: &'static str,
        input: Option<&str>,
    ) -> WireRequest {
        let (model, tier) = (quoted(self.model), self.tier.map(quoted));
        let mut first = vec![("model", model.as_str())];
        first.extend(tier.as_deref().map(|tier| ("service_tier", tier)));
        let mut without = vec!["model", "service_tier", "start_within"];
        let id = body.text(previous);
        let id = id.as_deref().map(opened);
        let id = id.and_then(|(id, account)| account.map(|_| quoted(id)));
        let streams = self.stream && body.raw("stream") != Some("true");
        let changed = [
            ("input", input),
            (previous, id.as_deref()),
            ("stream", streams.then_some("true")),
        ];
        for (name, value) in changed {
            if let Some(value) = value {
                first.push((name, value));
                without.push(name);
            }
        }
        WireRequest {
            path: self.path.into(),
            body: body.rewritten(&first, &without),
        }
    }
}

/// Marks the ids of one answer, whole or event by event.
#[derive(Debug)]
pub(crate) struct Marker {
    account: Account,
    /// As they stand in the answer, in quotes, and what takes their place.
    ids: Vec<(String, String)>,
}

impl Marker {
    pub(crate) fn new(account: Account) -> Self {
        Self {
            account,
            ids: Vec::new(),
        }
    }

    /// A whole answer with its ids marked.
    pub(crate) fn mark(&mut self, whole: Bytes) -> Bytes {
        if self.ids.is_empty() {
            self.learn(&whole);
        }
        self.marked(whole)
    }

    /// The same for one event of an answer.
    pub(crate) fn mark_frame(&mut self, frame: Frame) -> Bytes {
        if self.ids.is_empty()
            && let Some(data) = frame.data()
        {
            self.learn(&data);
        }
        self.marked(frame.0)
    }

    fn marked(&self, mut marked: Bytes) -> Bytes {
        for (id, to) in &self.ids {
            marked = replaced(marked, id.as_bytes(), to.as_bytes());
        }
        marked
    }

    /// The ids of what is kept and of what was before it, from the first JSON that has them.
    fn learn(&mut self, data: &[u8]) {
        let value: Value = serde_json::from_slice(data).unwrap_or_default();
        let within = at(&value, "response").or_else(|| at(&value, "interaction"));
        let kept = within.unwrap_or(&value);
        for name in ["id", "previous_response_id", "previous_interaction_id"] {
            let id = text(kept, name).filter(|id| !id.is_empty());
            let quoted = |id: &str| format!("\"{id}\"");
            let pair = id.map(|id| (quoted(id), quoted(&marked(id, self.account))));
            self.ids.extend(pair);
        }
    }
}

fn replaced(bytes: Bytes, from: &[u8], to: &[u8]) -> Bytes {
    let mut places = memchr::memmem::find_iter(&bytes, from).peekable();
    if places.peek().is_none() {
        return bytes;
    }
    let (mut replaced, mut end) = (Vec::with_capacity(bytes.len() + to.len()), 0);
    for place in places {
        replaced.extend_from_slice(&bytes[end..place]);
        replaced.extend_from_slice(to);
        end = place + from.len();
    }
    replaced.extend_from_slice(&bytes[end..]);
    Bytes::from(replaced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ACCOUNT: Account = Account(0x1a2b_3c4d);

    fn mark(parts: &[&str]) -> String {
        let mut marker = Marker::new(ACCOUNT);
        let marked = parts.iter().map(|part| {
            let bytes = Bytes::copy_from_slice(part.as_bytes());
            if part.starts_with("data: ") {
                marker.mark_frame(Frame(bytes))
            } else {
                marker.mark(bytes)
            }
        });
        String::from_utf8(marked.flat_map(Vec::from).collect()).unwrap()
    }

    #[test]
    fn only_the_ids_of_responses_are_marked() {
        let whole = r#"{"id": "resp_2", "previous_response_id":"resp_1", "output":[{"id":"msg_1","text":"resp_2 \"resp_2\""}]}"#;
        assert_eq!(
            mark(&[whole]),
            r#"{"id": "resp_2__spillway_at_1a2b3c4d", "previous_response_id":"resp_1__spillway_at_1a2b3c4d", "output":[{"id":"msg_1","text":"resp_2 \"resp_2\""}]}"#
        );
    }

    #[test]
    fn the_events_of_a_stream_agree() {
        let said = mark(&[
            "data: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"status\":\"in_progress\"}}\n\n",
            "data: {\"type\":\"response.output_text.delta\",\"delta\":\"hi\"}\n\n",
            "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\"}}\n\n",
        ]);
        assert_eq!(said.matches("\"r__spillway_at_1a2b3c4d\"").count(), 2);
        assert!(said.contains("\"delta\":\"hi\""));
    }

    #[test]
    fn what_is_no_response_stays_as_it_is() {
        for text in ["", "[]", "data: [DONE]", r#"{"error":{"message":"no"}}"#] {
            assert_eq!(mark(&[text]), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_marked_is_opened(id in "[a-z_0-9]{1,40}", account: u32, outer: u32) {
            let once = marked(&id, Account(account));
            prop_assert_eq!(opened(&once), (id.as_str(), Some(Account(account))));
            // A proxy behind a proxy.
            let twice = marked(&once, Account(outer));
            prop_assert_eq!(opened(&twice), (once.as_str(), Some(Account(outer))));
        }

        #[test]
        fn any_id_is_opened_without_panic(id in "\\PC{0,40}") {
            let (opened, account) = opened(&id);
            prop_assert!(account.is_some() || opened == id);
        }
    }
}
