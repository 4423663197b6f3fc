//! Callers' keys as they are typed.
//!
//! Owns: faults of `[keys.NAME]`.

use spillway_proto::keys;
use spillway_routing::catalogue::Model;
use spillway_routing::id::RouteId;
use spillway_routing::key::{KeyLimits, KeyTerms};
use spillway_routing::unit::NanoUsd;

use super::Compiler;
use crate::policy::document::KeyEntry;

impl Compiler<'_> {
    pub(super) fn key(&mut self, name: &str, entry: &KeyEntry) {
        let sha256 = entry.sha256.as_deref().map(|hex| (hex, keys::unhex(hex)));
        if let Some((hex, None)) = sha256 {
            let message =
                format!("{hex:?} is no SHA-256 in 64 hexadecimal digits; `spillway key` makes one");
            self.fault(&["keys", name, "sha256"], message);
        }
        if entry
            .usd_per_day
            .is_some_and(|usd| !(usd.is_finite() && usd >= 0.0))
        {
            let message = "must be dollars from 0 on, e.g. 5.0".to_owned();
            self.fault(&["keys", name, "usd_per_day"], message);
        }
        let routes = entry.routes.as_ref();
        for route in routes.into_iter().flatten() {
            let served = |model: &&Model| model.id.as_str() == route;
            let known = self.draft.routes.iter().any(|r| r.id.as_str() == route);
            if !known && !self.draft.models.iter().any(|model| served(&model)) {
                let message = format!("no route or model is called {route:?}");
                self.fault(&["keys", name, "routes"], message);
            }
        }
        self.draft.keys.push(KeyTerms {
            id: name.into(),
            sha256: sha256.and_then(|(_, hash)| hash),
            routes: routes.map(|names| names.iter().map(|name| RouteId::new(name)).collect()),
            tags: entry.tags.clone().into_iter().collect(),
            limits: KeyLimits {
                requests_per_minute: entry.requests_per_minute,
                tokens_per_minute: entry.tokens_per_minute,
                per_day: entry.usd_per_day.map(NanoUsd::from_usd),
            },
        });
    }
}
