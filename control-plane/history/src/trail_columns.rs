//! The trail of a decision as a struct of columns: what was considered, and why not.
//!
//! Owns: names and types of a trail line's columns, both ways. `verdict` is the line's
//! fate, `reason` its kind, and `rule`, `detail`, `value`, `limit` hold what the kind
//! carries.

use datafusion::arrow::array::{
    Int64Array, StringArray, StructArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use datafusion::arrow::datatypes::{Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use spillway_routing::catalogue::Tier;
use spillway_routing::decide::{Considered, Need, Removal, Verdict, Why};
use spillway_routing::head::Abstention;
use spillway_routing::id::{LaneId, ModelId, RuleId};
use spillway_routing::overflow::Cause;
use spillway_routing::unit::{Bps, Millis, NanoUsd, Tokens};

use crate::columns::{Columns, Rows, number_at, text_at};
use crate::error::HistoryError;

/// A verdict taken apart.
#[derive(Clone, Copy, Debug, Default)]
struct Parts<'a> {
    verdict: &'a str,
    place: Option<u8>,
    reason: Option<&'a str>,
    rule: Option<&'a str>,
    detail: Option<&'a str>,
    value: Option<u64>,
    limit: Option<u64>,
}

pub(crate) fn encode(trail: &[&Considered]) -> Result<StructArray, HistoryError> {
    let rows = || trail.iter();
    let parts: Vec<_> = rows().map(|c| Parts::of(&c.verdict)).collect();
    let parts = || parts.iter();
    let mut columns = Columns::default();
    columns.text("lane", rows().map(|c| c.lane.as_str()));
    columns.text("model", rows().map(|c| c.model.as_str()));
    columns.number_opt::<UInt16Type>("quality_bps", rows().map(|c| c.quality.map(Bps::get)));
    columns.number_opt::<UInt16Type>(
        "quality_low_bps",
        rows().map(|c| c.quality_low.map(Bps::get)),
    );
    columns.number_opt::<UInt64Type>("cost_nano_usd", rows().map(|c| c.cost.map(|cost| cost.0)));
    columns.number::<UInt32Type>("output_tokens", rows().map(|c| c.output.0));
    columns.number::<UInt64Type>("first_token_ms", rows().map(|c| c.first_token.0));
    columns.number::<UInt64Type>("total_ms", rows().map(|c| c.total.0));
    columns.number::<Int64Type>("utility", rows().map(|c| c.utility));
    columns.text("verdict", parts().map(|p| p.verdict));
    columns.number_opt::<UInt8Type>("place", parts().map(|p| p.place));
    columns.text_opt("reason", parts().map(|p| p.reason));
    columns.text_opt("rule", parts().map(|p| p.rule));
    columns.text_opt("detail", parts().map(|p| p.detail));
    columns.number_opt::<UInt64Type>("value", parts().map(|p| p.value));
    columns.number_opt::<UInt64Type>("limit", parts().map(|p| p.limit));
    columns.into_struct()
}

/// The columns of trail lines, to read rows from.
#[derive(Debug)]
pub(crate) struct TrailRows<'a> {
    lane: &'a StringArray,
    model: &'a StringArray,
    quality: &'a UInt16Array,
    quality_low: &'a UInt16Array,
    cost: &'a UInt64Array,
    output: &'a UInt32Array,
    first_token: &'a UInt64Array,
    total: &'a UInt64Array,
    utility: &'a Int64Array,
    verdict: &'a StringArray,
    place: &'a UInt8Array,
    reason: &'a StringArray,
    rule: &'a StringArray,
    detail: &'a StringArray,
    value: &'a UInt64Array,
    limit: &'a UInt64Array,
}

