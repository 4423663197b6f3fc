//! A key's requests and tokens a minute, shared between proxies by slices of one bucket.
//!
//! Owns: the bucket that all proxies empty together, as its text in the store, and how
//! much of it this proxy holds. A proxy is granted what it needs and a sixteenth of a
//! minute's worth, which is void after a minute: the bucket has filled without it. Where
//! nobody can be asked a proxy counts alone. Pure: clocks are passed in.

use std::time::{Duration, Instant};

use spillway_routing::unit::UnixMillis;

use super::bucket::Bucket;
use super::money::Round;

const MINUTE: Duration = Duration::from_secs(60);
/// Of a minute's worth, what a proxy gets beyond what it needs; as much as it took last, at
/// least, so that the next one like it need not wait.
const SLICE_OF_ALL: f64 = 16.0;
/// What was not there is not asked for again at once (what flows in stays in the bucket),
/// and is after a while.
const DRY_MIN: Duration = Duration::from_millis(250);
const DRY_MAX: Duration = Duration::from_secs(5);

/// Something of requests, and the same of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates<T> {
    pub(super) requests: T,
    pub(super) tokens: T,
}

/// Why nothing can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dry {
    /// Enough again after that.
    For(Duration),
    /// The fleet may have more.
    Ask,
}

/// What is known of the bucket of all.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Supply {
    /// Nobody shares it.
    Alone,
    Open,
    /// So much was not there when last asked, and flows in until then; others may give
    /// something back, so it is asked again before.
    Dry {
        amount: f64,
        until: Instant,
        again: Instant,
    },
    /// Nobody could be asked.
    Away,
}

/// One rate of one key at this proxy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    per_minute: u32,
    /// Granted and not taken; negative where more was taken.
    held: f64,
    granted_at: Instant,
    /// The largest request that waits for a grant.
    wanted: f64,
    /// Asked, and not answered yet.
    pending: bool,
    /// What was taken last.
    last: f64,
    /// Taken since the last tidy round.
    used: bool,
    supply: Supply,
    /// What this proxy took, by itself.
    own: Bucket,
}

/// What one proxy wants of a bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Want {
    held: f64,
    amount: f64,
    slice: f64,
    /// No longer held, and for whoever needs it.
    back: f64,
}

/// What it gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Got {
    change: f64,
    amount: f64,
    /// Not enough; enough after that.
    dry: Option<Duration>,
}

impl Flow {
    pub(super) fn new(per_minute: u32, shared: bool, now: Instant) -> Self {
        Self {
            per_minute,
            held: 0.0,
            granted_at: now,
            wanted: 0.0,
            pending: false,
            last: 0.0,
            used: false,
            supply: if shared { Supply::Open } else { Supply::Alone },
            own: Bucket::full(per_minute, now),
        }
    }

    /// Time passed, and the limit may be another one.
    pub(super) fn turn(&mut self, per_minute: u32, now: Instant) {
        if per_minute != self.per_minute && matches!(self.supply, Supply::Dry { .. }) {
            self.supply = Supply::Open;
        }
        self.per_minute = per_minute;
        self.own.fill(per_minute, now);
        if now.saturating_duration_since(self.granted_at) >= MINUTE {
            self.held = self.held.min(0.0);
        }
        // It owes no more than its own bucket lacks: what was taken while nobody could be
        // asked flows in again like everything else.
        self.held = self.held.max(self.own.level - f64::from(per_minute));
    }

    fn is_limited(&self) -> bool {
        self.per_minute < u32::MAX
    }

    fn slice(&self) -> f64 {
        let most = f64::from(self.per_minute);
        (most / SLICE_OF_ALL).max(self.last).min(most)
    }

    /// Whether so much can be taken now.
    pub(super) fn gives(&mut self, amount: f64, now: Instant) -> Result<(), Dry> {
        let own = |wait: Option<Duration>| wait.map_or(Ok(()), |wait| Err(Dry::For(wait)));
        match self.supply {
            Supply::Alone | Supply::Away => own(self.own.lacks(amount, self.per_minute)),
            _ if !self.is_limited() || self.held >= amount => Ok(()),
            _ if self.per_minute == 0 => Err(Dry::For(Duration::MAX)),
            Supply::Dry {
                amount: no,
                until,
                again,
            } if amount >= no && now < again => {
                Err(Dry::For(until.saturating_duration_since(now).max(DRY_MIN)))
            }
            Supply::Open | Supply::Dry { .. } => {
                self.wanted = self.wanted.max(amount);
                Err(Dry::Ask)
            }
        }
    }

