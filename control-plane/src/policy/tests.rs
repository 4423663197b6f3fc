//! What operators may type, and what they are told when it is wrong.

use super::*;
use spillway_routing::conditions::Conditions;
use spillway_routing::decide::{Draw, decide};
use spillway_routing::features::Facts;
use spillway_routing::head::curve::Curve;
use spillway_routing::head::{Abstention, Committee, Lengths, Scaler};
use spillway_routing::id::TableVersion;
use spillway_routing::table::{BarPoint, Certificate, Choice, Draft, Table};
use spillway_routing::unit::{Bps, Millis, NanoUsd, NanoUsdPerMtok, Tokens, UnixMillis};

const POLICY: &str = r#"version = 1

[models.small]
prior = 0.6
tokenizer = "claude4_7"

[[upstreams]]
provider = "near"
models = ["small", "large"]
tiers = ["standard", "flex"]
prices.standard = { input = 1.0, output = 2.0 }
prices.flex = { input = 0.5, output = 1.0 }

[[upstreams]]
provider = "openai"
models = ["gpt-6-luna"]

[routes.auto]
baseline = "large"
bar = 0.9
deadline = "5m"

[[rules]]
id = "legal"
when = { tags = { team = "legal" }, class = "background" }
then = { pin = "openai:gpt-6-luna/standard" }
"#;

fn compile(text: &str, learned: &Learned) -> Result<Draft, Vec<Fault>> {
    draft(&parse(text)?, text, learned)
}

/// The one fault of `POLICY` with `from` replaced.
fn fault(from: &str, to: &str) -> Fault {
    assert!(POLICY.contains(from));
    let mut faults = faults(&POLICY.replace(from, to));
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.remove(0)
}

fn line(word: &str) -> Option<usize> {
    POLICY
        .lines()
        .position(|line| line.contains(word))
        .map(|at| at + 1)
}

#[test]
fn a_policy_becomes_a_table() {
    let draft = compile(POLICY, &Learned::default()).unwrap();
    let lanes: Vec<&str> = draft.lanes.iter().map(|lane| lane.id.as_str()).collect();
    assert_eq!(
        lanes,
        [
            "near:small/standard",
            "near:small/flex",
            "near:large/standard",
            "near:large/flex",
            "openai:gpt-6-luna/standard"
        ]
    );
    assert_eq!(draft.routes[0].deadline, Millis(300_000));
    assert_eq!(draft.routes[0].default_lane.as_str(), "near:large/standard");
    let listed = draft.lanes[4].price.as_ref().unwrap();
    assert!(
        listed.rates.input > NanoUsdPerMtok(0),
        "the catalogue prices what the policy does not"
    );
    Table::build(draft).unwrap();
}

#[test]
fn faults_name_line_and_field() {
    let cases = [
        (
            fault("bar = 0.9", "bar = 9"),
            line("bar = 0.9"),
            "routes.auto.bar",
        ),
        (
            fault("baseline = \"large\"", "baseline = \"huge\""),
            line("baseline"),
            "routes.auto.baseline",
        ),
        (
            fault("\"5m\"", "\"5 minutes\""),
            line("deadline"),
            "routes.auto.deadline",
        ),
        (
            fault("\"claude4_7\"", "\"bpe\""),
            line("tokenizer"),
            "models.small.tokenizer",
        ),
        (
            fault(
                "\"standard\", \"flex\"]",
                "\"standard\", \"turbo\", \"flex\"]",
            ),
            line("tiers"),
            "upstreams.0.tiers",
        ),
        (
            fault("openai:gpt-6-luna/standard", "openai:gpt-7/standard"),
            line("then"),
            "rules.0.then",
        ),
        (
            fault("[models.small]", "[models.smal]"),
            line("[models.small]"),
            "models.smal",
        ),
        (fault("version = 1", "version = 2"), Some(1), "version"),
    ];
    for (fault, line, field) in cases {
        // A model that lost its entry is a fault of the entry, others name their field.
        assert_eq!(fault.field, field, "{fault}");
        assert_eq!(fault.line, line, "{fault}");
    }
}

#[test]
fn an_unknown_field_or_broken_toml_is_told_with_its_line() {
    let typo = fault("bar = 0.9", "barr = 0.9");
    assert_eq!(typo.line, line("bar = 0.9"));
    assert!(typo.message.contains("barr"), "{typo}");
    let broken = fault("bar = 0.9", "bar = ");
    assert_eq!(broken.line, line("bar = 0.9"));
}

#[test]
fn every_fault_is_told_at_once() {
    let text = POLICY
        .replace("bar = 0.9", "bar = 9")
        .replace("\"5m\"", "\"soon\"");
    assert_eq!(faults(&text).len(), 2);
}

