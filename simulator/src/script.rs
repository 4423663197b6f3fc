//! How providers behave: their latency, and the faults they show, by seeded draws.
//!
//! Owns: the behaviour of one provider, changeable while it runs. It must not know
//! HTTP: it says *what* goes wrong; `plan` knows how that looks on the wire. What can go
//! wrong is in `fault`.

mod fault;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::ask::ServiceTier;
use crate::dice::Dice;

pub use fault::{Fault, FaultKind, RetryAfter};

/// No wait that comes out of a distribution is longer than this: a log-normal tail
/// would else outlast every test.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(120);

/// How much faster than life latencies pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// No waiting at all (hanging faults still hang).
    Instant,
    /// This many times faster than life: 1 is life, 10 is ten times faster.
    Times(f64),
}

impl Speed {
    /// The wall time that a nominal time takes.
    pub fn scale(self, nominal: Duration) -> Duration {
        match self {
            Self::Times(factor) if factor > 0.0 && factor.is_finite() => {
                Duration::try_from_secs_f64(nominal.as_secs_f64() / factor)
                    .unwrap_or(WAIT_MAX)
                    .min(WAIT_MAX)
            }
            Self::Instant | Self::Times(_) => Duration::ZERO,
        }
    }
}

/// How long answers take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// Median time to the first token, in milliseconds.
    pub first_token_median_ms: f64,
    /// Standard deviation of the logarithm of that time (0 = always the median).
    pub spread: f64,
    /// Speed of writing after the first token; 0 = all at once.
    pub tokens_per_second: f64,
}

impl Latency {
    /// A middling hosted model.
    pub const TYPICAL: Self = Self {
        first_token_median_ms: 350.0,
        spread: 0.4,
        tokens_per_second: 80.0,
    };

    pub(crate) fn pace(self, dice: &mut Dice) -> Pace {
        let first_ms = dice.log_normal(self.first_token_median_ms, self.spread);
        let token_s = if self.tokens_per_second > 0.0 {
            1.0 / self.tokens_per_second
        } else {
            0.0
        };
        Pace {
            first_token: seconds(first_ms / 1000.0),
            per_token: seconds(token_s),
        }
    }
}

/// A non-negative, bounded duration of any float.
pub(crate) fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value.max(0.0))
        .unwrap_or(WAIT_MAX)
        .min(WAIT_MAX)
}

/// The nominal times of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pace {
    pub(crate) first_token: Duration,
    pub(crate) per_token: Duration,
}

impl Pace {
    /// The time that so many tokens take to write.
    pub(crate) fn writing(self, tokens: u64) -> Duration {
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        self.per_token.saturating_mul(tokens).min(WAIT_MAX)
    }

    /// The time that a whole answer takes.
    pub(crate) fn whole(self, tokens: u64) -> Duration {
        (self.first_token + self.writing(tokens)).min(WAIT_MAX)
    }
}

/// A fault, how often it strikes, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultRule {
    /// What goes wrong.
    pub fault: Fault,
    /// Probability per attempt, 0..1.
    pub share: f64,
    /// How many attempts it may still strike; `None` = for ever.
    pub remaining: Option<u32>,
}

/// How a provider (or one of its models) behaves.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Behaviour {
    /// Latency; `None` = the model's own (recorded, or of its world).
    pub latency: Option<Latency>,
    /// The first rule whose draw says so strikes.
    pub faults: Vec<FaultRule>,
    /// The tier that requests are served in, whatever they ask for.
    pub served_tier: Option<ServiceTier>,
    /// Prompts are cached: what was seen before is told and billed apart.
    pub caching: bool,
}

impl Behaviour {
    /// No faults, the model's own latency.
    pub fn healthy() -> Self {
        Self::default()
    }

    /// Every attempt fails so.
    pub fn failing(fault: Fault) -> Self {
        Self::healthy().with_fault(fault, 1.0)
    }

    /// The same with this latency.
    #[must_use]
    pub fn with_latency(mut self, latency: Latency) -> Self {
        self.latency = Some(latency);
        self
    }

    /// The same, but requests are served in this tier whatever they ask for.
    #[must_use]
    pub fn serving(mut self, tier: ServiceTier) -> Self {
        self.served_tier = Some(tier);
        self
    }

    /// The same, with a cache of prompts.
    #[must_use]
    pub fn with_caching(mut self) -> Self {
        self.caching = true;
        self
    }

