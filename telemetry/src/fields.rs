//! The open part of an event.

use crate::Scalar;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Fields beyond the ones an event names, in the order given: a stage's own metrics when written, and when
/// read also whatever a newer trainer wrote.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a metric or any other value.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<FieldValue>) {
        self.0.insert(name.into(), value.into().0);
    }

    /// The fields with one more.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<FieldValue>) -> Self {
        self.set(name, value);
        self
    }

    /// The value as it stands in the log.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The number of that name; `None` where it is missing or no number. NaN is a number here.
    pub fn scalar(&self, name: &str) -> Option<f64> {
        self.0
            .get(name)
            .and_then(Scalar::from_value)
            .map(|scalar| scalar.0)
    }

    /// All that are numbers, in order.
    pub fn scalars(&self) -> impl Iterator<Item = (&str, f64)> {
        self.iter()
            .filter_map(|(name, value)| Some((name, Scalar::from_value(value)?.0)))
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Writes every number that is no whole one in as few digits as [`Scalar::shortened`].
    pub fn shorten(&mut self) {
        for value in self.0.values_mut().filter(|value| value.is_f64()) {
            if let Some(scalar) = Scalar::from_value(value) {
                *value = scalar.shortened().into();
            }
        }
    }

    /// Takes a field out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Map<String, Value>> for Fields {
    fn from(map: Map<String, Value>) -> Self {
        Self(map)
    }
}

impl<K: Into<String>, V: Into<FieldValue>> FromIterator<(K, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(fields: I) -> Self {
        Self(
            fields
                .into_iter()
                .map(|(name, value)| (name.into(), value.into().0))
                .collect(),
        )
    }
}

impl<K: Into<String>, V: Into<FieldValue>> Extend<(K, V)> for Fields {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, fields: I) {
        fields
            .into_iter()
            .for_each(|(name, value)| self.set(name, value));
    }
}

/// Anything that can stand in a field. Floats go through [`Scalar`], so that NaN is never lost.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldValue(Value);

macro_rules! field_value_from {
    ($($from:ty => $through:ty),*) => {$(
        impl From<$from> for FieldValue {
            fn from(value: $from) -> Self {
                Self(Value::from(<$through>::from(value)))
            }
        }
    )*};
}

field_value_from!(f64 => Scalar, Scalar => Scalar, u64 => u64, u32 => u32, usize => usize, bool => bool, &str => String, String => String, Value => Value);

impl From<Option<f64>> for FieldValue {
    /// `None` is `null`: known to be missing, which is neither zero nor NaN.
    fn from(value: Option<f64>) -> Self {
        Self(value.map_or(Value::Null, |value| Scalar(value).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_zero_and_nan_are_three_things() {
        let fields = Fields::new()
            .with("zero", 0.0)
            .with("nan", f64::NAN)
            .with("none", None);
        assert_eq!(
            serde_json::to_string(&fields).unwrap(),
            r#"{"zero":0.0,"nan":"nan","none":null}"#
        );
        assert_eq!(fields.scalar("zero"), Some(0.0));
        assert!(fields.scalar("nan").unwrap().is_nan());
        assert_eq!(
            (fields.scalar("none"), fields.scalar("absent")),
            (None, None)
        );
        assert!(fields.get("none").is_some() && fields.get("absent").is_none());
    }

    #[test]
    fn only_floats_are_shortened() {
        let mut fields = Fields::new()
            .with("entropy", 3.944_682_678_580_284)
            .with("tokens", 123_456_789_012u64)
            .with("nan", f64::NAN);
        fields.shorten();
        assert_eq!(
            serde_json::to_string(&fields).unwrap(),
            r#"{"entropy":3.9446826,"tokens":123456789012,"nan":"nan"}"#
        );
    }

    #[test]
    fn order_is_kept_and_only_numbers_are_scalars() {
        let fields: Fields =
            serde_json::from_str(r#"{"z":1,"a":"inf","text":"x","m":2.5}"#).unwrap();
        assert_eq!(
            fields.scalars().collect::<Vec<_>>(),
            [("z", 1.0), ("a", f64::INFINITY), ("m", 2.5)]
        );
    }
}
