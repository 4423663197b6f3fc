//! Tests of how answers are cut and counted.

use super::*;

fn draft(ask: &Ask) -> Draft<'_> {
    Draft::new(ask, Tempo::Usual(Latency::TYPICAL))
}

fn text(answer: &Answer) -> String {
    answer.items.iter().map(Item::text).collect()
}

fn total(answer: &Answer) -> u64 {
    answer.items.iter().map(Item::tokens).sum()
}

#[test]
fn an_answer_of_no_tokens_still_says_something() {
    let answer = draft(&Ask::default()).words(&["so"], 0);
    assert_eq!(answer.items[0].pieces().len(), 1);
    assert_eq!((total(&answer), answer.finish), (0, Finish::Stop));
}

#[test]
fn a_text_ends_before_its_first_stop_sequence() {
    let mut ask = Ask {
        stops: vec!["four".to_owned(), "o th".to_owned(), String::new()],
        ..Ask::default()
    };
    let answer = draft(&ask).sentence("one two three four");
    assert_eq!(text(&answer), "one tw");
    assert_eq!(answer.finish, Finish::StopSequence("o th".to_owned()));
    assert_eq!((answer.usage.output_tokens, total(&answer)), (2, 2));
    ask.stops = vec!["one".to_owned()];
    let answer = draft(&ask).sentence("one two");
    assert_eq!((answer.items.len(), answer.usage.output_tokens), (0, 0));
    ask.stops = vec!["five".to_owned()];
    assert_eq!(draft(&ask).sentence("one two").finish, Finish::Stop);
}

#[test]
fn reasoning_is_counted_and_limited_with_the_rest() {
    let mut ask = Ask {
        reasoning: true,
        ..Ask::default()
    };
    let answer = draft(&ask).sentence("one two");
    assert_eq!(answer.items[0].text(), "thinking about it");
    let usage = answer.usage;
    assert_eq!((usage.reasoning_tokens, usage.output_tokens), (3, 5));
    for (limit, items) in [(4, 2), (3, 1), (2, 1)] {
        ask.output_tokens_max = Some(limit);
        let answer = draft(&ask).sentence("one two");
        assert_eq!((answer.items.len(), total(&answer)), (items, limit));
        assert_eq!(answer.finish, Finish::Length);
    }
    assert_eq!(draft(&ask).refusal("no way").usage.reasoning_tokens, 0);
}

#[test]
fn calls_share_the_tokens_that_are_known() {
    let tool = |name: &str, arguments: &str| Tool {
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    };
    let tools = [tool("a", "{\"city\":\"sample\"}"), tool("b", "{}")];
    let ask = Ask::default();
    let answer = draft(&ask).calls(&tools, Some(7));
    assert_eq!(total(&answer), 7);
    let expected = tools.map(|tool| (tool.name, tool.arguments));
    assert_eq!(answer.calls(), expected);
    assert_eq!(answer.finish, Finish::Calls);
    assert_eq!(draft(&ask).calls(&[], None).usage.output_tokens, 0);
}

#[test]
fn whitespace_and_json_survive_the_pieces() {
    let ask = Ask::default();
    let odd = "a  b\n\n c ";
    assert_eq!(text(&draft(&ask).sentence(odd)), odd);
    let json = "{\"ä\":\"ö ü\",\"list\":[1,2,3]}";
    let answer = draft(&ask).json(json);
    assert!(answer.items[0].pieces().len() > 1);
    assert_eq!(text(&answer), json);
}