const CERTIFICATE: Certificate = Certificate {
    allowed: Bps::new(200),
    confidence: Bps::new(9_000),
    audits: 1_500,
};

fn learned(promoted: bool) -> Learned {
    let committee = Committee {
        encoder: spillway_routing::encoder::EncoderId::MiniLm64,
        models: vec!["small".into(), "large".into()],
        mean_quality: vec![Bps::new(5_000), Bps::new(8_000)],
        mean_output: vec![Tokens(10); 2],
        labels: 100,
        scaler: Scaler {
            mean: vec![0.0; spillway_routing::encoder::DIMENSIONS],
            inverse_spread: vec![1.0; spillway_routing::encoder::DIMENSIONS],
        },
        heads: Vec::new(),
        mix: Vec::new(),
        given: Bps::ZERO,
        lengths: Lengths::default(),
        calibration: vec![Curve::identity(), Curve::identity()],
        labels_min: 1,
    };
    let bare = compile(POLICY, &Learned::default()).unwrap();
    let world = World::of(&bare.routes[0], &bare);
    let solved = SolvedRoute {
        certificate: Some(CERTIFICATE),
        choice: Choice::Multiplier(77),
        learned: promoted,
        world,
    };
    Learned {
        committee: Some(committee),
        frontier: vec![
            BarPoint {
                bar: Bps::new(9_500),
                multiplier: 50,
                learned: promoted,
            },
            BarPoint {
                bar: Bps::new(10_000),
                multiplier: 0,
                learned: promoted,
            },
        ],
        routes: [("auto".into(), solved)].into(),
        ..Learned::default()
    }
}

#[test]
fn without_learning_the_floor_is_the_bars_share_of_the_best_expected_quality() {
    let draft = compile(POLICY, &Learned::default()).unwrap();
    assert_eq!(
        draft.routes[0].choice,
        Choice::Floor(Bps::new(5_400)),
        "0.9 of small's prior"
    );
    assert!(!draft.routes[0].learned);
}

#[test]
fn a_solved_multiplier_counts_while_its_bar_is_the_routes() {
    let same = compile(POLICY, &learned(true)).unwrap();
    assert_eq!(same.routes[0].choice, Choice::Multiplier(77));
    let raised = compile(&POLICY.replace("bar = 0.9", "bar = 0.94"), &learned(true)).unwrap();
    assert_eq!(
        raised.routes[0].choice,
        Choice::Multiplier(50),
        "the next safer point of the frontier"
    );
    let declined = compile(&POLICY.replace("bar = 0.9", "bar = 0.94"), &learned(false)).unwrap();
    assert_eq!(
        declined.routes[0].choice,
        Choice::Multiplier(50),
        "solved for the prompt-blind means"
    );
}

/// What `POLICY` with `from` replaced chooses by, after learning under `POLICY`.
fn changed(from: &str, to: &str) -> (Choice, bool) {
    assert!(POLICY.contains(from));
    let route = compile(&POLICY.replace(from, to), &learned(true))
        .unwrap()
        .routes
        .remove(0);
    (route.choice, route.learned)
}

#[test]
fn a_multiplier_is_dropped_when_the_world_it_was_solved_in_changes() {
    let blind = (Choice::Floor(Bps::new(7_200)), false);
    assert_eq!(
        changed("input = 1.0, output = 2.0", "input = 9.0, output = 18.0"),
        blind,
        "prices"
    );
    assert_eq!(
        changed("bar = 0.9", "bar = 0.9\nguard = 0.1"),
        blind,
        "guard"
    );
    assert_eq!(
        changed("bar = 0.9", "bar = 0.9\ndefault = \"small\""),
        blind,
        "default"
    );
    assert_eq!(
        changed("bar = 0.9", "bar = 0.9\nmodels = [\"large\", \"small\"]"),
        blind,
        "models"
    );
    assert_eq!(
        changed("bar = 0.9", "bar = 0.9\nexplore = 0.1"),
        (Choice::Multiplier(77), true)
    );
}

#[test]
fn a_typed_floor_keeps_the_heads_that_were_let_through() {
    let typed = POLICY.replace("bar = 0.9", "bar = 0.9\nfloor = 0.6");
    let first = compile(&typed, &learned(true)).unwrap();
    // As it is carried from table to table.
    let again = compile(&typed, &Learned::of(&first)).unwrap();
    for route in [&first.routes[0], &again.routes[0]] {
        let floor = Choice::Floor(Bps::new(6_000));
        assert_eq!((route.choice, route.learned), (floor, true));
    }
    // Nothing was solved for a route without one.
    let bare = compile(POLICY, &Learned::of(&first)).unwrap();
    assert!(!bare.routes[0].learned);
}

