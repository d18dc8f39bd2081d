//! How values are written: sizes, times, counts, addresses. What is wrong is told where it stands.

use crate::passthrough::device::is_bdf;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// A whole number of units: plain, or text with the unit behind it.
struct Quantity {
    units: &'static [(&'static str, u64)],
    range: RangeInclusive<u64>,
    expected: &'static str,
}

/// Binary, as everywhere in Xen's tools; up to what fits into a file offset.
const SIZE: Quantity = Quantity {
    units: &[
        ("K", 1 << 10),
        ("M", 1 << 20),
        ("G", 1 << 30),
        ("T", 1 << 40),
        ("", 1),
    ],
    range: 0..=i64::MAX as u64,
    expected: "a size in bytes, or text such as \"512M\" (K, M, G, T)",
};

/// In milliseconds. At most a day: nobody waits longer, and sums stay far from overflow.
const DURATION: Quantity = Quantity {
    units: &[("ms", 1), ("s", 1000), ("min", 60_000)],
    range: 1..=86_400_000,
    expected: "a time such as \"500ms\", \"30s\" or \"2min\", up to a day",
};

/// A limit to stop a program that writes faster than the stream takes.
const ROUNDS: Quantity = Quantity {
    units: &[("", 1)],
    range: 0..=1000,
    expected: "a number of rounds from 0 to 1000",
};

/// Up to what Xen's default maptrack table has entries for.
const PAGES: Quantity = Quantity {
    units: &[("", 1)],
    range: 5..=1 << 18,
    expected: "a number of pages from 5 to 262144",
};

const THREADS: Quantity = Quantity {
    units: &[("", 1)],
    range: 1..=64,
    expected: "a number of threads from 1 to 64",
};

const PASSES: Quantity = Quantity {
    units: &[("", 1)],
    range: 1..=100,
    expected: "a number of passes from 1 to 100",
};

impl Quantity {
    fn number<E: de::Error>(&self, number: Option<u64>, unit: &str) -> Result<u64, E> {
        let factor = self
            .units
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, factor)| *factor);
        number
            .zip(factor)
            .and_then(|(number, factor)| number.checked_mul(factor))
            .filter(|value| self.range.contains(value))
            .ok_or_else(|| E::custom(format_args!("expected {}", self.expected)))
    }
}

impl Visitor<'_> for &Quantity {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<u64, E> {
        self.number(value.try_into().ok(), "")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        self.number(number.parse().ok(), unit)
    }
}

pub fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(&SIZE)
}

pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer
        .deserialize_any(&DURATION)
        .map(Duration::from_millis)
}

pub fn rounds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    deserializer
        .deserialize_any(&ROUNDS)
        .map(|rounds| rounds as u32)
}

pub fn pages<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    deserializer
        .deserialize_any(&PAGES)
        .map(|pages| pages as u32)
}

pub fn threads<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    deserializer
        .deserialize_any(&THREADS)
        .map(|threads| threads as u32)
}

pub fn passes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    deserializer
        .deserialize_any(&PASSES)
        .map(|passes| passes as u32)
}

pub fn folder<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    match path.is_absolute() {
        true => Ok(path),
        false => Err(de::Error::custom("expected an absolute path")),
    }
}

/// A device's address, checked where it stands, so that the error names its line.
struct Address(String);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match is_bdf(&text) {
            true => Ok(Address(text)),
            false => Err(de::Error::custom(format_args!(
                "`{text}`: expected a PCI address such as \"0000:3b:00.0\""
            ))),
        }
    }
}

pub fn devices<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Vec<String>>, D::Error> {
    let map = BTreeMap::<String, Vec<Address>>::deserialize(deserializer)?;
    let plain = |list: Vec<Address>| list.into_iter().map(|a| a.0).collect();
    Ok(map
        .into_iter()
        .map(|(name, list)| (name, plain(list)))
        .collect())
}

pub fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let words = Vec::<String>::deserialize(deserializer)?;
    match words.first() {
        Some(program) if !program.starts_with('/') => Err(de::Error::custom(
            "expected a list of words, the first an absolute path of a program",
        )),
        _ => Ok(words),
    }
}

/// Where to listen: a port of the loopback interface, or an address with a port.
struct ListenAt;

const LISTEN_AT: &str =
    "an address such as \"127.0.0.1:9417\", a port of it from 1 to 65535, or \"\" for none";

impl Visitor<'_> for ListenAt {
    type Value = Option<SocketAddr>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(LISTEN_AT)
    }

    fn visit_i64<E: de::Error>(self, port: i64) -> Result<Self::Value, E> {
        match u16::try_from(port) {
            Ok(port @ 1..) => Ok(Some((Ipv4Addr::LOCALHOST, port).into())),
            _ => Err(E::custom(format_args!("expected {LISTEN_AT}"))),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        match text.parse() {
            Ok(address) => Ok(Some(address)),
            Err(_) if text.is_empty() => Ok(None),
            Err(_) => Err(E::custom(format_args!("expected {LISTEN_AT}"))),
        }
    }
}

pub fn listen_at<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    deserializer.deserialize_any(ListenAt)
}
