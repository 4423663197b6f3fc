//! A table with two lanes: `a` cheap and first, `b` dearer and its fallback.

use spillway_routing::catalogue::{
    Capabilities, Lane, Model, Pace, Price, Rates, Room, Tier, Upstream,
};
use spillway_routing::dialect::{Dialect, Fidelity};
use spillway_routing::id::TableVersion;
use spillway_routing::table::{Choice, Draft, Route};
use spillway_routing::tokens::Family;
use spillway_routing::unit::{Bps, Millis, NanoUsdPerMtok, Tokens, UnixMillis};

pub(crate) fn draft(version: u64) -> Draft {
    Draft {
        version: TableVersion(version),
        made_at: UnixMillis(1_795_262_400_000),
        models: vec![model("small"), model("large")],
        upstreams: vec![upstream("a", "small"), upstream("b", "large")],
        lanes: vec![lane("a", "small", 1.0), lane("b", "large", 10.0)],
        routes: vec![Route {
            id: "auto".into(),
            models: vec![],
            default_lane: "a:small/standard".into(),
            baseline: "b:large/standard".into(),
            bar: Bps::ONE,
            choice: Choice::Floor(Bps::ZERO),
            guard: Bps::ONE,
            learned: false,
            explore: Bps::ZERO,
            max_cost: None,
            first_token_max: None,
            deadline: Millis(2_000),
            attempts_max: 3,
            lossy: Fidelity::Hints,
            overflow: None,
            certificate: None,
        }],
        ..Draft::default()
    }
}

fn model(id: &str) -> Model {
    Model {
        id: id.into(),
        family: Family::O200k,
        context: Tokens(100_000),
        max_output: Tokens(4_000),
        capabilities: Capabilities::ALL,
        prior: Some(Bps::new(5_000)),
        typical_output: Tokens(100),
    }
}

fn upstream(provider: &str, model: &str) -> Upstream {
    Upstream {
        id: format!("{provider}:{model}").as_str().into(),
        model: model.into(),
        provider: provider.into(),
        wire_model: format!("{model}-wire"),
        dialects: vec![Dialect::OpenAiChat],
        credential: format!("{provider}-key").as_str().into(),
    }
}

fn lane(provider: &str, model: &str, usd: f64) -> Lane {
    let rate = NanoUsdPerMtok::from_usd(usd);
    Lane {
        id: format!("{provider}:{model}/standard").as_str().into(),
        upstream: format!("{provider}:{model}").as_str().into(),
        tier: Tier::Standard,
        price: Some(Price {
            rates: Rates {
                input: rate,
                output: rate,
                ..Rates::default()
            },
            ..Price::default()
        }),
        pace: Pace::default(),
        room: Room::default(),
    }
}
