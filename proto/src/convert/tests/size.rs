//! How large a table becomes: what was learnt at its largest, and what a new policy moves.

use super::*;
use spillway_routing::head::size::{
    CLUSTERS_MAX, KNOTS, LEAVES_MAX, NETWORKS, SLICES_MAX, TREES, UNITS,
};

const INPUTS: usize = FEATURES + DIMENSIONS;

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 37 % 256) as u8).collect()
}

fn weights(rows: usize, columns: usize) -> Weights {
    let number = |byte: u8| f32::from(byte) - 128.0;
    let numbers: Vec<f32> = bytes(rows * columns).into_iter().map(number).collect();
    Weights::of(columns, &numbers)
}

fn cells(rows: usize, models: usize) -> Cells {
    Cells {
        quality: bytes(rows * models),
        labels: bytes(rows * models),
    }
}

fn largest_tree(models: usize) -> Tree {
    let branch = |next: usize| match next.checked_sub(LEAVES_MAX - 1) {
        Some(leaf) => Branch::Leaf(leaf as u16),
        None => Branch::Node(next as u16),
    };
    let node = |i: usize| Node {
        input: (INPUTS - 1) as u16,
        threshold: i16::MIN + i as i16,
        left: branch(2 * i + 1),
        right: branch(2 * i + 2),
    };
    Tree {
        nodes: (0..LEAVES_MAX - 1).map(node).collect(),
        leaves: bytes(LEAVES_MAX * models),
    }
}

fn largest_heads(models: usize) -> Vec<Head> {
    let name = |i: usize| format!("kind-of-work-{i}").as_str().into();
    let network = Network {
        hidden: weights(UNITS, INPUTS),
        hidden_bias: vec![0.1; UNITS],
        output: weights(models, UNITS),
        output_bias: vec![0.1; models],
    };
    vec![
        Head::Slices(Slices {
            names: (0..SLICES_MAX).map(name).collect(),
            weights: weights(SLICES_MAX, INPUTS),
            bias: vec![0.1; SLICES_MAX],
            cells: cells(SLICES_MAX, models),
            familiar: Familiar {
                centres: vec![-7; SLICES_MAX * FEATURES],
                weights: bytes(SLICES_MAX * FEATURES),
                limits: vec![1_000_000; SLICES_MAX],
            },
        }),
        Head::Clusters(Clusters {
            centroids: weights(CLUSTERS_MAX, DIMENSIONS),
            similarity_min: 0.3,
            cells: cells(CLUSTERS_MAX, models),
        }),
        Head::Forest(vec![largest_tree(models); TREES]),
        Head::Networks(vec![network; NETWORKS]),
    ]
}

fn largest(models: usize) -> Committee {
    let name = |i: usize| format!("a-model-of-some-family-{i}").as_str().into();
    let knots = vec![Bps::ONE; KNOTS];
    Committee {
        models: (0..models).map(name).collect(),
        mean_quality: vec![Bps::new(7_000); models],
        mean_output: vec![Tokens(2_000); models],
        labels: 1_000_000,
        heads: largest_heads(models),
        mix: vec![Bps::new(2_500); 4],
        lengths: Lengths {
            weights: weights(models, INPUTS),
            bias: vec![5.0; models],
        },
        calibration: vec![Curve { knots }; models],
        ..committee()
    }
}

#[test]
fn what_was_learnt_is_small_at_its_largest() {
    for (models, most) in [(16, 64 * 1024), (64, 256 * 1024)] {
        let mut draft = draft();
        draft.committee = Some(largest(models));
        let bytes = encode_table(&draft);
        assert_eq!(decode_table(&bytes).as_ref(), Ok(&draft));
        let learned = learned_bytes(&bytes);
        assert!(learned <= most, "{models} models: {learned} bytes");
    }
}

