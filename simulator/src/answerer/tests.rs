//! Tests of what the world and the echo answer.

use super::*;
use crate::answer::{Finish, Item, PIECES_MAX};
use crate::ask::Tool;

fn ask(prompt: &str) -> Ask {
    Ask {
        model: "sim-max".to_owned(),
        streaming: true,
        prompt: prompt.to_owned(),
        input_tokens: 9,
        ..Ask::default()
    }
}

fn total(answer: &Answer) -> u64 {
    answer.items.iter().map(Item::tokens).sum()
}

#[test]
fn the_pieces_sum_up_to_the_usage_and_stay_few() {
    let world = Answerer::World(Arc::new(World::new(1)));
    for number in 0..200 {
        let ask = ask(&world.prompt(number).text);
        let answer = world.answer(1, "sim-max", &ask);
        assert_eq!(total(&answer), answer.usage.output_tokens);
        let [item] = &answer.items[..] else {
            panic!("{answer:?}");
        };
        let count = item.pieces().len();
        assert!(count <= PIECES_MAX, "{count}");
        let words = item.text().split(' ').count() as u64;
        let tokens = answer.usage.output_tokens;
        assert!(words >= tokens, "{words} words for {tokens} tokens");
    }
}

#[test]
fn the_judge_and_the_bill_agree() {
    let world = World::new(1);
    let answerer = Answerer::World(Arc::new(world.clone()));
    let text = answerer.prompt(4).text;
    let mut ask = ask(&text);
    ask.input_tokens = count_input_tokens([text.as_str()]);
    let usage = answerer.answer(1, "sim-max", &ask).usage;
    let price = world.model("sim-max").unwrap().price;
    let billed = price.of(usage.input_tokens, usage.output_tokens);
    assert_eq!(answerer.cost_nano_usd("sim-max", &text), Some(billed));
}

#[test]
fn a_limit_cuts_the_answer_and_says_so() {
    let mut ask = ask("one two three four five");
    ask.output_tokens_max = Some(3);
    let answer = Answerer::Echo.answer(1, "m", &ask);
    assert_eq!(answer.finish, Finish::Length);
    assert_eq!((answer.usage.output_tokens, total(&answer)), (3, 3));
    assert_eq!(answer.items[0].text(), "echo: one two");
}

#[test]
fn an_echo_calls_a_tool_only_when_told_to() {
    let mut quiet = ask("hello");
    quiet.tools = vec![Tool {
        name: "look".to_owned(),
        arguments: "{\"city\":\"sample\",\"n\":7}".to_owned(),
    }];
    assert!(Answerer::Echo.answer(1, "m", &quiet).calls().is_empty());
    let mut told = quiet.clone();
    told.prompt = "please call the tool".to_owned();
    let answer = Answerer::Echo.answer(1, "m", &told);
    assert_eq!(answer.calls()[0].0, "look");
    assert!(answer.items[0].pieces().len() > 1);
    assert_eq!(total(&answer), answer.usage.output_tokens);
}

#[test]
fn recorded_tools_get_their_envelope() {
    let form = tools_form("[{\"name\":\"area\",\"parameters\":{}}]").unwrap();
    assert_eq!(form[0]["type"], "function");
    assert_eq!(form[0]["function"]["name"], "area");
    assert_eq!(tools_form("not json"), None);
}