    pub(super) fn take(&mut self, amount: f64) {
        self.used = true;
        self.last = amount;
        self.wants_nothing();
        self.book(-amount);
    }

    /// Whoever waits says so again.
    pub(super) fn wants_nothing(&mut self) {
        self.wanted = 0.0;
    }

    /// What was reserved so long ago and not needed; negative where more was. After a minute
    /// it has flowed into the bucket again.
    pub(super) fn settle(&mut self, unused: f64, ago: Duration) {
        if unused <= 0.0 || ago < MINUTE {
            self.book(unused);
        }
        if unused > 0.0 {
            self.held = self.held.min(f64::from(self.per_minute));
            if matches!(self.supply, Supply::Dry { .. }) {
                self.supply = Supply::Open;
            }
        }
    }

    fn book(&mut self, amount: f64) {
        self.own.level += amount;
        if self.is_limited() {
            self.held += amount;
        }
    }

    /// Whether to ask now rather than with the next tidy round.
    pub(super) fn runs_low(&self) -> bool {
        if !self.is_limited() || self.per_minute == 0 {
            return false;
        }
        match self.supply {
            Supply::Alone => false,
            Supply::Away => true,
            Supply::Dry { .. } => self.wanted > 0.0,
            Supply::Open => self.wanted > 0.0 || self.held < self.slice() / 2.0,
        }
    }

    /// This proxy's part in a round; `None` where it has none.
    pub(super) fn ask(&mut self, round: Round) -> Option<Want> {
        let shared = self.supply != Supply::Alone && self.is_limited() && self.per_minute > 0;
        let used = match round {
            Round::Wanted => self.used,
            Round::Tidy | Round::Last => std::mem::take(&mut self.used),
        };
        let (owed, kept) = (self.held < 0.0, self.slice() + self.wanted);
        let surplus = match round {
            Round::Last => self.held,
            Round::Tidy if self.held > kept + self.slice() => self.held - kept,
            Round::Tidy | Round::Wanted => 0.0,
        };
        let asks = match round {
            Round::Last => owed || surplus > 0.0,
            Round::Wanted | Round::Tidy => {
                owed || surplus > 0.0 || self.wanted > 0.0 || (used && self.runs_low())
            }
        };
        if !(shared && asks) {
            return None;
        }
        // What goes back is taken by nobody here from now on.
        let back = surplus.max(0.0);
        self.held -= back;
        self.pending = true;
        Some(Want {
            held: self.held,
            amount: std::mem::take(&mut self.wanted),
            slice: if round == Round::Last {
                0.0
            } else {
                self.slice()
            },
            back,
        })
    }

    /// What was asked was answered.
    pub(super) fn got(&mut self, got: &Got, now: Instant) {
        self.pending = false;
        if got.change > 0.0 {
            self.held += got.change;
            self.granted_at = now;
        }
        let amount = got.amount;
        self.supply = match got.dry {
            Some(wait) => Supply::Dry {
                amount,
                until: now + wait.min(MINUTE),
                again: now + wait.clamp(DRY_MIN, DRY_MAX),
            },
            None => Supply::Open,
        };
    }

    pub(super) fn cannot_ask(&mut self) {
        self.pending = false;
        if self.supply != Supply::Alone {
            self.supply = Supply::Away;
        }
    }

    /// Somebody waited as long as anybody does. Where the answer was no, or others were
    /// faster, there still was one.
    pub(super) fn waited(&mut self) {
        if self.pending || self.wanted > 0.0 {
            self.cannot_ask();
        }
    }
}

impl Want {
    /// What it gets of a bucket that holds `level`. A request of more than a minute's worth
    /// needs a full one, and the rest is owed by all.
    fn answer(&self, level: f64, per_minute: u32) -> Got {
        let most = f64::from(per_minute);
        if self.back > 0.0 {
            return Got {
                change: -self.back,
                amount: self.amount,
                dry: None,
            };
        }
        let lacking = self.amount.min(most) - (level + self.held);
        let needed = self.amount - self.held;
        let (change, dry) = if lacking > 0.0 {
            let seconds = lacking * MINUTE.as_secs_f64() / most.max(f64::MIN_POSITIVE);
            let wait = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
            // What was taken beyond the grants is on the books, whatever is left.
            (-self.held, Some(wait))
        } else {
            ((needed + self.slice).min(level).max(needed), None)
        };
        Got {
            change: change.max(0.0),
            amount: self.amount,
            dry,
        }
    }
}

