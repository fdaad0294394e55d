//! Integers that accept the form `1.0`. JSON Schema defines it as an integer, and some languages write all numbers that way.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// From here on, adjacent integers have the same f64.
const FLOAT_MAX: f64 = 9_007_199_254_740_992.0;

/// An integer that may be written as a float.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LenientInt<T>(pub T);

impl<'de, T: TryFrom<u64>> Deserialize<'de> for LenientInt<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct IntVisitor<T>(std::marker::PhantomData<T>);
        impl<T: TryFrom<u64>> Visitor<'_> for IntVisitor<T> {
            type Value = LenientInt<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an unsigned integer of {} bits", 8 * size_of::<T>())
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<LenientInt<T>, E> {
                let fitting = T::try_from(number).map(LenientInt);
                fitting.map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<LenientInt<T>, E> {
                match to_integer(number) {
                    Some(number) => self.visit_u64(number),
                    None => Err(E::invalid_value(Unexpected::Float(number), &self)),
                }
            }
        }
        json.deserialize_any(IntVisitor(std::marker::PhantomData))
    }
}

/// The integer with this value, if it is exact.
pub fn to_integer(number: f64) -> Option<u64> {
    ((0.0..FLOAT_MAX).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_every_notation_of_an_integer_and_nothing_else() {
        let read = |json: &str| serde_json::from_str::<LenientInt<u32>>(json).map(|number| number.0);
        for json in ["7", "7.0", "7e0", "70e-1"] {
            assert_eq!(read(json).unwrap(), 7, "{json}");
        }
        assert_eq!(read("4294967295").unwrap(), u32::MAX);
        for json in
            ["7.5", "-1", "-1.0", "4294967296", "4294967296.0", "1e300", "\"7\"", "true", "null", "[7]"]
        {
            assert!(read(json).is_err(), "{json}");
        }
    }
}
