//! The prompts of the world: templates, the words that fill them, and how to tell
//! from a text which kind it was made from.
//!
//! Owns: wording only. It must not know models or skills. The longest run of fixed words
//! of a template is its *lead*: no other kind has it, and it is how the world (not a
//! learner) recognises a kind again.

use super::{Kind, Level, WorldPrompt};
use crate::dice::Dice;

/// One prompt in this many carries an extra demand.
const INTRICATE_ONE_IN: u64 = 3;

const GREETINGS: [&str; 8] = [
    "",
    "",
    "",
    "Hello! ",
    "Please help me with this. ",
    "Quick one: ",
    "For my work: ",
    "I need a hand. ",
];

const DEMANDS: [&str; 6] = [
    " Consider every edge case and justify each step.",
    " Be rigorous: hidden traps are likely.",
    " Treat this as an expert-level challenge.",
    " Several constraints interact, so check them all twice.",
    " Do it in the most demanding way a specialist would expect.",
    " Subtle exceptions matter here; leave none out.",
];

const ARITHMETIC: [&str; 6] = [
    "What is the sum of {number}, {number} and {number}?",
    "A shop sells {thing} at {small} dollars each. {name} buys {small} of them and pays with {number} dollars. How much change?",
    "Compute {number} times {small}, then subtract {number}.",
    "If a train covers {number} kilometres in {small} hours, what is its average speed?",
    "{name} splits {number} {thing} equally among {small} friends; how many are left over?",
    "Find the percentage: {small} percent of {number} plus the interest on {number} over {small} years.",
];

const CODE: [&str; 6] = [
    "Write a {language} function that {task}.",
    "Debug this {language} snippet which should be one that {task} but raises an exception: `for i in range(len({variable})): {variable}[i+1]`",
    "Refactor the class {variable}Manager in {language} so that it {task} without recursion.",
    "Implement an iterator in {language} called {variable}_stream that {task}.",
    "Add unit tests in {language} for a method that {task}; name the fixture {variable}.",
    "Explain the complexity of a {language} algorithm that {task} using a {structure}.",
];

const EXTRACTION: [&str; 6] = [
    "Extract the invoice number and the total from: 'Invoice INV-{number}, {name}, {thing}, total {number} EUR, due in {small} days'.",
    "Return as JSON the fields name, city and phone found in this text: '{name} moved to {city}; call +49 {number} {number}'.",
    "List all dates mentioned here: 'On {small} March {name} met the team in {city}, again on {small} May'.",
    "From the following log line take the status code and the path: 'GET /{thing}/{number} 404 {small}ms host={city}'.",
    "Pull every email address out of this message: 'write to {name}@{city}.example or sales{small}@{thing}.example'.",
    "Fill the order form fields from the transcript: '{name} wants {small} {thing} sent to {city}, ref {number}'.",
];

const TRANSLATION: [&str; 6] = [
    "Translate into {tongue}: 'The {thing} arrived in {city} after {small} days.'",
    "How do you say in {tongue} '{name} would like {small} {thing}, please'?",
    "Render the following sentence in idiomatic {tongue}: 'My neighbour {name} never forgets the {thing}.'",
    "Give the {tongue} version of this sign: 'No {thing} beyond this point, {city} council'.",
    "Proofread my {tongue} translation of 'the {thing} of {city}' and offer a natural alternative.",
    "Convert this phrase from English to {tongue}, formal register: 'We thank you, {name}, for the {thing}.'",
];

const TRIVIA: [&str; 6] = [
    "Who discovered {subject}, and in which century?",
    "Which country is known for {subject} and borders the region around {city}?",
    "In what year did historians first describe {subject}?",
    "Name the scientist most associated with {subject} and their birthplace, maybe {city}.",
    "True or false: {subject} originated near {city}?",
    "What was the historical importance of {subject} for {city}?",
];

const WRITING: [&str; 6] = [
    "Compose a {mood} poem about {thing} in {city}.",
    "Draft a {mood} cover letter for {name}, who sells {thing}.",
    "Tell a {mood} short story in which {name} loses the {thing}.",
    "Rewrite this paragraph in a {mood} tone: '{name} visited {city} and brought back {small} {thing}.'",
    "Create a {mood} slogan and a product description for our new {thing}.",
    "Write a {mood} wedding speech for my friend {name} from {city}.",
];

