//! A judge that knows the truth: it recognises answers of this simulator and grades them
//! by what the world or the recording says of them.
//!
//! Owns: the mark that an answer begins with, and reading a request to grade. What such a
//! request looks like is anybody's guess for a real judge; this one looks for answers
//! under `ANSWER A`, `ANSWER B`, … below a `CONVERSATION`, and replies with JSON. It must
//! not know who asks.

use serde_json::{Map, Value, json};

use crate::dice::text_hash;

const CONVERSATION: &str = "CONVERSATION\n";
const USER: &str = "USER:\n";
const FIRST: &str = "\n\nANSWER A\n";
/// The best grade.
const BEST: f64 = 10.0;

/// The word that a model's answers begin with.
pub(crate) fn mark(model: &str) -> String {
    format!("[{:08x}]", text_hash(model) as u32)
}

/// Something to grade.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Task<'a> {
    /// What the first user asked.
    pub(crate) prompt: &'a str,
    /// The first word of each answer, by its letter.
    answers: Vec<(&'a str, &'a str)>,
}

/// A request to grade, if it is one.
pub(crate) fn task(text: &str) -> Option<Task<'_>> {
    let shown = text.strip_prefix(CONVERSATION)?;
    let (conversation, answers) = shown.split_once(FIRST)?;
    let (_, prompt) = conversation.split_once(USER)?;
    let mut letters = vec![("A", first_word(answers))];
    for part in answers.split("\nANSWER ").skip(1) {
        let (letter, answer) = part.split_once('\n')?;
        letters.push((letter, first_word(answer)));
    }
    Some(Task {
        // Exactly the line end that ends a message: prompts may end with some of their own.
        prompt: prompt.strip_suffix('\n').unwrap_or(prompt),
        answers: letters,
    })
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

impl Task<'_> {
    /// The grades, where `score` knows the quality (0..1) of the model with a mark.
    pub(crate) fn grades(&self, score: impl Fn(&str) -> Option<f64>) -> String {
        let mut grades = Map::new();
        for (letter, mark) in &self.answers {
            let grade = score(mark).map_or(Value::from(0), |score| json!(BEST * score));
            grades.insert((*letter).to_owned(), grade);
        }
        json!({ "scores": grades }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_to_grade_is_read_and_anything_else_is_none() {
        let marks = [mark("one"), mark("two")];
        let text = format!(
            "CONVERSATION\nUSER:\nwhat is\n\nthis?\n\n\n\nANSWER A\n{} so\n\nANSWER B\n{}\n",
            marks[0], marks[1]
        );
        let task = task(&text).unwrap();
        assert_eq!(task.prompt, "what is\n\nthis?\n");
        let grades = task.grades(|mark| (mark == marks[1]).then_some(0.75));
        assert_eq!(grades, r#"{"scores":{"A":0,"B":7.5}}"#);
        assert_eq!(super::task("what is this?"), None);
        assert_ne!(marks[0], marks[1]);
    }
}
