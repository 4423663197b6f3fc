//! Service tiers on every wire: asked for, served, billed, and full.
//!
//! It must not use the code it tests.

use serde_json::Value;

use super::speakers::{SPEAKERS, Speaker, Wish};
use crate::answerer::Answerer;
use crate::ask::ServiceTier;
use crate::config::{ProviderConfig, ServedModel, SimulatorConfig};
use crate::ledger::Outcome;
use crate::script::{Behaviour, Fault};
use crate::server::Running;
use crate::stand::{Heard, start_with};

async fn start() -> Running {
    let small = ServedModel::new("small", 100, 400).with_tier(ServiceTier::Flex, 50, 200);
    let provider = ProviderConfig::new("alpha", vec![small]);
    start_with(SimulatorConfig::instant(Answerer::Echo, vec![provider])).await
}

fn wish(tier: &'static str, stream: bool) -> Wish {
    let mut wish = Wish::new("one two three");
    wish.tier = tier;
    wish.stream = stream;
    wish
}

/// The served tier that an answer names, in the last place where it does.
fn served(speaker: Speaker, heard: &Heard, stream: bool) -> Value {
    let last = match (speaker, stream) {
        (Speaker::Chat | Speaker::Gemini, true) => {
            let events = heard.text();
            let json = events
                .split("\n\n")
                .filter_map(|event| serde_json::from_str(event.strip_prefix("data: ")?).ok());
            json.last().unwrap()
        }
        (Speaker::GeminiArray, true) => heard.json().as_array().unwrap()[0].clone(),
        (Speaker::Responses, true) => heard.named_events().pop().unwrap().1["response"].take(),
        (Speaker::Messages, true) => heard.named_events().remove(0).1["message"].take(),
        (Speaker::Interactions, true) => {
            heard.finished_events().pop().unwrap().1["interaction"].take()
        }
        (Speaker::Converse, true) => heard.frames().pop().unwrap().1,
        (_, false) => heard.json(),
    };
    let place = match speaker {
        Speaker::Chat | Speaker::Responses | Speaker::Interactions => "/service_tier",
        Speaker::Messages => "/usage/service_tier",
        Speaker::Gemini | Speaker::GeminiArray => "/usageMetadata/serviceTier",
        Speaker::Converse => "/serviceTier/type",
    };
    last.pointer(place).unwrap().clone()
}

#[tokio::test]
async fn the_tier_that_is_asked_for_is_served_and_billed() {
    let running = start().await;
    for speaker in SPEAKERS {
        for stream in [false, true] {
            let tiers = match speaker {
                Speaker::Messages => [
                    ("", "standard", ServiceTier::Standard, 2_300),
                    ("auto", "standard", ServiceTier::Standard, 2_300),
                    ("standard_only", "standard", ServiceTier::Standard, 2_300),
                ],
                Speaker::Gemini | Speaker::GeminiArray | Speaker::Interactions => [
                    ("", "standard", ServiceTier::Standard, 2_300),
                    ("flex", "flex", ServiceTier::Flex, 1_150),
                    ("priority", "priority", ServiceTier::Priority, 2_300),
                ],
                Speaker::Converse => [
                    ("", "default", ServiceTier::Standard, 2_300),
                    ("flex", "flex", ServiceTier::Flex, 1_150),
                    ("priority", "priority", ServiceTier::Priority, 2_300),
                ],
                Speaker::Chat | Speaker::Responses => [
                    ("auto", "default", ServiceTier::Standard, 2_300),
                    ("flex", "flex", ServiceTier::Flex, 1_150),
                    ("priority", "priority", ServiceTier::Priority, 2_300),
                ],
            };
            for (asked, named, tier, cost) in tiers {
                let heard = speaker.ask(&running, &wish(asked, stream)).await;
                assert_eq!(served(speaker, &heard, stream), named, "{speaker:?}");
                let attempts = running.ledger().attempts();
                let attempt = attempts.last().unwrap();
                assert_eq!((attempt.service_tier, attempt.cost_nano_usd), (tier, cost));
            }
        }
    }
}

#[tokio::test]
async fn another_tier_than_asked_for_can_be_served() {
    let running = start().await;
    let script = running.script("alpha").unwrap();
    let slower = Behaviour::healthy().serving(ServiceTier::Standard);
    script.set_tier(ServiceTier::Flex, slower);
    for (speaker, named) in [
        (Speaker::Chat, "default"),
        (Speaker::Responses, "default"),
        (Speaker::Gemini, "standard"),
        (Speaker::Converse, "default"),
        (Speaker::Interactions, "standard"),
    ] {
        let heard = speaker.ask(&running, &wish("flex", true)).await;
        assert_eq!(served(speaker, &heard, true), named);
    }
    assert_eq!(running.ledger().totals().cost_nano_usd, 5 * 2_300);
}

#[tokio::test]
async fn a_full_tier_says_so_and_costs_nothing() {
    let running = start().await;
    let script = running.script("alpha").unwrap();
    let full = Behaviour::failing(Fault::NoCapacity);
    script.set_tier(ServiceTier::Flex, full.clone());
    for (speaker, status, says) in [
        (Speaker::Chat, 429, "\"resource_unavailable\""),
        (Speaker::Responses, 429, "\"resource_unavailable\""),
        (Speaker::Gemini, 503, "\"UNAVAILABLE\""),
        (Speaker::Interactions, 503, "\"UNAVAILABLE\""),
        (Speaker::Converse, 503, "unable to process"),
    ] {
        let heard = speaker.ask(&running, &wish("flex", true)).await;
        assert_eq!(heard.status, Some(status));
        assert!(heard.text().contains(says), "{}", heard.text());
        let heard = speaker.ask(&running, &wish("", false)).await;
        assert_eq!(heard.status, Some(200));
    }
    script.set(full);
    let heard = Speaker::Messages.ask(&running, &wish("", false)).await;
    assert_eq!(heard.status, Some(529));
    let refused = |a: &crate::ledger::Attempt| matches!(a.outcome, Outcome::Refused(_));
    let totals = running.ledger().totals_of(refused);
    assert_eq!((totals.attempts, totals.cost_nano_usd), (6, 0));
}