impl<'a> TrailRows<'a> {
    pub(crate) fn of(rows: Rows<'a>) -> Result<Self, HistoryError> {
        Ok(Self {
            lane: rows.text("lane")?,
            model: rows.text("model")?,
            quality: rows.number("quality_bps")?,
            quality_low: rows.number("quality_low_bps")?,
            cost: rows.number("cost_nano_usd")?,
            output: rows.number("output_tokens")?,
            first_token: rows.number("first_token_ms")?,
            total: rows.number("total_ms")?,
            utility: rows.number("utility")?,
            verdict: rows.text("verdict")?,
            place: rows.number("place")?,
            reason: rows.text("reason")?,
            rule: rows.text("rule")?,
            detail: rows.text("detail")?,
            value: rows.number("value")?,
            limit: rows.number("limit")?,
        })
    }

    pub(crate) fn row(&self, i: usize) -> Result<Considered, HistoryError> {
        let parts = Parts {
            verdict: self.verdict.value(i),
            place: number_at(self.place, i),
            reason: text_at(self.reason, i),
            rule: text_at(self.rule, i),
            detail: text_at(self.detail, i),
            value: number_at(self.value, i),
            limit: number_at(self.limit, i),
        };
        Ok(Considered {
            lane: LaneId::new(self.lane.value(i)),
            model: ModelId::new(self.model.value(i)),
            quality: number_at(self.quality, i).map(Bps::new),
            quality_low: number_at(self.quality_low, i).map(Bps::new),
            cost: number_at(self.cost, i).map(NanoUsd),
            output: Tokens(self.output.value(i)),
            first_token: Millis(self.first_token.value(i)),
            total: Millis(self.total.value(i)),
            utility: self.utility.value(i),
            verdict: parts.verdict().ok_or(HistoryError::malformed("trail"))?,
        })
    }
}

impl<'a> Parts<'a> {
    fn of(verdict: &'a Verdict) -> Self {
        match verdict {
            Verdict::Chosen(why) => Self {
                verdict: "chosen",
                ..Self::of_why(why)
            },
            Verdict::Fallback(place) => Self {
                verdict: "fallback",
                place: Some(*place),
                ..Self::default()
            },
            Verdict::Removed(removal) => Self {
                verdict: "removed",
                ..Self::of_removal(removal)
            },
        }
    }

    fn kind(reason: &'a str) -> Self {
        Self {
            reason: Some(reason),
            ..Self::default()
        }
    }

    fn with_rule(mut self, rule: &'a RuleId) -> Self {
        self.rule = Some(rule.as_str());
        self
    }

    fn with_detail(mut self, detail: &'a str) -> Self {
        self.detail = Some(detail);
        self
    }

    fn with_bound(mut self, value: u64, limit: u64) -> Self {
        (self.value, self.limit) = (Some(value), Some(limit));
        self
    }

    fn of_why(why: &'a Why) -> Self {
        match why {
            Why::BestValue => Self::kind("best_value"),
            Why::CheapestAboveFloor => Self::kind("cheapest_above_floor"),
            Why::Guarded => Self::kind("guarded"),
            Why::Default(abstention) => Self::kind("default").with_detail(abstention.name()),
            Why::Pinned(rule) => Self::kind("pinned").with_rule(rule),
            Why::Cached => Self::kind("cached"),
            Why::Explored => Self::kind("explored"),
            Why::OnlyOne => Self::kind("only_one"),
            Why::MayWait => Self::kind("may_wait"),
            Why::Overflowed(cause) => Parts {
                detail: Some(cause.name()),
                ..Self::kind("overflowed")
            },
        }
    }

