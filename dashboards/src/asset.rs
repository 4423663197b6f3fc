//! The list of served files: path, bytes, kind.
//!
//! Owns: which file of `page/` and `vendor/` is served where, and what kind it is. A test
//! fails when a file is missing here. Must not know HTTP beyond content types.

use Kind::{Page, Picture, Script, Style, Text};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Page,
    Script,
    Style,
    Picture,
    Text,
}

impl Kind {
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Page => "text/html; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
            Self::Style => "text/css; charset=utf-8",
            Self::Picture => "image/svg+xml",
            Self::Text => "text/plain; charset=utf-8",
        }
    }

    /// The page itself is never kept; its files are, but are asked for anew each time, so
    /// that a new build is never mixed with an old one's modules.
    pub(crate) const fn cache(self) -> &'static str {
        if self.may_be_kept() {
            "no-cache"
        } else {
            "no-store"
        }
    }

    pub(crate) const fn may_be_kept(self) -> bool {
        !matches!(self, Self::Page)
    }
}

#[derive(Debug)]
pub(crate) struct Asset {
    pub(crate) path: &'static str,
    /// Where it lies in this crate; only the tests compare it with the folder.
    #[cfg(test)]
    pub(crate) file: &'static str,
    pub(crate) bytes: &'static [u8],
    pub(crate) kind: Kind,
}

macro_rules! file {
    ($path:literal, $file:literal, $kind:expr) => {
        Asset {
            path: $path,
            #[cfg(test)]
            file: $file,
            bytes: include_bytes!(concat!("../", $file)),
            kind: $kind,
        }
    };
}

pub(crate) static ASSETS: &[Asset] = &[
    file!("/", "page/index.html", Page),
    file!("/js/workbench.js", "page/js/workbench.js", Script),
    file!("/logo.svg", "page/logo.svg", Picture),
    file!("/icon/alert.svg", "page/icon/alert.svg", Picture),
    file!("/icon/back.svg", "page/icon/back.svg", Picture),
    file!("/icon/check.svg", "page/icon/check.svg", Picture),
    file!("/icon/close.svg", "page/icon/close.svg", Picture),
    file!("/icon/decisions.svg", "page/icon/decisions.svg", Picture),
    file!("/icon/empty.svg", "page/icon/empty.svg", Picture),
    file!("/icon/overview.svg", "page/icon/overview.svg", Picture),
    file!("/icon/policy.svg", "page/icon/policy.svg", Picture),
    file!("/icon/sign-out.svg", "page/icon/sign-out.svg", Picture),
    file!("/icon/tables.svg", "page/icon/tables.svg", Picture),
    file!("/icon/training.svg", "page/icon/training.svg", Picture),
    file!("/js/alarms.js", "page/js/alarms.js", Script),
    file!("/js/api.js", "page/js/api.js", Script),
    file!("/js/chart.js", "page/js/chart.js", Script),
    file!("/js/decision.js", "page/js/decision.js", Script),
    file!("/js/decisions.js", "page/js/decisions.js", Script),
    file!("/js/difference.js", "page/js/difference.js", Script),
    file!("/js/dom.js", "page/js/dom.js", Script),
    file!("/js/draft.js", "page/js/draft.js", Script),
    file!("/js/editor.js", "page/js/editor.js", Script),
    file!("/js/format.js", "page/js/format.js", Script),
    file!("/js/grid.js", "page/js/grid.js", Script),
    file!("/js/main.js", "page/js/main.js", Script),
    file!("/js/notice.js", "page/js/notice.js", Script),
    file!("/js/overview.js", "page/js/overview.js", Script),
    file!("/js/parts.js", "page/js/parts.js", Script),
    file!("/js/plot.js", "page/js/plot.js", Script),
    file!("/js/policy.js", "page/js/policy.js", Script),
    file!("/js/poll.js", "page/js/poll.js", Script),
    file!("/js/run-report.js", "page/js/run-report.js", Script),
    file!("/js/session.js", "page/js/session.js", Script),
    file!("/js/standing.js", "page/js/standing.js", Script),
    file!("/js/table.js", "page/js/table.js", Script),
    file!("/js/tables.js", "page/js/tables.js", Script),
    file!("/js/timeline.js", "page/js/timeline.js", Script),
    file!("/js/training.js", "page/js/training.js", Script),
    file!("/js/what-if.js", "page/js/what-if.js", Script),
    file!("/style/base.css", "page/style/base.css", Style),
    file!("/style/editor.css", "page/style/editor.css", Style),
    file!("/style/pages.css", "page/style/pages.css", Style),
    file!("/style/parts.css", "page/style/parts.css", Style),
    file!("/style/shell.css", "page/style/shell.css", Style),
    file!("/vendor/uplot/LICENSE", "vendor/uplot/LICENSE", Text),
    file!("/vendor/uplot/README.md", "vendor/uplot/README.md", Text),
    file!(
        "/vendor/uplot/uPlot.esm.js",
        "vendor/uplot/uPlot.esm.js",
        Script
    ),
    file!(
        "/vendor/uplot/uPlot.min.css",
        "vendor/uplot/uPlot.min.css",
        Style
    ),
];
