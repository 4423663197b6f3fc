//! Background work of the control plane: idempotent steps that carry no data.
//!
//! Owns: when each step runs. What a step does is its noun's business; a step that
//! fails is logged and runs again.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use spillway_proto::pb;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::alarms;
use crate::config::Config;
use crate::control::{Control, now};
use crate::error::ControlError;
use crate::fleet::ProxyCondition;
use crate::training;

/// How often the current table is compared with what policy and learning ask for.
const RECONCILE_EVERY: Duration = Duration::from_secs(5);
/// New labels after which a committee's tables are counted again, where they do not start
/// a run.
const COUNTED_EVERY: u64 = 100;
/// How often what came in is compared with what the table was learnt from.
const WATCH_EVERY: Duration = Duration::from_secs(60);
/// A pause before work that panicked is started again, so that it cannot spin.
const RESTART_AFTER: Duration = Duration::from_secs(5);
/// How often small history files are merged.
const COMPACT_EVERY: Duration = Duration::from_secs(60);

/// Starts all of it; the tasks end after `shutdown`.
pub(crate) fn spawn(
    control: &Arc<Control>,
    config: &Config,
    policy: Option<String>,
    heard: mpsc::Receiver<pb::Acknowledgement>,
    shutdown: &CancellationToken,
) -> Vec<JoinHandle<()>> {
    let shared = || Arc::clone(control);
    let (interval, enough) = (config.training_interval, config.training_labels);
    let first = Arc::new(Mutex::new(policy));
    let heard = Arc::new(Mutex::new(heard));
    vec![
        keep(shutdown, shared(), move |control| {
            Box::pin(tables(control, Arc::clone(&first)))
        }),
        keep(shutdown, shared(), move |control| {
            Box::pin(train(control, interval, enough))
        }),
        keep(shutdown, shared(), |control| Box::pin(compact(control))),
        keep(shutdown, shared(), |control| Box::pin(watch(control))),
        keep(shutdown, shared(), move |control| {
            Box::pin(listen(control, Arc::clone(&heard)))
        }),
    ]
}

/// Runs `work` until `shutdown`; work that panicked is logged and started again.
fn keep(
    shutdown: &CancellationToken,
    control: Arc<Control>,
    work: impl Fn(Arc<Control>) -> BoxFuture<'static, ()> + Send + 'static,
) -> JoinHandle<()> {
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        while !shutdown.is_cancelled() {
            let mut running = tokio::spawn(work(Arc::clone(&control)));
            tokio::select! {
                () = shutdown.cancelled() => running.abort(),
                ended = &mut running => {
                    tracing::error!(?ended, "background work of the control plane stopped; starting it again");
                    tokio::time::sleep(RESTART_AFTER).await;
                }
            }
        }
    })
}

/// Publishes the first policy, then keeps the table what the policy asks for.
async fn tables(control: Arc<Control>, first: Arc<Mutex<Option<String>>>) {
    loop {
        let mut first = first.lock().await;
        match table_step(&control, &mut first).await {
            Ok(()) => control.metrics.store_connected.set(1.0),
            Err(error) => {
                if matches!(error, ControlError::Store(_) | ControlError::Publish(_)) {
                    control.metrics.store_connected.set(0.0);
                }
                tracing::warn!(
                    error = error.chain(),
                    "the table could not be reconciled; trying again"
                );
            }
        }
        drop(first);
        count_fleet(&control).await;
        tokio::time::sleep(RECONCILE_EVERY).await;
    }
}

async fn table_step(control: &Control, first: &mut Option<String>) -> Result<(), ControlError> {
    if let Some(text) = first.as_deref() {
        if control.policies.current().await?.is_none() {
            control.put_policy(text, 0, "first start").await?;
        }
        control.publisher.show_current().await?;
        *first = None;
    }
    control.catch_up().await
}

async fn count_fleet(control: &Control) {
    let Ok(members) = control.fleet.members(&control.store, now()).await else {
        return;
    };
    for condition in [
        ProxyCondition::Running,
        ProxyCondition::Refused,
        ProxyCondition::Lost,
    ] {
        let count = members
            .iter()
            .filter(|member| member.condition == condition)
            .count();
        let gauge = control
            .metrics
            .fleet_proxies
            .with_label_values(&[condition.name()]);
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// Trains when asked to, when enough new labels came, and when the policy has changed since.
async fn train(control: Arc<Control>, every: Duration, enough: u64) {
    let (mut learnt_from, mut learnt_for, mut counted) = (0, None, 0);
    loop {
        let asked = tokio::select! {
            () = training::asked(&control) => true,
            () = tokio::time::sleep(every) => false,
        };
        let labels = training::labels(&control).await.unwrap_or(learnt_from);
        let new = labels.saturating_sub(learnt_from);
        // Multipliers are solved for a policy's prices and models: another policy has none.
        let policy = control.policies.current().await.ok().flatten();
        let policy = policy.map(|policy| policy.version);
        let stale = learnt_for.is_some() && learnt_for != policy;
        if !asked && (enough == 0 || (new < enough && !stale)) {
            if enough > 0 && learnt_for.is_some() && labels >= counted + COUNTED_EVERY {
                counted = labels;
                refresh(&control).await;
            }
            continue;
        }
        (learnt_from, learnt_for, counted) = (labels, policy, labels);
        if let Err(error) = training::step(&control).await {
            tracing::warn!(
                error = error.chain(),
                "the training run could not be recorded"
            );
        }
    }
}

async fn refresh(control: &Control) {
    match training::refresh(control).await {
        Ok(Some(version)) => tracing::info!(%version, "counted the tables again"),
        Ok(None) => {}
        Err(error) => tracing::warn!(error = error.chain(), "the tables were not counted"),
    }
}

async fn watch(control: Arc<Control>) {
    loop {
        tokio::time::sleep(WATCH_EVERY).await;
        if let Err(error) = alarms::step(&control).await {
            tracing::warn!(error = error.chain(), "drift could not be looked for");
        }
    }
}

async fn compact(control: Arc<Control>) {
    loop {
        tokio::time::sleep(COMPACT_EVERY).await;
        match control.history.compact(now()).await {
            Ok(done) if done.merged > 0 => tracing::debug!(?done, "compacted history"),
            Ok(_) => {}
            Err(error) => tracing::warn!(
                error = ControlError::from(error).chain(),
                "history was not compacted"
            ),
        }
    }
}

/// Hears what an embedded proxy says.
async fn listen(control: Arc<Control>, heard: Arc<Mutex<mpsc::Receiver<pb::Acknowledgement>>>) {
    let mut heard = heard.lock().await;
    while let Some(acknowledgement) = heard.recv().await {
        control.fleet.heard(acknowledgement, now());
    }
    std::future::pending::<()>().await;
}