    fn of_removal(removal: &'a Removal) -> Self {
        let bound = |kind, value, limit| Self::kind(kind).with_bound(value, limit);
        match removal {
            Removal::Rule(rule) => Self::kind("rule").with_rule(rule),
            Removal::Lacks(need) => Self::kind("lacks").with_detail(need.name()),
            Removal::ContextTooSmall { needs, has } => {
                bound("context_too_small", needs.0.into(), has.0.into())
            }
            Removal::OutputTooShort { needs, has } => {
                bound("output_too_short", needs.0.into(), has.0.into())
            }
            Removal::OtherTier(tier) => Self::kind("other_tier").with_detail(tier.name()),
            Removal::HardlyInTime(chance) => bound("hardly_in_time", chance.get().into(), 0),
            Removal::NotWorthWaiting => Self::kind("not_worth_waiting"),
            Removal::NoPrice => Self::kind("no_price"),
            Removal::NoQuality => Self::kind("no_quality"),
            Removal::Shut => Self::kind("shut"),
            Removal::Full => Self::kind("full"),
            Removal::TooDear { cost, max } => bound("too_dear", cost.0, max.0),
            Removal::TooSlow { first_token, max } => bound("too_slow", first_token.0, max.0),
            Removal::BelowMinimum { quality, min } => {
                bound("below_minimum", quality.get().into(), min.get().into())
            }
            Removal::PlanFull => Self::kind("plan_full"),
            Removal::KeptForOverflow => Self::kind("kept_for_overflow"),
            Removal::OverflowSpent { spent, max } => bound("overflow_spent", spent.0, max.0),
        }
    }

    fn verdict(&self) -> Option<Verdict> {
        match self.verdict {
            "chosen" => self.why().map(Verdict::Chosen),
            "fallback" => self.place.map(Verdict::Fallback),
            "removed" => self.removal().map(Verdict::Removed),
            _ => None,
        }
    }

    fn why(&self) -> Option<Why> {
        Some(match self.reason? {
            "best_value" => Why::BestValue,
            "cheapest_above_floor" => Why::CheapestAboveFloor,
            "guarded" => Why::Guarded,
            "default" => Why::Default(Abstention::parse(self.detail?)?),
            "pinned" => Why::Pinned(RuleId::new(self.rule?)),
            "cached" => Why::Cached,
            "explored" => Why::Explored,
            "only_one" => Why::OnlyOne,
            "may_wait" => Why::MayWait,
            "overflowed" => Why::Overflowed(Cause::parse(self.detail?)?),
            _ => return None,
        })
    }

    fn removal(&self) -> Option<Removal> {
        let need = |name| Need::ALL.into_iter().find(|need| need.name() == name);
        let tokens = |n: Option<u64>| Some(Tokens(u32::try_from(n?).ok()?));
        let bps = |n: Option<u64>| Some(Bps::new(u16::try_from(n?).ok()?));
        Some(match self.reason? {
            "rule" => Removal::Rule(RuleId::new(self.rule?)),
            "lacks" => Removal::Lacks(need(self.detail?)?),
            "context_too_small" => Removal::ContextTooSmall {
                needs: tokens(self.value)?,
                has: tokens(self.limit)?,
            },
            "output_too_short" => Removal::OutputTooShort {
                needs: tokens(self.value)?,
                has: tokens(self.limit)?,
            },
            "other_tier" => Removal::OtherTier(Tier::parse(self.detail?)?),
            "hardly_in_time" => Removal::HardlyInTime(bps(self.value)?),
            "not_worth_waiting" => Removal::NotWorthWaiting,
            "no_price" => Removal::NoPrice,
            "no_quality" => Removal::NoQuality,
            "shut" => Removal::Shut,
            "full" => Removal::Full,
            "too_dear" => Removal::TooDear {
                cost: NanoUsd(self.value?),
                max: NanoUsd(self.limit?),
            },
            "too_slow" => Removal::TooSlow {
                first_token: Millis(self.value?),
                max: Millis(self.limit?),
            },
            "below_minimum" => Removal::BelowMinimum {
                quality: bps(self.value)?,
                min: bps(self.limit)?,
            },
            "plan_full" => Removal::PlanFull,
            "kept_for_overflow" => Removal::KeptForOverflow,
            "overflow_spent" => Removal::OverflowSpent {
                spent: NanoUsd(self.value?),
                max: NanoUsd(self.limit?),
            },
            _ => return None,
        })
    }
}