/// What one proxy does to a key's buckets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ask {
    per_minute: Rates<u32>,
    wants: Rates<Option<Want>>,
}

/// A key's buckets as the store keeps them: when, and what was in them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Kept {
    at: UnixMillis,
    levels: Rates<f64>,
}

impl Rates<Flow> {
    pub(super) fn ask(&mut self, round: Round) -> Option<Ask> {
        let ask = Ask {
            per_minute: Rates {
                requests: self.requests.per_minute,
                tokens: self.tokens.per_minute,
            },
            wants: Rates {
                requests: self.requests.ask(round),
                tokens: self.tokens.ask(round),
            },
        };
        let wants = ask.wants.requests.is_some() || ask.wants.tokens.is_some();
        wants.then_some(ask)
    }

    pub(super) fn got(&mut self, got: &Rates<Option<Got>>, now: Instant) {
        if let Some(got) = &got.requests {
            self.requests.got(got, now);
        }
        if let Some(got) = &got.tokens {
            self.tokens.got(got, now);
        }
    }

    pub(super) fn cannot_ask(&mut self) {
        self.requests.cannot_ask();
        self.tokens.cannot_ask();
    }

    pub(super) fn waited(&mut self) {
        self.requests.waited();
        self.tokens.waited();
    }

    pub(super) fn runs_low(&self) -> bool {
        self.requests.runs_low() || self.tokens.runs_low()
    }
}

impl Ask {
    /// The answer where the store keeps this text, and what it is to keep then, if anything
    /// else.
    pub(super) fn answer(
        &self,
        text: Option<&str>,
        now: UnixMillis,
    ) -> (Option<String>, Rates<Option<Got>>) {
        let mut kept = Kept::read(text, self.per_minute, now);
        let answer = |want: Option<Want>, level: &mut f64, per_minute| {
            let got = want?.answer(*level, per_minute);
            *level = (*level - got.change).min(f64::from(per_minute));
            Some(got)
        };
        let (wants, most) = (self.wants, self.per_minute);
        let got = Rates {
            requests: answer(wants.requests, &mut kept.levels.requests, most.requests),
            tokens: answer(wants.tokens, &mut kept.levels.tokens, most.tokens),
        };
        let changes = |got: Option<Got>| got.is_some_and(|got| got.change != 0.0);
        let changed = changes(got.requests) || changes(got.tokens);
        (changed.then(|| kept.write()), got)
    }
}

impl Kept {
    /// Full where there is none yet, else with what flowed in since. Clocks may differ by a
    /// little; one that is far ahead must not keep a bucket from filling.
    fn read(text: Option<&str>, per_minute: Rates<u32>, now: UnixMillis) -> Self {
        let full = Self {
            at: now,
            levels: Rates {
                requests: f64::from(per_minute.requests),
                tokens: f64::from(per_minute.tokens),
            },
        };
        let Some(kept) = text.and_then(Self::parse) else {
            return full;
        };
        let passed = now.0.saturating_sub(kept.at.0) as f64 / MINUTE.as_millis() as f64;
        // What is not limited here may be elsewhere, by a newer table.
        let filled = |level: f64, most: f64| {
            if most < f64::from(u32::MAX) {
                (level + passed * most).min(most)
            } else {
                level
            }
        };
        let ahead = kept.at.0.saturating_sub(now.0);
        let far = u128::from(ahead) > MINUTE.as_millis();
        Self {
            at: if far { now } else { kept.at.max(now) },
            levels: Rates {
                requests: filled(kept.levels.requests, full.levels.requests),
                tokens: filled(kept.levels.tokens, full.levels.tokens),
            },
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let at = UnixMillis(words.next()?.parse().ok()?);
        let mut level = || {
            words
                .next()?
                .parse()
                .ok()
                .filter(|level: &f64| level.is_finite())
        };
        let levels = Rates {
            requests: level()?,
            tokens: level()?,
        };
        Some(Self { at, levels })
    }

    fn write(&self) -> String {
        let Rates { requests, tokens } = self.levels;
        format!("{} {requests} {tokens}", self.at.0)
    }
}

#[cfg(test)]
mod tests;