    /// The same, and this share (0..1) of attempts fails so.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault, share: f64) -> Self {
        self.faults.push(FaultRule {
            fault,
            share,
            remaining: None,
        });
        self
    }

    /// The same, and the next `attempts` attempts fail so.
    #[must_use]
    pub fn with_next(mut self, attempts: u32, fault: Fault) -> Self {
        self.faults.push(FaultRule {
            fault,
            share: 1.0,
            remaining: Some(attempts),
        });
        self
    }

    fn strike(&mut self, dice: &mut Dice) -> Option<Fault> {
        for rule in &mut self.faults {
            let drawn = dice.unit() < rule.share;
            if !drawn || rule.remaining == Some(0) {
                continue;
            }
            rule.remaining = rule.remaining.map(|left| left - 1);
            return Some(rule.fault.clone());
        }
        None
    }
}

/// The handle that changes a provider's behaviour while it runs. Clones are the same handle.
#[derive(Debug, Clone)]
pub struct Script {
    seed: u64,
    provider: Arc<str>,
    acts: Arc<Mutex<Acts>>,
}

#[derive(Debug)]
struct Acts {
    provider: Behaviour,
    models: BTreeMap<String, Behaviour>,
    tiers: BTreeMap<ServiceTier, Behaviour>,
    attempts: u64,
}

/// What the script says about one attempt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cue {
    pub(crate) fault: Option<Fault>,
    pub(crate) latency: Option<Latency>,
    pub(crate) served_tier: Option<ServiceTier>,
    pub(crate) caching: bool,
    /// The attempt's number at its provider, from 0.
    pub(crate) number: u64,
}

impl Script {
    pub(crate) fn new(seed: u64, provider: &str, behaviour: Behaviour) -> Self {
        Self {
            seed,
            provider: provider.into(),
            acts: Arc::new(Mutex::new(Acts {
                provider: behaviour,
                models: BTreeMap::new(),
                tiers: BTreeMap::new(),
                attempts: 0,
            })),
        }
    }

    /// From now on the provider behaves so, but for models with a behaviour of their own.
    pub fn set(&self, behaviour: Behaviour) {
        self.lock().provider = behaviour;
    }

    /// From now on this model behaves so, whatever its provider does.
    pub fn set_model(&self, model: impl Into<String>, behaviour: Behaviour) {
        self.lock().models.insert(model.into(), behaviour);
    }

    /// From now on requests for this tier are treated so, whatever their model or their
    /// provider does.
    pub fn set_tier(&self, tier: ServiceTier, behaviour: Behaviour) {
        self.lock().tiers.insert(tier, behaviour);
    }

    /// Healthy again, all models and tiers included.
    pub fn heal(&self) {
        let mut acts = self.lock();
        acts.provider = Behaviour::healthy();
        acts.models.clear();
        acts.tiers.clear();
    }

    /// Every attempt fails so from now on (latency stays).
    pub fn fail(&self, fault: Fault) {
        let mut acts = self.lock();
        acts.provider.faults.clear();
        acts.provider = std::mem::take(&mut acts.provider).with_fault(fault, 1.0);
    }

    /// The next `attempts` attempts fail so, before any other rule (latency stays).
    pub fn fail_next(&self, attempts: u32, fault: Fault) {
        self.lock().provider.faults.insert(
            0,
            FaultRule {
                fault,
                share: 1.0,
                remaining: Some(attempts),
            },
        );
    }

    /// This share (0..1) of attempts fails so from now on (latency stays).
    pub fn fail_share(&self, share: f64, fault: Fault) {
        let mut acts = self.lock();
        acts.provider.faults.clear();
        acts.provider = std::mem::take(&mut acts.provider).with_fault(fault, share);
    }

    /// How many attempts this provider has drawn a cue for.
    pub fn attempts(&self) -> u64 {
        self.lock().attempts
    }

    pub(crate) fn cue(&self, model: &str, tier: ServiceTier) -> Cue {
        let mut acts = self.lock();
        let number = acts.attempts;
        acts.attempts += 1;
        let mut dice = Dice::numbered(self.seed, &self.provider, number);
        let Acts {
            provider,
            models,
            tiers,
            ..
        } = &mut *acts;
        let behaviour = tiers.get_mut(&tier).or_else(|| models.get_mut(model));
        let behaviour = behaviour.unwrap_or(provider);
        Cue {
            fault: behaviour.strike(&mut dice),
            latency: behaviour.latency,
            served_tier: behaviour.served_tier,
            caching: behaviour.caching,
            number,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Acts> {
        self.acts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