/// Sixteen models with two lanes each, three routes to all of them, a frontier, and
/// sixteen requests recorded while all lanes were known.
fn busy() -> Draft {
    let mut draft = bare_draft();
    draft.committee = Some(largest(16));
    let models = draft.committee.iter().flat_map(|c| c.models.clone());
    let models: Vec<ModelId> = models.collect();
    let (model, upstream) = (draft.models[0].clone(), draft.upstreams[0].clone());
    let lane = draft.lanes[0].clone();
    draft.observed.clear();
    draft.models.clear();
    draft.upstreams.clear();
    draft.lanes.clear();
    for id in &models {
        let (mut model, mut upstream) = (model.clone(), upstream.clone());
        model.id = id.clone();
        upstream.id = format!("a-provider:{id}").as_str().into();
        upstream.model = id.clone();
        for tier in [Tier::Standard, Tier::Flex] {
            let mut lane = lane.clone();
            lane.id = format!("{}/{}", upstream.id, tier.name()).as_str().into();
            lane.upstream = upstream.id.clone();
            lane.tier = tier;
            draft.lanes.push(lane);
        }
        draft.models.push(model);
        draft.upstreams.push(upstream);
    }
    let first = draft.lanes[0].id.clone();
    if let Some(audits) = &mut draft.audits {
        audits.judge = Some(first.clone());
    }
    draft.rules.truncate(1);
    draft.rules[0].then = Action::Only(models.clone());
    draft.routes.push(draft.routes[0].clone());
    for (i, route) in draft.routes.iter_mut().enumerate() {
        route.id = format!("route-{i}").as_str().into();
        route.models.clone_from(&models);
        route.default_lane = first.clone();
        route.baseline = first.clone();
        if let Some(overflow) = &mut route.overflow {
            overflow.lane = draft.lanes[1].id.clone();
        }
    }
    draft.frontier = vec![draft.frontier[0]; 21];
    draft.probes = recorded(&draft);
    draft
}

fn recorded(draft: &Draft) -> Vec<Probe> {
    let state = |lane: &Lane| {
        let state = LaneState {
            gate: Gate::Open,
            in_flight: 3,
            first_token: Some(Millis(400)),
            per_token_us: Some(9_000),
            ..LaneState::default()
        };
        (lane.id.clone(), state)
    };
    let probe = |i: usize| Probe {
        facts: facts(),
        conditions: draft.lanes.iter().map(state).collect(),
        now: UnixMillis(1_795_262_400_000),
        draw: Draw(u64::MAX - i as u64),
        expected: draft.lanes[i..i + 3].iter().map(|l| l.id.clone()).collect(),
    };
    (0..16).map(probe).collect()
}

#[test]
fn a_new_policy_moves_one_small_chunk() {
    let (old, mut new) = (busy(), busy());
    assert_eq!(Table::build(old.clone()).map(|_| ()), Ok(()));
    new.version = TableVersion(9);
    new.parent = TableVersion(8);
    new.note = "policy version 5".to_owned();
    new.routes[0].bar = Bps::new(9_000);
    new.routes[0].choice = Choice::Multiplier(7_654_321);
    new.probes[0].expected.swap(0, 1);
    let chunks = |draft: &Draft| {
        let chunks = crate::envelope::unsigned(draft);
        let chunks = chunks.chunks().map(|(_, bytes)| bytes.to_vec());
        chunks.collect::<Vec<_>>()
    };
    let (old, new) = (chunks(&old), chunks(&new));
    let sizes: Vec<usize> = new.iter().map(Vec::len).collect();
    assert_eq!((old.len(), &old[..3]), (4, &new[..3]), "{sizes:?}");
    assert!(sizes[3] <= 4_096, "{sizes:?}");
    assert_eq!(decode_table(&new.concat()).map(|d| d.probes.len()), Ok(16));
}

#[test]
fn a_plan_with_a_lane_that_is_not_there_is_not_read() {
    let mut draft = draft();
    draft.probes[0].expected = vec!["nowhere".into()];
    let error = decode_table(&encode_table(&draft)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "plans[0].lanes[0].place: 3 is out of range"
    );
}
