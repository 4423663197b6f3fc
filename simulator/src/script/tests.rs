//! Tests of scripted behaviour: it must know nothing of the wire.

use super::*;

fn faults(script: &Script, attempts: usize) -> Vec<bool> {
    (0..attempts)
        .map(|_| script.cue("m", ServiceTier::Standard).fault.is_some())
        .collect()
}

#[test]
fn a_share_is_kept_and_is_the_same_for_the_same_seed() {
    let shaky = || Behaviour::healthy().with_fault(Fault::status(503), 0.3);
    let drawn = faults(&Script::new(9, "alpha", shaky()), 2000);
    let struck = drawn.iter().filter(|fault| **fault).count();
    assert!((500..700).contains(&struck), "{struck} of 2000");
    assert_eq!(drawn, faults(&Script::new(9, "alpha", shaky()), 2000));
    assert_ne!(drawn, faults(&Script::new(10, "alpha", shaky()), 2000));
    assert_ne!(drawn, faults(&Script::new(9, "beta", shaky()), 2000));
}

#[test]
fn the_next_n_end() {
    let script = Script::new(1, "alpha", Behaviour::healthy());
    script.fail_next(2, Fault::Reset);
    assert_eq!(faults(&script, 4), [true, true, false, false]);
    assert_eq!(script.attempts(), 4);
}

#[test]
fn the_next_n_come_before_what_holds_for_ever() {
    let script = Script::new(1, "alpha", Behaviour::failing(Fault::Garbage));
    script.fail_next(1, Fault::Reset);
    assert_eq!(
        script.cue("m", ServiceTier::Standard).fault,
        Some(Fault::Reset)
    );
    assert_eq!(
        script.cue("m", ServiceTier::Standard).fault,
        Some(Fault::Garbage)
    );
}

#[test]
fn a_model_may_fail_alone_and_heal() {
    let script = Script::new(1, "alpha", Behaviour::healthy());
    script.set_model("sick", Behaviour::failing(Fault::EmptyBody));
    assert_eq!(
        script.cue("sick", ServiceTier::Standard).fault,
        Some(Fault::EmptyBody)
    );
    assert_eq!(script.cue("well", ServiceTier::Standard).fault, None);
    script.heal();
    assert_eq!(script.cue("sick", ServiceTier::Standard).fault, None);
}

#[test]
fn failing_keeps_the_latency() {
    let script = Script::new(
        1,
        "alpha",
        Behaviour::healthy().with_latency(Latency::TYPICAL),
    );
    script.fail(Fault::Reset);
    assert_eq!(
        script.cue("m", ServiceTier::Standard).latency,
        Some(Latency::TYPICAL)
    );
    script.fail_share(0.0, Fault::Reset);
    assert_eq!(script.cue("m", ServiceTier::Standard).fault, None);
}

#[test]
fn speed_scales_and_instant_is_nothing() {
    let second = Duration::from_secs(1);
    assert_eq!(Speed::Times(10.0).scale(second), Duration::from_millis(100));
    assert_eq!(Speed::Instant.scale(second), Duration::ZERO);
    assert_eq!(Speed::Times(0.0).scale(second), Duration::ZERO);
    assert_eq!(Speed::Times(1e-300).scale(second), WAIT_MAX);
    assert_eq!(seconds(f64::NAN), Duration::ZERO);
    assert_eq!(seconds(f64::INFINITY), WAIT_MAX);
}

#[test]
fn latency_without_spread_is_its_median() {
    let latency = Latency {
        first_token_median_ms: 200.0,
        spread: 0.0,
        tokens_per_second: 50.0,
    };
    let pace = latency.pace(&mut Dice::of(1, &["pace"]));
    assert_eq!(pace.first_token.as_millis(), 200);
    assert_eq!(pace.per_token.as_millis(), 20);
}

#[test]
fn a_tier_may_be_full_while_the_others_are_well() {
    let script = Script::new(1, "alpha", Behaviour::healthy());
    script.set_tier(ServiceTier::Flex, Behaviour::failing(Fault::NoCapacity));
    script.set_model("m", Behaviour::healthy().serving(ServiceTier::Priority));
    let flex = script.cue("m", ServiceTier::Flex);
    assert_eq!(
        (flex.fault, flex.served_tier),
        (Some(Fault::NoCapacity), None)
    );
    let standard = script.cue("m", ServiceTier::Standard);
    assert_eq!(standard.fault, None);
    assert_eq!(standard.served_tier, Some(ServiceTier::Priority));
    script.heal();
    assert_eq!(script.cue("m", ServiceTier::Flex).fault, None);
}
