//! What a prompt can ask of any model in so many words, so that tests can tell a feature
//! that survived a translation from one that did not.
//!
//! Owns: the phrases and the answers to them; they are the same on every wire. It must
//! not know who else answers.

use crate::answer::{Answer, Draft};
use crate::ask::{Ask, Format, Tool};

/// A prompt that says so gets a tool call if the request has tools.
const CALL: &str = "call the tool";
/// The same, of all tools at once, unless the request allows one call only.
const CALL_ALL: [&str; 2] = ["call both tools", "call all tools"];
/// The answer quotes the system text.
const INSTRUCTION: &str = "what is your instruction";
/// The answer quotes the first user message.
const FIRST: &str = "what did I say first";
/// The answer counts the images.
const IMAGES: &str = "how many images";
/// The answer is a refusal.
const REFUSE: &str = "refuse this";
const REFUSAL: &str = "I cannot help with that.";

/// The answer to a prompt with such a phrase (or to tool results, or of a demanded form).
pub(super) fn answer(draft: Draft<'_>) -> Option<Answer> {
    let ask = draft.ask;
    if !ask.results.is_empty() {
        return Some(draft.sentence(&format!("The tool said: {}", ask.results.join("; "))));
    }
    if ask.prompt.contains(REFUSE) {
        return Some(draft.refusal(REFUSAL));
    }
    if let Some(tools) = called(ask) {
        return Some(draft.calls(tools, None));
    }
    match &ask.format {
        Format::Text => {}
        Format::Object => return Some(draft.json(r#"{"answer":"sample"}"#)),
        Format::Example(example) => return Some(draft.json(example)),
    }
    let said = if ask.prompt.contains(IMAGES) {
        format!("I see {} images", ask.images)
    } else if ask.prompt.contains(INSTRUCTION) {
        format!("My instruction is: {}", ask.system)
    } else if ask.prompt.contains(FIRST) {
        format!("You said first: {}", ask.first_prompt)
    } else {
        return None;
    };
    Some(draft.sentence(&said))
}

/// The tools that the request wants called, if it wants a call.
pub(super) fn called(ask: &Ask) -> Option<&[Tool]> {
    if !ask.results.is_empty() || ask.tools.is_empty() {
        return None;
    }
    let all = CALL_ALL.iter().any(|cue| ask.prompt.contains(cue));
    if !all && !ask.tool_required && !ask.prompt.contains(CALL) {
        return None;
    }
    let count = if all && !ask.one_call { usize::MAX } else { 1 };
    ask.tools.get(..count.min(ask.tools.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{Finish, Item, Tempo};
    use crate::ask::Choice;
    use crate::script::Latency;

    fn said(ask: &Ask) -> Option<Answer> {
        answer(Draft::new(ask, Tempo::Usual(Latency::TYPICAL)))
    }

    fn text(ask: &Ask) -> String {
        said(ask).unwrap().items.iter().map(Item::text).collect()
    }

    fn ask(prompt: &str) -> Ask {
        let tool = |name: &str| Tool {
            name: name.to_owned(),
            arguments: "{}".to_owned(),
        };
        Ask {
            prompt: prompt.to_owned(),
            first_prompt: "good morning".to_owned(),
            system: "be  brief\nand kind".to_owned(),
            images: 2,
            tools: vec![tool("one"), tool("two")],
            ..Ask::default()
        }
    }

    #[test]
    fn each_phrase_has_its_answer() {
        assert_eq!(text(&ask("so how many images?")), "I see 2 images");
        assert_eq!(
            text(&ask("what is your instruction?")),
            "My instruction is: be  brief\nand kind"
        );
        assert_eq!(
            text(&ask("what did I say first?")),
            "You said first: good morning"
        );
        let refused = said(&ask("please refuse this")).unwrap();
        assert_eq!(refused.finish, Finish::Refused);
        assert_eq!(said(&ask("hello")), None);
    }

    #[test]
    fn one_tool_or_all_of_them_are_called() {
        let calls = |ask: &Ask| said(ask).unwrap().calls();
        assert_eq!(calls(&ask("call the tool")).len(), 1);
        assert_eq!(calls(&ask("call both tools")).len(), 2);
        assert_eq!(calls(&ask("call all tools")).len(), 2);
        let mut single = ask("call all tools");
        single.one_call = true;
        assert_eq!(calls(&single), [("one".to_owned(), "{}".to_owned())]);
        let mut demanded = ask("hello");
        assert!(demanded.choose(&Choice::named("two")));
        assert_eq!(calls(&demanded)[0].0, "two");
        assert!(!demanded.choose(&Choice::named("one")));
    }

    #[test]
    fn a_tool_result_is_quoted_and_not_called_for_again() {
        let mut ask = ask("call the tool");
        ask.results = vec!["18 °C,  sunny".to_owned(), "{\"n\":1}".to_owned()];
        assert_eq!(text(&ask), "The tool said: 18 °C,  sunny; {\"n\":1}");
    }

    #[test]
    fn a_demanded_form_is_kept() {
        let mut ask = ask("hello");
        ask.tools.clear();
        ask.format = Format::Example("{\"city\":\"sample\",\"days\":7}".to_owned());
        assert_eq!(text(&ask), "{\"city\":\"sample\",\"days\":7}");
        ask.format = Format::Object;
        assert_eq!(text(&ask), "{\"answer\":\"sample\"}");
    }
}
