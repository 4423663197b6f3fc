//! What every door of the control plane shares, and the one step that turns the current
//! policy and what was learnt into the current table.
//!
//! Owns: [`Control`] and [`Control::reconcile`]. The step is idempotent: it publishes
//! only if the table would differ, so that a timer, a changed policy and a finished
//! training run all just call it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use spillway_history::History;
use spillway_routing::decide::Draw;
use spillway_routing::features::Facts;
use spillway_routing::id::TableVersion;
use spillway_routing::table::{Draft, Probe};
use spillway_routing::unit::{Millis, UnixMillis};

use crate::alarms;
use crate::error::ControlError;
use crate::fleet::Fleet;
use crate::metrics::Metrics;
use crate::policies::Policies;
use crate::policy::{self, Learned};
use crate::publish::{Cause, PublishError, Publisher};
use crate::store::Store;
use crate::training::Runs;

/// Recorded requests that a table carries as probes.
const PROBES: usize = 16;
/// How far back probes are taken from.
const PROBE_WINDOW: Millis = Millis(24 * 3_600_000);
/// Another publisher may win a few times in a row; then somebody should look.
const PUBLISH_TRIES: usize = 5;

/// See the module.
#[derive(Debug)]
pub struct Control {
    pub store: Arc<Store>,
    pub history: Arc<History>,
    pub publisher: Publisher,
    pub policies: Policies,
    pub fleet: Fleet,
    pub runs: Runs,
    pub metrics: Metrics,
}

/// Something learnt, and what it takes the place of.
#[derive(Clone, Copy, Debug)]
pub struct Anew<'a> {
    pub learned: &'a Learned,
    /// When what was in use had been learnt as this began: whoever went back to an older
    /// table meanwhile does not want that undone.
    pub instead_of: UnixMillis,
    pub cause: Cause,
}

