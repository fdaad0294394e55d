//! Whole numbers as JSON has them: `1.0` is one too. JSON Schema says so, and some languages write every number that way.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// Above this, a float no longer tells neighbours apart.
const FLOAT_MAX: f64 = 9_007_199_254_740_992.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole<T>(pub T);

impl<'de, T: TryFrom<u64>> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct WholeVisitor<T>(std::marker::PhantomData<T>);
        impl<T: TryFrom<u64>> Visitor<'_> for WholeVisitor<T> {
            type Value = Whole<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number of {} bits", 8 * size_of::<T>())
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Whole<T>, E> {
                let fitting = T::try_from(number).map(Whole);
                fitting.map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Whole<T>, E> {
                match whole(number) {
                    Some(number) => self.visit_u64(number),
                    None => Err(E::invalid_value(Unexpected::Float(number), &self)),
                }
            }
        }
        json.deserialize_any(WholeVisitor(std::marker::PhantomData))
    }
}

pub fn whole(number: f64) -> Option<u64> {
    ((0.0..FLOAT_MAX).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_however_it_is_written() {
        let read = |json: &str| serde_json::from_str::<Whole<u32>>(json).map(|number| number.0);
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
