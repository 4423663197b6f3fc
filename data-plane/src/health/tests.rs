//! Places, probes and turns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use spillway_routing::catalogue::{Lane, Pace, Room, Tier};
use spillway_routing::unit::Millis;

use super::{Ejection, Entrance, Event, Health, Permit, Ticket};

fn health() -> Arc<Health> {
    let ejection = Ejection {
        first: Duration::from_secs(2),
        max: Duration::from_secs(300),
    };
    Arc::new(Health::new(ejection, 2))
}

fn lane(queue: u32) -> Lane {
    Lane {
        id: "a".into(),
        upstream: "a".into(),
        tier: Tier::Standard,
        price: None,
        pace: Pace::default(),
        room: Room {
            in_flight: None,
            queue,
            wait: Millis(1_000),
        },
    }
}

fn turn(health: &Arc<Health>, lane: &Lane, key: &str) -> Ticket {
    match health.enter(lane, key, false, Instant::now()) {
        Entrance::Wait(ticket) => ticket,
        Entrance::In(_) => panic!("there was a place"),
        Entrance::Closed => panic!("there was no turn"),
    }
}

fn places(health: &Arc<Health>, lane: &Lane, count: usize) -> Vec<Permit> {
    let admit = |_| health.admit(lane, false, Instant::now()).unwrap();
    (0..count).map(admit).collect()
}

#[test]
fn only_one_of_two_probes_gets_through() {
    let (health, lane, now) = (health(), lane(0), Instant::now());
    for _ in 0..5 {
        health
            .admit(&lane, false, now)
            .unwrap()
            .report(Event::Failed, now, 0);
    }
    let later = now + Duration::from_secs(2);
    let probe = health.admit(&lane, false, later);
    assert!(probe.is_some() && health.admit(&lane, false, later).is_none());
    drop(probe);
    let mut next = health.admit(&lane, false, later).unwrap();
    next.report(Event::Answered, later, 0);
    assert!(health.admit(&lane, false, later).is_some());
}

#[test]
fn a_lane_is_full_at_its_limit_and_the_last_lane_is_forced() {
    let (health, lane, now) = (health(), lane(0), Instant::now());
    let held = places(&health, &lane, 2);
    assert!(health.admit(&lane, false, now).is_none());
    assert!(health.admit(&lane, true, now).is_some());
    drop(held);
    assert!(health.admit(&lane, false, now).is_some());
}

#[test]
fn a_lanes_own_limit_is_below_the_proxys() {
    let (health, now) = (health(), Instant::now());
    let mut lane = lane(0);
    lane.room.in_flight = Some(1);
    let held = health.admit(&lane, false, now);
    assert!(held.is_some() && health.admit(&lane, false, now).is_none());
    lane.room.in_flight = Some(50);
    let more = health.admit(&lane, false, now);
    assert!(more.is_some() && health.admit(&lane, false, now).is_none());
}

#[test]
fn the_last_lane_keeps_to_what_the_policy_says_of_its_room() {
    let (health, now) = (health(), Instant::now());
    let mut lane = lane(1);
    lane.room.in_flight = Some(1);
    let _held = health.admit(&lane, true, now);
    let waiting = health.enter(&lane, "a", true, now);
    assert!(matches!(waiting, Entrance::Wait(_)));
    assert!(matches!(
        health.enter(&lane, "a", true, now),
        Entrance::Closed
    ));
}

#[tokio::test]
async fn more_room_is_for_whoever_waits_and_not_for_whoever_comes() {
    let (health, now) = (health(), Instant::now());
    let mut lane = lane(3);
    lane.room.in_flight = Some(1);
    let _held = health.admit(&lane, false, now).unwrap();
    let mut first = turn(&health, &lane, "a");
    lane.room.in_flight = Some(2);
    let second = turn(&health, &lane, "b");
    assert!(first.place().await.is_some());
    drop(second);
}

#[tokio::test]
async fn places_go_from_key_to_key_and_past_whoever_left() {
    let (health, lane) = (health(), lane(3));
    let mut held = places(&health, &lane, 2);
    let mut busy = turn(&health, &lane, "busy");
    let gone = turn(&health, &lane, "busy");
    let mut other = turn(&health, &lane, "other");
    assert!(matches!(
        health.enter(&lane, "late", false, Instant::now()),
        Entrance::Closed
    ));
    drop(gone);
    held.pop();
    held.push(busy.place().await.unwrap());
    drop(busy);
    held.pop();
    held.push(other.place().await.unwrap());
    drop(other);
    // Nobody waits any more, and both places are taken.
    assert!(health.admit(&lane, false, Instant::now()).is_none());
    held.clear();
    assert_eq!(places(&health, &lane, 2).len(), 2);
}

#[tokio::test]
async fn whoever_leaves_with_a_place_hands_it_on() {
    let (health, lane) = (health(), lane(2));
    let mut held = places(&health, &lane, 2);
    let first = turn(&health, &lane, "a");
    let mut second = turn(&health, &lane, "b");
    held.pop();
    // The place was called out to the first, who never takes it.
    drop(first);
    assert!(second.place().await.is_some());
}

#[tokio::test]
async fn nobody_waits_for_a_lane_that_went_out() {
    let (health, lane, now) = (health(), lane(2), Instant::now());
    let mut held = places(&health, &lane, 2);
    let mut waiting = turn(&health, &lane, "a");
    for _ in 0..5 {
        held[0].report(Event::Failed, now, 0);
    }
    assert!(waiting.place().await.is_none());
}