impl Control {
    /// Makes the table that the current policy and what was learnt ask for the current one;
    /// without `anew` what the current table carries is kept. Returns the version
    /// that is current afterwards; zero while there is no policy.
    ///
    /// # Errors
    ///
    /// If the policy has faults, the store or history does not answer, or what was learnt
    /// replaces another table than the current one.
    pub async fn reconcile(
        &self,
        anew: Option<Anew<'_>>,
        note: &str,
    ) -> Result<TableVersion, ControlError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let Some(policy) = self.policies.current().await? else {
                return Ok(TableVersion(0));
            };
            let current = self.publisher.current().await?;
            let carried = current
                .as_ref()
                .map(|c| Learned::of(c.table.draft()))
                .unwrap_or_default();
            let learned = match anew {
                Some(anew) if anew.instead_of != carried.at => return Err(ControlError::Overtaken),
                Some(anew) => anew.learned,
                None => &carried,
            };
            let parsed = policy::parse(&policy.text).map_err(ControlError::Policy)?;
            let mut draft =
                policy::draft(&parsed, &policy.text, learned).map_err(ControlError::Policy)?;
            draft.note = note.to_owned();
            draft.policy = policy.version;
            draft.suspended = alarms::named_since(&self.store, draft.learnt_at).await?;
            if let Some(audits) = &mut draft.audits
                && alarms::are_fresh(&self.store, now()).await?
            {
                audits.share = audits.share.max(alarms::RAISED_SHARE);
            }
            let parent = current.as_ref().map_or(TableVersion(0), |c| c.version());
            if let Some(current) = &current
                && same_content(current.table.draft(), &draft)
            {
                return Ok(parent);
            }
            let mut probes = self.probes(&draft).await?;
            if let Some(current) = current.filter(|_| anew.is_none()) {
                probes = standing(probes, &current.table.draft().probes, &draft);
            }
            let cause = anew.map_or(Cause::Change, |anew| anew.cause);
            let publishing = self
                .publisher
                .publish_for(cause, draft, parent, probes, now());
            match publishing.await {
                Ok(version) => {
                    self.metrics.tables_published.inc();
                    tracing::info!(%version, note, "published a table");
                    return Ok(version);
                }
                Err(PublishError::Stale { .. }) if tries < PUBLISH_TRIES => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Publishes a policy that was stored but whose table did not get out, because the
    /// publisher died in between.
    ///
    /// # Errors
    ///
    /// As [`Control::reconcile`].
    pub async fn catch_up(&self) -> Result<(), ControlError> {
        let Some(policy) = self.policies.current().await? else {
            return Ok(());
        };
        let current = self.publisher.current().await?;
        if current.is_some_and(|current| current.table.draft().policy >= policy.version) {
            return Ok(());
        }
        let note = format!("policy version {}", policy.version);
        self.reconcile(None, &note).await.map(|_| ())
    }

    /// Replaces the policy and publishes the table it asks for. Returns both versions.
    ///
    /// # Errors
    ///
    /// All faults of the policy, before anything is changed; a conflict if somebody else
    /// was faster.
    pub async fn put_policy(
        &self,
        text: &str,
        expected: u64,
        author: &str,
    ) -> Result<(u64, TableVersion), ControlError> {
        let faults = policy::faults(text);
        if !faults.is_empty() {
            return Err(ControlError::Policy(faults));
        }
        let version = self.policies.put(text, expected, author, now()).await?;
        let table = self
            .reconcile(None, &format!("policy version {version}"))
            .await?;
        Ok((version, table))
    }

    /// Publishes the content of table `to` as a new version, and the policy it came from
    /// as a new version of the policy: what is compiled next starts from there.
    ///
    /// # Errors
    ///
    /// If `expected` is not the current table, or `to` is not kept.
    pub async fn roll_back(
        &self,
        to: TableVersion,
        expected: TableVersion,
    ) -> Result<TableVersion, ControlError> {
        let (_, draft) = self.publisher.version(to).await?;
        let old = self.policies.version(draft.policy).await?;
        let current = self.policies.current().await?;
        let newer = current.filter(|current| current.version != draft.policy);
        let policy = match (newer, old) {
            (Some(current), Some(old)) if current.text != old.text => Some((current.version, old)),
            (current, _) => current.map(|current| (current.version, current)),
        };
        // The table first: if somebody else was faster, the policy stays as it is.
        let stands_for = policy
            .as_ref()
            .map_or(draft.policy, |(version, _)| version + 1);
        let version = self
            .publisher
            .roll_back(to, expected, stands_for, now())
            .await?;
        if let Some((current, old)) = policy {
            self.policies
                .put(
                    &old.text,
                    current,
                    &format!("rolled back to table {to}"),
                    now(),
                )
                .await?;
        }
        self.metrics.tables_published.inc();
        Ok(version)
    }

    /// Lately recorded requests; on a fresh install one plain request per route.
    async fn probes(&self, draft: &Draft) -> Result<Vec<Probe>, ControlError> {
        let now = now();
        let since = UnixMillis(now.0.saturating_sub(PROBE_WINDOW.0));
        let recorded = self.history.window(since, now, PROBES).await?;
        let of_record = |(outcome, _): &(spillway_routing::outcome::Outcome, _)| Probe {
            facts: outcome.facts.clone(),
            conditions: outcome.conditions.clone(),
            now: outcome.at,
            draw: Draw::of(outcome.id),
            expected: Vec::new(),
        };
        let mut probes: Vec<Probe> = recorded.iter().map(of_record).collect();
        let plain = draft.routes.iter().map(|route| Probe {
            facts: Facts {
                route: Some(route.id.clone()),
                ..Facts::default()
            },
            conditions: Vec::new(),
            now,
            draw: Draw(0),
            expected: Vec::new(),
        });
        probes.extend(plain.take(PROBES.saturating_sub(recorded.len()).max(1)));
        Ok(probes)
    }
}

/// The probes of a table that learnt nothing new: those of the one before, if as many of
/// them ask for something that is there. Requests that stay the same travel once.
fn standing(fresh: Vec<Probe>, kept: &[Probe], draft: &Draft) -> Vec<Probe> {
    let there = |name: &str| {
        let mut routes = draft.routes.iter().map(|route| route.id.as_str());
        let mut models = draft.models.iter().map(|model| model.id.as_str());
        routes.any(|route| route == name) || models.any(|model| model == name)
    };
    let fits = |probe: &&Probe| {
        let route = probe.facts.route.as_ref();
        route.is_some_and(|route| there(route.as_str()))
    };
    if kept.iter().filter(fits).count() >= fresh.iter().filter(fits).count() {
        kept.to_vec()
    } else {
        fresh
    }
}

/// Whether two drafts decide alike: all but version, time, note and probes.
fn same_content(a: &Draft, b: &Draft) -> bool {
    let bare = |draft: &Draft| Draft {
        version: TableVersion(1),
        parent: TableVersion(0),
        made_at: UnixMillis(0),
        note: String::new(),
        policy: 0,
        learnt_at: UnixMillis(0),
        probes: Vec::new(),
        ..draft.clone()
    };
    bare(a) == bare(b)
}

/// The wall clock, read here and nowhere below.
#[must_use]
pub fn now() -> UnixMillis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use spillway_routing::table::BarPoint;
    use spillway_routing::unit::Bps;