const NAMES: [&str; 24] = [
    "Amara", "Bjorn", "Chiara", "Dmitri", "Elena", "Farid", "Greta", "Hiro", "Ines", "Jonas",
    "Kavya", "Liam", "Mireille", "Noor", "Oskar", "Priya", "Quentin", "Rosa", "Sven", "Tariq",
    "Ursula", "Viktor", "Wanda", "Yusuf",
];
const CITIES: [&str; 20] = [
    "Lisbon", "Oslo", "Kyoto", "Nairobi", "Toronto", "Cusco", "Hanoi", "Tbilisi", "Perth",
    "Gdansk", "Seville", "Lyon", "Austin", "Quito", "Dakar", "Jaipur", "Busan", "Malmo", "Trieste",
    "Izmir",
];
const THINGS: [&str; 30] = [
    "apples",
    "lanterns",
    "bicycles",
    "teapots",
    "notebooks",
    "violins",
    "umbrellas",
    "candles",
    "maps",
    "kettles",
    "sandals",
    "mirrors",
    "clocks",
    "ladders",
    "cushions",
    "marbles",
    "postcards",
    "tulips",
    "blankets",
    "spoons",
    "boots",
    "telescopes",
    "pencils",
    "carpets",
    "drums",
    "kites",
    "baskets",
    "coins",
    "hammocks",
    "tickets",
];
const LANGUAGES: [&str; 10] = [
    "Python",
    "Rust",
    "Go",
    "TypeScript",
    "Java",
    "Kotlin",
    "Ruby",
    "Haskell",
    "Swift",
    "SQL",
];
const TASKS: [&str; 16] = [
    "merges two sorted arrays",
    "parses a CSV file",
    "reverses a linked list",
    "caches results with a TTL",
    "validates an IPv6 address",
    "flattens a nested dictionary",
    "retries an HTTP call",
    "computes a rolling hash",
    "walks a binary tree",
    "deduplicates a queue",
    "tokenises a string",
    "batches database inserts",
    "finds the longest palindrome",
    "schedules async callbacks",
    "serialises an enum",
    "counts lines per thread",
];
const VARIABLES: [&str; 12] = [
    "buffer", "cursor", "payload", "node", "registry", "session", "matrix", "token", "widget",
    "cache", "packet", "vertex",
];
const STRUCTURES: [&str; 8] = [
    "hash map",
    "heap",
    "trie",
    "bitset",
    "ring buffer",
    "B-tree",
    "stack",
    "union-find",
];
const TONGUES: [&str; 14] = [
    "French",
    "German",
    "Spanish",
    "Japanese",
    "Swahili",
    "Polish",
    "Turkish",
    "Hindi",
    "Korean",
    "Portuguese",
    "Finnish",
    "Arabic",
    "Vietnamese",
    "Italian",
];
const SUBJECTS: [&str; 24] = [
    "penicillin",
    "the silk road",
    "plate tectonics",
    "the printing press",
    "radium",
    "the Hanseatic league",
    "photosynthesis",
    "the Rosetta stone",
    "cinnamon trade",
    "the steam engine",
    "vaccination",
    "papyrus",
    "the Ottoman fleet",
    "neutrinos",
    "porcelain",
    "the Inca roads",
    "magnetism",
    "the Magna Carta",
    "volcanic glass",
    "the astrolabe",
    "tea ceremonies",
    "comets",
    "the Viking settlements",
    "gunpowder",
];
const MOODS: [&str; 14] = [
    "playful",
    "melancholic",
    "heartfelt",
    "witty",
    "solemn",
    "dreamy",
    "bold",
    "nostalgic",
    "sarcastic",
    "gentle",
    "dramatic",
    "minimalist",
    "romantic",
    "cheerful",
];

fn templates(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Arithmetic => &ARITHMETIC,
        Kind::Code => &CODE,
        Kind::Extraction => &EXTRACTION,
        Kind::Translation => &TRANSLATION,
        Kind::Trivia => &TRIVIA,
        Kind::Writing => &WRITING,
    }
}

/// A new prompt by these dice.
pub(super) fn compose(dice: &mut Dice) -> WorldPrompt {
    let kind = dice.pick(&Kind::ALL).copied().unwrap_or(Kind::Trivia);
    let mut text = dice.pick(&GREETINGS).copied().unwrap_or("").to_owned();
    let template = dice.pick(templates(kind)).copied().unwrap_or("");
    fill(template, dice, &mut text);
    let level = if dice.below(INTRICATE_ONE_IN) == 0 {
        text.push_str(dice.pick(&DEMANDS).copied().unwrap_or(""));
        Level::Intricate
    } else {
        Level::Plain
    };
    WorldPrompt { kind, level, text }
}

fn fill(template: &str, dice: &mut Dice, text: &mut String) {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let Some((slot, tail)) = after.split_once('}') else {
            break;
        };
        text.push_str(&word(slot, dice));
        rest = tail;
    }
    text.push_str(rest);
}

fn word(slot: &str, dice: &mut Dice) -> String {
    let words: &[&str] = match slot {
        "number" => return (100 + dice.below(9_900)).to_string(),
        "small" => return (2 + dice.below(28)).to_string(),
        "name" => &NAMES,
        "city" => &CITIES,
        "thing" => &THINGS,
        "language" => &LANGUAGES,
        "task" => &TASKS,
        "variable" => &VARIABLES,
        "structure" => &STRUCTURES,
        "tongue" => &TONGUES,
        "subject" => &SUBJECTS,
        "mood" => &MOODS,
        _ => &[],
    };
    dice.pick(words).copied().unwrap_or(slot).to_owned()
}

/// The fixed words of a template: the longest run between two slots.
fn lead(template: &str) -> &str {
    template
        .split(['{', '}'])
        .step_by(2)
        .max_by_key(|run| run.len())
        .unwrap_or(template)
}

/// The kind whose template made this text, if one did.
pub(super) fn kind_of(text: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| {
        templates(*kind)
            .iter()
            .any(|template| text.contains(lead(template)))
    })
}

/// Whether a text carries one of the extra demands.
pub(super) fn level_of(text: &str) -> Level {
    if DEMANDS.iter().any(|demand| text.contains(demand)) {
        Level::Intricate
    } else {
        Level::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_words_and_every_lead_is_unique() {
        let mut leads = Vec::new();
        for kind in Kind::ALL {
            for template in templates(kind) {
                for slot in template.split(['{', '}']).skip(1).step_by(2) {
                    let drawn = word(slot, &mut Dice::of(1, &[slot]));
                    assert_ne!(drawn, slot, "no words for {slot} in {template}");
                }
                assert!(lead(template).len() >= 8, "weak lead in {template}");
                leads.push((kind, lead(template)));
            }
        }
        for (kind, lead) in &leads {
            for other in Kind::ALL.into_iter().filter(|other| other != kind) {
                let clash = templates(other).iter().find(|text| text.contains(lead));
                assert_eq!(clash, None, "{lead:?} of {kind:?}");
            }
        }
    }
}