#[test]
fn prices_may_have_hours() {
    let hours = "hours = [{ from = \"16:30\", to = \"00:30\", times = 0.5 }]";
    let standard = "prices.standard = { input = 1.0, output = 2.0";
    let text = POLICY.replacen(standard, &format!("{standard}, {hours}"), 1);
    let draft = compile(&text, &Learned::default()).unwrap();
    let clock = &draft.lanes[0].price.as_ref().unwrap().clock;
    assert_eq!((clock[0].from_minute, clock[0].permille), (990, 500));
    let wrong = text.replace("16:30", "4 pm");
    let faults = parse(&wrong).unwrap_err();
    assert!(format!("{faults:?}").contains("HH:MM"), "{faults:?}");
}

#[test]
fn a_deleted_price_is_unknown_again_and_no_other_tiers() {
    let table = compile(POLICY, &learned(true)).unwrap();
    let bare = POLICY.replace("prices.standard = { input = 1.0, output = 2.0 }\n", "");
    let draft = compile(&bare, &Learned::of(&table)).unwrap();
    assert_eq!(draft.lanes[0].price, None);
    let mut observed = learned(true);
    observed
        .observed
        .insert("small".into(), table.lanes[0].price.clone().unwrap());
    let tiers = bare.replace("prices.flex = { input = 0.5, output = 1.0 }\n", "");
    let draft = compile(&tiers, &observed).unwrap();
    assert!(draft.lanes[0].price.is_some(), "observed, standard");
    assert_eq!(
        draft.lanes[1].price, None,
        "a tier has its own price or none"
    );
}

#[test]
fn a_published_table_carries_what_was_learnt_to_the_next_policy() {
    let first = compile(POLICY, &learned(true)).unwrap();
    let again = compile(POLICY, &Learned::of(&first)).unwrap();
    assert_eq!(first, again);
}

#[test]
fn a_certificate_goes_with_the_multiplier_it_is_of() {
    let own = compile(POLICY, &learned(true)).unwrap();
    assert_eq!(own.routes[0].certificate, Some(CERTIFICATE));
    assert_eq!(
        Learned::of(&own).routes["auto"].certificate,
        Some(CERTIFICATE)
    );
    let other = POLICY.replace("bar = 0.9", "bar = 0.95");
    let other = compile(&other, &learned(true)).unwrap();
    assert_eq!(other.routes[0].certificate, None);
}

fn priors_of(models: &str) -> Vec<Option<Bps>> {
    let text = format!(
        "version = 1\n[[upstreams]]\nprovider = \"openai\"\nmodels = [{models}]\n\n\
         [routes.auto]\nbaseline = \"gpt-4o\"\nbar = 0.9\n"
    );
    let policy = parse(&text).unwrap();
    let draft = draft(&policy, &text, &Learned::default()).unwrap();
    draft.models.iter().map(|model| model.prior).collect()
}