    fn probe(route: &str, draw: u64) -> Probe {
        Probe {
            facts: Facts {
                route: Some(route.into()),
                ..Facts::default()
            },
            conditions: Vec::new(),
            now: UnixMillis(5),
            draw: Draw(draw),
            expected: Vec::new(),
        }
    }

    const POLICY: &str = "version = 1\n[[upstreams]]\nprovider = \"p\"\nmodels = [\"m\"]\nprices.standard = { input = 1.0, output = 2.0 }\n[routes.auto]\nbaseline = \"m\"\n";

    fn control(dir: &std::path::Path) -> Control {
        let store = Arc::new(Store::local(&dir.join("store")).unwrap());
        let key = spillway_proto::envelope::SecretKey::from_seed([1; 32]);
        Control {
            publisher: Publisher::new(Arc::clone(&store), key),
            policies: Policies::new(Arc::clone(&store)),
            store,
            history: Arc::new(History::local(&dir.join("history")).unwrap()),
            fleet: Fleet::default(),
            runs: Runs::default(),
            metrics: Metrics::new().unwrap(),
        }
    }

    #[tokio::test]
    async fn what_was_learnt_undoes_no_roll_back() {
        let dir = tempfile::tempdir().unwrap();
        let control = control(dir.path());
        control.put_policy(POLICY, 0, "test").await.unwrap();
        let learned = |at| Learned {
            at: UnixMillis(at),
            frontier: vec![BarPoint {
                bar: Bps::ONE,
                multiplier: at,
                learned: false,
            }],
            ..Learned::default()
        };
        let publish = async |learned: &Learned, instead_of| {
            let anew = Anew {
                learned,
                instead_of: UnixMillis(instead_of),
                cause: Cause::Change,
            };
            control.reconcile(Some(anew), "a run").await
        };
        assert_eq!(publish(&learned(7), 0).await.unwrap(), TableVersion(2));
        // A run that began under version 2 ends after somebody went back to version 1.
        control
            .roll_back(TableVersion(1), TableVersion(2))
            .await
            .unwrap();
        let late = publish(&learned(9), 7).await;
        assert!(matches!(late, Err(ControlError::Overtaken)), "{late:?}");
        let current = control.publisher.current().await.unwrap().unwrap();
        assert_eq!(current.version(), TableVersion(3));
        assert_eq!(current.table.draft().learnt_at, UnixMillis(0));
    }

    #[test]
    fn probes_stay_unless_new_ones_say_more() {
        let policy = policy::parse(POLICY).unwrap();
        let draft = policy::draft(&policy, POLICY, &Learned::default()).unwrap();
        let old = [probe("auto", 1), probe("m", 2)];
        let fresh = |routes: &[&str]| routes.iter().map(|r| probe(r, 3)).collect::<Vec<_>>();
        let chosen = |routes: &[&str], kept: &[Probe]| standing(fresh(routes), kept, &draft);
        assert_eq!(chosen(&["auto", "m"], &old), old);
        assert_eq!(chosen(&["auto"; 3], &old), fresh(&["auto"; 3]));
        // Its route is gone: it shows less than the new ones do.
        let gone = [probe("auto", 1), probe("gone", 2)];
        assert_eq!(chosen(&["auto", "m"], &gone), fresh(&["auto", "m"]));
        assert_eq!(chosen(&["auto"], &[]), fresh(&["auto"]));
    }
}
