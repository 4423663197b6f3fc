//! Hours with other prices, as people type them.
//!
//! Owns: the spelling of a part of the week, in a policy and in the catalogue. Which part
//! counts when is the table's to know.

use serde::Deserialize;
use spillway_routing::catalogue::ClockRule;

const DAY_MINUTES: u16 = 24 * 60;
const PERMILLE: f64 = 1_000.0;
/// Ten times dearer is a slip of the pen.
const TIMES_MAX: f64 = 10.0;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// See [`Hours`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    /// All unless said.
    #[serde(default)]
    days: Vec<Day>,
    /// UTC, as `HH:MM`; a range that ends before it starts wraps around midnight.
    from: String,
    to: String,
    times: f64,
}

/// A part of the week, and what all rates are multiplied by within it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "Typed")]
pub struct Hours(pub ClockRule);

impl TryFrom<Typed> for Hours {
    type Error = String;

    fn try_from(typed: Typed) -> Result<Self, String> {
        let minute = |text: &str| {
            let no_time = || format!("{text:?} is no time: write HH:MM, up to 24:00 (UTC)");
            minute(text).ok_or_else(no_time)
        };
        let (from, to) = (minute(&typed.from)?, minute(&typed.to)?);
        if from == to {
            return Err("from and to are the same: a whole day is 00:00 to 24:00".to_owned());
        }
        if !(0.0..=TIMES_MAX).contains(&typed.times) {
            return Err(format!("times must be 0 to {TIMES_MAX}"));
        }
        let days = typed
            .days
            .iter()
            .fold(0, |days, day| days | 1 << *day as u8);
        Ok(Self(ClockRule {
            weekdays: if days == 0 { 0x7f } else { days },
            from_minute: from,
            to_minute: to,
            permille: (typed.times * PERMILLE).round() as u32,
        }))
    }
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |part: &str| {
        (part.len() == 2)
            .then(|| part.parse::<u16>().ok())
            .flatten()
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let of_day = hour.checked_mul(60)?.checked_add(minute)?;
    (minute < 60 && of_day <= DAY_MINUTES).then_some(of_day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ClockRule, String> {
        let hours = toml::from_str::<Hours>(text);
        hours.map(|hours| hours.0).map_err(|e| e.to_string())
    }

    #[test]
    fn a_part_of_the_week_is_read() {
        let night =
            read("days = [\"fri\", \"sat\"]\nfrom = \"22:30\"\nto = \"06:00\"\ntimes = 0.5");
        assert_eq!(
            night.unwrap(),
            ClockRule {
                weekdays: 0b011_0000,
                from_minute: 1_350,
                to_minute: 360,
                permille: 500,
            }
        );
        let always = read("from = \"00:00\"\nto = \"24:00\"\ntimes = 1.25").unwrap();
        assert_eq!((always.weekdays, always.to_minute), (0x7f, 1_440));
        assert_eq!(always.permille, 1_250);
    }

    #[test]
    fn what_is_no_time_says_what_would_be_one() {
        for (from, to) in [
            ("24:01", "1:00"),
            ("6:00", "07:00"),
            ("00:60", "02:00"),
            ("x", "y"),
        ] {
            let text = format!("from = {from:?}\nto = {to:?}\ntimes = 1.0");
            assert!(read(&text).unwrap_err().contains("HH:MM"), "{from} {to}");
        }
        assert!(read("from = \"01:00\"\nto = \"01:00\"\ntimes = 1.0").is_err());
        assert!(read("from = \"01:00\"\nto = \"02:00\"\ntimes = -1.0").is_err());
    }
}