#[test]
fn starter_priors_rank_all_models_or_none() {
    let known = priors_of(r#""gpt-4o", "gpt-4o-mini""#);
    assert!(known[0] > known[1] && known[1].is_some(), "{known:?}");
    // Nobody knows the third: it could be the best.
    assert_eq!(
        priors_of(r#""gpt-4o", "gpt-4o-mini", "gpt-5.4""#),
        [None; 3]
    );
}

#[test]
fn a_route_of_which_nothing_is_known_goes_to_its_default() {
    let text = "version = 1\n[[upstreams]]\nprovider = \"openai\"\n\
                models = [\"gpt-5.4\", \"gpt-5.4-mini\"]\n\n[routes.auto]\nbaseline = \"gpt-5.4\"\n";
    let policy = parse(text).unwrap();
    let mut draft = draft(&policy, text, &Learned::default()).unwrap();
    draft.version = TableVersion(1);
    let table = Table::build(draft).unwrap();
    let facts = Facts {
        route: Some("auto".into()),
        ..Facts::default()
    };
    let idle = Conditions {
        lanes: vec![Default::default(); 2],
    };
    let decision = decide(&table, &facts, &idle, UnixMillis(0), Draw(0)).unwrap();
    assert_eq!(decision.chosen().unwrap().model.as_str(), "gpt-5.4");
    assert_eq!(decision.abstention, Some(Abstention::NotTrained));
}

#[test]
fn audits_are_compiled_and_their_faults_named() {
    let text = |audits: &str| {
        format!(
            "version = 1\n[[upstreams]]\nprovider = \"openai\"\nmodels = [\"gpt-5.4\", \"gpt-5.4-mini\"]\n\n\
             [routes.auto]\nbaseline = \"gpt-5.4\"\n\n[audits]\n{audits}\n"
        )
    };
    let good = text("usd_per_day = 5.0\njudge = \"gpt-5.4-mini\"");
    let compiled = draft(&parse(&good).unwrap(), &good, &Learned::default()).unwrap();
    let audits = compiled.audits.unwrap();
    assert_eq!(
        (audits.share, audits.starting),
        (Bps::new(200), Bps::new(4_000))
    );
    assert_eq!(audits.per_day, NanoUsd(5_000_000_000));
    assert_eq!(
        audits.judge.unwrap().as_str(),
        "openai:gpt-5.4-mini/standard"
    );
    for (bad, field) in [
        ("usd_per_day = -1.0", "audits.usd_per_day"),
        ("usd_per_day = 1.0\nshare = 2.0", "audits.share"),
        ("usd_per_day = 1.0\njudge = \"nobody\"", "audits.judge"),
    ] {
        let bad = text(bad);
        let faults = draft(&parse(&bad).unwrap(), &bad, &Learned::default()).unwrap_err();
        assert_eq!(faults[0].field, field);
        assert!(faults[0].line.is_some());
    }
}

/// `POLICY` with a queue and an overflow lane.
fn spilling(overflow: &str) -> String {
    let queued =
        "models = [\"small\", \"large\"]\nin_flight = 8\nqueue = { depth = 9, wait = \"5s\" }";
    let text = POLICY.replace("models = [\"small\", \"large\"]", queued);
    text.replace(
        "deadline = \"5m\"",
        &format!("deadline = \"5m\"\noverflow = {overflow}"),
    )
}

#[test]
fn an_overflow_lane_has_its_triggers() {
    let text = spilling(
        r#"{ to = "gpt-6-luna", classes = ["batch"], queue_depth_above = 4, usd_per_day = 2.5 }"#,
    );
    let draft = compile(&text, &Learned::default()).unwrap();
    let overflow = draft.routes[0].overflow.clone().unwrap();
    assert_eq!(overflow.lane.as_str(), "openai:gpt-6-luna/standard");
    assert_eq!(overflow.after.len(), 4, "all ways to fail unless said");
    assert_eq!((overflow.queued, overflow.in_flight), (Some(4), None));
    assert_eq!(overflow.per_day, Some(NanoUsd(2_500_000_000)));
    assert!(!overflow.dearer);
    let room = draft.lanes[0].room;
    assert_eq!(
        (room.in_flight, room.queue, room.wait),
        (Some(8), 9, Millis(5_000))
    );
    assert_eq!(draft.lanes[4].room.in_flight, None);
    Table::build(draft).unwrap();
}

#[test]
fn faults_of_an_overflow_lane_name_their_field() {
    for (overflow, field) in [
        (r#"{ to = "huge" }"#, "routes.auto.overflow.to"),
        (r#"{ to = "large" }"#, "routes.auto.overflow"),
        (
            r#"{ to = "small", after = ["418"] }"#,
            "routes.auto.overflow.after",
        ),
        (
            r#"{ to = "small", cost_above_usd = -1.0 }"#,
            "routes.auto.overflow.cost_above_usd",
        ),
    ] {
        let faults = faults(&spilling(overflow));
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].field, field);
        assert!(faults[0].line.is_some());
    }
    let endless = spilling(r#"{ to = "small" }"#).replace("5s", "5h");
    assert_eq!(faults(&endless)[0].field, "upstreams");
}

#[test]
fn keys_have_terms_and_their_faults_have_lines() {
    let hash = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    let with = |lines: &str| format!("{POLICY}\n[keys.team]\n{lines}");
    let text = with(&format!(
        "sha256 = \"{hash}\"\nroutes = [\"auto\", \"small\"]\nusd_per_day = 2.0"
    ));
    let draft = compile(&text, &Learned::default()).unwrap();
    let table = Table::build(draft).unwrap();
    let key = table
        .holder(&spillway_proto::keys::unhex(hash).unwrap())
        .unwrap();
    assert_eq!(key.id.as_str(), "team");
    assert_eq!(key.routes.as_ref().map(Vec::len), Some(2));
    assert_eq!(key.limits.per_day, Some(NanoUsd(2_000_000_000)));
    for (lines, field) in [
        ("sha256 = \"12\"", "keys.team.sha256"),
        ("routes = [\"nowhere\"]", "keys.team.routes"),
        ("usd_per_day = -1.0", "keys.team.usd_per_day"),
        ("requests_per_hour = 1", "requests_per_hour"),
    ] {
        let faults = faults(&with(lines));
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].field, field);
        assert!(faults[0].line.is_some());
    }
    let twice = format!(
        "{}\n[keys.other]\nsha256 = \"{hash}\"",
        with(&format!("sha256 = \"{hash}\""))
    );
    assert_eq!(faults(&twice)[0].field, "keys.team");
}
