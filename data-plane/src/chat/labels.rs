//! What a caller may say about a request in headers.
//!
//! Owns: the `x-spillway-*` request headers and their bounds. They steer routing only
//! and are never forwarded.

use http::HeaderMap;
use spillway_routing::prompt::Class;
use spillway_routing::start::Start;
use spillway_routing::unit::Millis;

use crate::failure::{Failure, Kind};

/// Tags of one request, and bytes of a name, value or slice: they travel in every
/// outcome.
const TAGS_MAX: usize = 16;
const LABEL_BYTES_MAX: usize = 128;
const TAG_PREFIX: &str = "x-spillway-tag-";

/// The caller's labels of one request.
#[derive(Debug, Default)]
pub(crate) struct CallerLabels {
    pub(crate) slice: Option<String>,
    pub(crate) class: Class,
    /// In hundredths of a percent.
    pub(crate) min_quality: Option<u16>,
    pub(crate) start: Option<Start>,
    pub(crate) tags: Vec<(String, String)>,
}

impl CallerLabels {
    /// Reads the headers; the virtual key's own tags win over the caller's.
    pub(crate) fn read(
        headers: &HeaderMap,
        key_tags: &[(String, String)],
    ) -> Result<Self, Failure> {
        let mut labels = Self {
            tags: key_tags.to_vec(),
            ..Self::default()
        };
        for (name, value) in headers {
            let Some(tag) = name.as_str().strip_prefix(TAG_PREFIX) else {
                continue;
            };
            if labels.tags.iter().any(|(known, _)| known == tag) {
                continue;
            }
            let value = label(name.as_str(), value.as_bytes())?;
            if tag.is_empty() || tag.len() > LABEL_BYTES_MAX || labels.tags.len() >= TAGS_MAX {
                return Err(bad(format!(
                    "at most {TAGS_MAX} {TAG_PREFIX}* headers are taken"
                )));
            }
            labels.tags.push((tag.to_owned(), value));
        }
        let read = |name: &str| {
            headers
                .get(name)
                .map(|value| label(name, value.as_bytes()))
                .transpose()
        };
        labels.slice = read("x-spillway-slice")?.filter(|slice| !slice.is_empty());
        if let Some(class) = read("x-spillway-class")? {
            labels.class = parse_class(&class)?;
        }
        labels.min_quality = read("x-spillway-min-quality")?
            .map(|q| min_quality(&q))
            .transpose()?;
        if let Some(within) = read("x-spillway-start-within")? {
            labels.start = Some(start_within(&within)?);
        }
        Ok(labels)
    }
}

fn bad(message: String) -> Failure {
    Failure::client(Kind::BadRequest, message)
}

fn label(name: &str, value: &[u8]) -> Result<String, Failure> {
    match std::str::from_utf8(value) {
        Ok(text) if text.len() <= LABEL_BYTES_MAX => Ok(text.trim().to_owned()),
        _ => Err(bad(format!(
            "{name} must be UTF-8 of at most {LABEL_BYTES_MAX} bytes"
        ))),
    }
}

fn parse_class(text: &str) -> Result<Class, Failure> {
    match text {
        "interactive" => Ok(Class::Interactive),
        "batch" => Ok(Class::Batch),
        "background" => Ok(Class::Background),
        _ => Err(bad(
            "x-spillway-class must be interactive, batch or background".to_owned(),
        )),
    }
}

/// A share such as `0.9`, read without rounding surprises.
fn min_quality(text: &str) -> Result<u16, Failure> {
    let share = text
        .parse::<f64>()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share));
    share
        .map(|share| (share * 10_000.0).round() as u16)
        .ok_or_else(|| {
            bad("x-spillway-min-quality must be a share between 0 and 1, such as 0.9".to_owned())
        })
}

/// Shorter waits save nothing, longer ones outlast every connection.
const WAIT_SECONDS: std::ops::RangeInclusive<u64> = 5..=24 * 3_600;

/// `priority`, `default`, `auto`, `30s`, `5m`, `2h` or `HHh-MMm-SSs`.
pub(crate) fn start_within(text: &str) -> Result<Start, Failure> {
    match text {
        "auto" => return Ok(Start::Unsaid),
        "default" => return Ok(Start::Default),
        "priority" => return Ok(Start::Priority),
        _ => {}
    }
    let mut seconds = 0u64;
    let mut smallest = u64::MAX;
    for part in text.split('-') {
        let unit = match part.as_bytes().last() {
            Some(b'h') => 3_600,
            Some(b'm') => 60,
            Some(b's') => 1,
            _ => return Err(bad_start()),
        };
        let digits = &part[..part.len() - 1];
        let plain =
            !digits.is_empty() && digits.len() <= 6 && digits.bytes().all(|b| b.is_ascii_digit());
        if !plain || unit >= smallest {
            return Err(bad_start());
        }
        smallest = unit;
        seconds += digits.parse::<u64>().unwrap_or(0) * unit;
    }
    if !WAIT_SECONDS.contains(&seconds) {
        return Err(bad_start());
    }
    Ok(Start::Within(Millis(seconds * 1_000)))
}

fn bad_start() -> Failure {
    let message = "start_within must be priority, default, auto, a time between 5s and 24h such as \
                   30s, 5m or 2h, or HHh-MMm-SSs";
    Failure::client(Kind::InvalidStartWithin, message).about("start_within")
}

/// What a caller's own `service_tier` asks for, in the words of whichever dialect.
pub(crate) fn service_tier(name: &str) -> Result<Start, Failure> {
    match name.to_ascii_lowercase().as_str() {
        "auto" => Ok(Start::Unsaid),
        "default" | "standard" | "standard_only" | "on_demand" => Ok(Start::Default),
        "flex" => Ok(Start::Flex),
        "priority" | "fast" => Ok(Start::Priority),
        _ => {
            let message =
                "this service_tier is not known here; auto, default, flex and priority are";
            Err(Failure::client(Kind::BadRequest, message).about("service_tier"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_within_reads_its_forms() {
        let read = |text: &str| start_within(text).ok();
        let within = |seconds: u64| Some(Start::Within(Millis(seconds * 1_000)));
        assert_eq!(read("30s"), within(30));
        assert_eq!(read("2h"), within(7_200));
        assert_eq!(read("00h-00m-05s"), within(5));
        assert_eq!(read("01h-02m-03s"), within(3_723));
        assert_eq!(read("auto"), Some(Start::Unsaid));
        assert_eq!(read("priority"), Some(Start::Priority));
        for text in [
            "",
            "-",
            "5",
            "5x",
            "1s-1h",
            "1s-1s",
            "é",
            "-1s",
            "99999999h",
            "4s",
            "25h",
            "standard",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn labels_are_bounded_and_the_keys_tags_win() {
        let mut headers = HeaderMap::new();
        headers.insert("x-spillway-tag-team", "mine".parse().unwrap());
        headers.insert("x-spillway-tag-app", "chat".parse().unwrap());
        headers.insert("x-spillway-class", "batch".parse().unwrap());
        headers.insert("x-spillway-min-quality", "0.85".parse().unwrap());
        let labels = CallerLabels::read(&headers, &[("team".into(), "real".into())]).unwrap();
        assert!(labels.tags.contains(&("team".into(), "real".into())));
        assert!(labels.tags.contains(&("app".into(), "chat".into())));
        assert_eq!(
            (labels.class, labels.min_quality),
            (Class::Batch, Some(8_500))
        );
        headers.insert("x-spillway-slice", "x".repeat(200).parse().unwrap());
        assert!(CallerLabels::read(&headers, &[]).is_err());
    }
}
