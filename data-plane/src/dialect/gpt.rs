//! What OpenAI's models want, by whichever of its dialects they are spoken to.
//!
//! Owns: which of them reason, the efforts that each knows, and which refuse to have their
//! sampling changed. Knows no dialect's body.

use spillway_routing::catalogue::Upstream;
use spillway_routing::dialect::Dialect;

use crate::conversation::{Effort, Setting};

/// From this version on GPT reasons.
const REASONS: (u32, u32) = (5, 0);
/// Versions that do not reason unless they are asked to.
const AT_REST: std::ops::Range<(u32, u32)> = (5, 1)..(5, 6);
/// Models of other names that reason.
const O_SERIES: [&str; 3] = ["o1", "o3", "o4"];
/// What models that reason refuse.
const SAMPLING: [Setting; 4] = [
    Setting::Temperature,
    Setting::TopP,
    Setting::PresencePenalty,
    Setting::FrequencyPenalty,
];

/// Whether it is one of theirs that reasons.
pub(super) fn reasons(upstream: &Upstream) -> bool {
    match upstream.gpt() {
        Some(gpt) => gpt.version >= REASONS,
        None => O_SERIES
            .iter()
            .any(|name| upstream.wire_model.starts_with(name)),
    }
}

/// The efforts that a model knows, from little to much. Hosts that take the field know at
/// least the usual three.
fn efforts(upstream: &Upstream) -> &'static [Effort] {
    use Effort::{High, Low, Max, Medium, Minimal, None, XHigh};
    let Some(gpt) = upstream.gpt() else {
        return &[Low, Medium, High];
    };
    match gpt.version {
        version if version < REASONS => &[],
        (5, 0) if gpt.is("pro") => &[High],
        _ if gpt.is("pro") => &[Medium, High, XHigh],
        (5, 0 | 1) if gpt.is("codex") => &[Low, Medium, High],
        _ if gpt.is("codex") => &[Low, Medium, High, XHigh],
        _ if gpt.is("astra") => &[Low, Medium, High, XHigh, Max],
        (5, 0) => &[Minimal, Low, Medium, High],
        (5, 1) => &[None, Low, Medium, High],
        (5, _) => &[None, Low, Medium, High, XHigh],
        _ => &[None, Low, Medium, High, XHigh, Max],
    }
}

/// The effort to name in a dialect: the most that the model knows of what is wanted, else its
/// least. `None` where it knows no word for it.
pub(super) fn effort(
    wanted: Option<Effort>,
    upstream: &Upstream,
    dialect: Dialect,
) -> Option<Effort> {
    let (wanted, known) = (wanted?, efforts(upstream));
    // Models that do not think refuse to be told not to.
    if wanted == Effort::None {
        return known.contains(&wanted).then_some(wanted);
    }
    // Chat Completions knows no more than that.
    let most = match dialect {
        Dialect::OpenAiChat => wanted.min(Effort::XHigh),
        _ => wanted,
    };
    let known = || known.iter().filter(|known| **known > Effort::None);
    let within = known().rev().find(|known| **known <= most);
    within.or_else(|| known().next()).copied()
}

/// Whether a setting may be said, beside this effort.
pub(super) fn may_set(setting: Setting, upstream: &Upstream, effort: Option<Effort>) -> bool {
    let at_rest = || match effort {
        Some(effort) => effort == Effort::None,
        None => upstream
            .gpt()
            .is_some_and(|gpt| AT_REST.contains(&gpt.version)),
    };
    !SAMPLING.contains(&setting) || !reasons(upstream) || at_rest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::tests::upstream;

    fn model(name: &str) -> Upstream {
        Upstream {
            wire_model: name.to_owned(),
            ..upstream(Dialect::OpenAiChat)
        }
    }

    #[test]
    fn efforts_are_said_in_words_that_the_model_knows() {
        use Effort::{High, Low, Max, Medium, Minimal, None, XHigh};
        for (name, wanted, said) in [
            ("gpt-4o", High, Option::None),
            ("gpt-5-mini", Minimal, Some(Minimal)),
            ("gpt-5", None, Option::None),
            ("gpt-5", Max, Some(High)),
            ("gpt-5.1", Minimal, Some(Low)),
            ("gpt-5.6-sol", None, Some(None)),
            ("gpt-5.6-sol", Max, Some(XHigh)),
            ("gpt-6.1-sol", Max, Some(Max)),
            ("gpt-6-astra", None, Option::None),
            ("gpt-5.1-codex", None, Option::None),
            ("gpt-5.4-pro", Low, Some(Medium)),
            ("gpt-5-pro", Max, Some(High)),
            ("gpt-5-prod", Minimal, Some(Minimal)),
            ("o3", XHigh, Some(High)),
            ("openai/gpt-oss-120b", XHigh, Some(High)),
            ("some-model", Minimal, Some(Low)),
            ("some-model", None, Option::None),
        ] {
            let named = |dialect| effort(Some(wanted), &model(name), dialect);
            assert_eq!(named(Dialect::OpenAiResponses), said, "{name} {wanted:?}");
            let in_chat = said.map(|said| said.min(XHigh));
            assert_eq!(named(Dialect::OpenAiChat), in_chat, "{name} {wanted:?}");
        }
    }

    #[test]
    fn sampling_is_left_to_models_that_reason() {
        for (name, effort, may) in [
            ("gpt-4o", None, true),
            ("gpt-5", None, false),
            ("gpt-5.4", None, true),
            ("gpt-5.4", Some(Effort::Low), false),
            ("gpt-6-luna", None, false),
            ("gpt-6-luna", Some(Effort::None), true),
            ("o3", None, false),
            ("some-model", Some(Effort::High), true),
        ] {
            let set = |setting| may_set(setting, &model(name), effort);
            assert_eq!(set(Setting::Temperature), may, "{name} {effort:?}");
            assert!(set(Setting::User));
        }
    }
}
