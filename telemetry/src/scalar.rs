//! A number that survives JSON.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

/// An `f64` that is written as a number where it is finite and as `"nan"`, `"inf"`, `"-inf"` where it is not.
///
/// JSON has no NaN and serde would write `null`, which is how a *missing* value looks. Equal here means
/// the same value, NaN being equal to NaN, so that events can be compared.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scalar(pub f64);

impl Scalar {
    /// The number in as few digits as tell the nearest `f32` from its neighbours, 9 at most: what was measured
    /// or computed in `f32` has no more to say. A number that no normal `f32` is near stays as it is.
    #[must_use]
    pub fn shortened(self) -> Self {
        let nearest = self.0 as f32;
        if !nearest.is_normal() {
            return self;
        }
        let digits = format!("{nearest:e}").parse();
        Self(digits.expect("a float is written as it is read"))
    }

    /// Reads a JSON value; `None` where it is no number, `null` included.
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => number.as_f64().map(Self),
            Value::String(name) => Self::from_name(name),
            _ => None,
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        match name {
            "nan" => Some(Self(f64::NAN)),
            "inf" => Some(Self(f64::INFINITY)),
            "-inf" => Some(Self(f64::NEG_INFINITY)),
            _ => None,
        }
    }

    fn name(self) -> Option<&'static str> {
        match self.0 {
            x if x.is_nan() => Some("nan"),
            f64::INFINITY => Some("inf"),
            f64::NEG_INFINITY => Some("-inf"),
            _ => None,
        }
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.0.is_nan() && other.0.is_nan()
    }
}

impl From<f64> for Scalar {
    fn from(value: f64) -> Self {
        Self(value)
    }
}

impl From<Scalar> for Value {
    fn from(scalar: Scalar) -> Self {
        scalar.name().map_or_else(|| scalar.0.into(), Self::from)
    }
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.name() {
            Some(name) => serializer.serialize_str(name),
            None => serializer.serialize_f64(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Scalar;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, \"nan\", \"inf\" or \"-inf\"")
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar(value))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(value as f64))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar(value as f64))
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Scalar, E> {
                Scalar::from_name(name)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(name), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_float_survives_json_to_the_bit() {
        let mut bits = 0x9e37_79b9_7f4a_7c15u64;
        let random = std::iter::repeat_with(|| {
            bits = bits
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            f64::from_bits(bits)
        });
        let corners = [
            0.0,
            -0.0,
            0.1,
            f64::MIN_POSITIVE,
            5e-324,
            f64::MAX,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ];
        for value in corners
            .into_iter()
            .chain(random.filter(|x| !x.is_nan()).take(10_000))
        {
            let text = serde_json::to_string(&Scalar(value)).unwrap();
            assert_eq!(
                serde_json::from_str::<Scalar>(&text).unwrap().0.to_bits(),
                value.to_bits(),
                "{text}"
            );
            let through_value = serde_json::from_str(&text).unwrap();
            assert_eq!(
                Scalar::from_value(&through_value).unwrap().0.to_bits(),
                value.to_bits(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_shortened_number_has_nine_digits_and_is_the_same_f32() {
        let mut bits = 0x1234_5678u32;
        for _ in 0..10_000 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = f32::from_bits(bits);
            let short = Scalar(f64::from(value)).shortened();
            let text = serde_json::to_string(&short).unwrap();
            let digits = text.split('e').next().unwrap();
            let digits = digits
                .trim_start_matches(['-', '0', '.'])
                .trim_end_matches(".0");
            let digits = digits.trim_end_matches('0');
            if value.is_normal() {
                let read: Scalar = serde_json::from_str(&text).unwrap();
                assert_eq!((read.0 as f32).to_bits(), value.to_bits(), "{text}");
                assert!(digits.replace('.', "").len() <= 9, "{text}");
                assert_eq!(short.shortened(), short);
            }
        }
        assert_eq!(
            Scalar(0.471_567_757_710_263_8).shortened(),
            Scalar(0.471_567_75)
        );
        for value in [0.0, f64::NAN, f64::INFINITY, 1e-300, 1e300, 1e-40] {
            assert_eq!(Scalar(value).shortened(), Scalar(value));
        }
    }

    #[test]
    fn nan_is_written_as_a_word_and_read_back() {
        assert_eq!(
            serde_json::to_string(&[Scalar(f64::NAN), Scalar(f64::NEG_INFINITY)]).unwrap(),
            r#"["nan","-inf"]"#
        );
        assert!(
            serde_json::from_str::<Scalar>("\"nan\"")
                .unwrap()
                .0
                .is_nan()
        );
        assert_eq!(Value::from(Scalar(f64::NAN)), Value::from("nan"));
    }

    #[test]
    fn null_and_words_are_no_scalars() {
        for text in ["null", "\"\"", "\"high\"", "true", "[]"] {
            assert!(serde_json::from_str::<Scalar>(text).is_err(), "{text}");
            assert_eq!(
                Scalar::from_value(&serde_json::from_str(text).unwrap()),
                None,
                "{text}"
            );
        }
    }
}
