//! Invalid values of one field: as JSON values, which the schema then judges, and as text that no schema can express.

use serde_json::{Value, json};

use crate::malformed::schema::Schemas;
use crate::rng::Rng;

/// Longest text of a field: beyond the limits of a word and of a field, below the limit of the body.
const LONG_TEXT: usize = 70_000;

/// Values for a field with this schema; most are invalid.
pub fn of_field(schemas: &Schemas, schema: &Value) -> Vec<(&'static str, Value)> {
    let mut values = vec![
        ("null", Value::Null),
        ("a boolean", true.into()),
        ("zero", 0.into()),
        ("a negative number", (-1).into()),
        ("a fraction", json!(1.5)),
        ("a whole number as a float", json!(2.0)),
        ("a large number", json!(1e300)),
        ("the largest integer", u64::MAX.into()),
        ("the smallest integer", i64::MIN.into()),
        ("2^53 + 1", ((1_u64 << 53) + 1).into()),
        ("an empty text", "".into()),
        ("a number as a text", "1".into()),
        ("a text with NUL", "a\0b".into()),
        ("a text of control characters", "\u{1}\u{1b}[31m\r\n\u{85}\u{2028}".into()),
        ("a text outside the basic plane", "\u{1F600}\u{10FFFF}\u{202E}e\u{301}".into()),
        ("a long text of one word", "a".repeat(LONG_TEXT).into()),
        ("a long text of many words", "a ".repeat(2_000).into()),
        ("an empty list", json!([])),
        ("a list of an empty list", json!([[]])),
        ("a list of null", json!([null])),
        ("a list of different types", json!(["a", 1])),
        ("a list of objects", json!([{}])),
        ("an empty object", json!({})),
        ("an object with an unknown field", json!({ "unknown": 1 })),
        ("an object with null", json!({ "text": null })),
        ("a nested list", nested_list(20)),
    ];
    for alternative in schemas.alternatives(schema) {
        let sample = schemas.sample(alternative);
        values.push(("a list around it", json!([sample])));
        values.push(("an object around it", json!({ "value": sample })));
        if let Some(maximum) = alternative["maximum"].as_f64() {
            values.push(("above the maximum", json!(maximum + 1.0)));
            values.push(("the maximum", alternative["maximum"].clone()));
        }
        if let Some(minimum) = alternative["minimum"].as_f64() {
            values.push(("below the minimum", json!(minimum - 1.0)));
        }
        if let (Value::Array(items), Some(most)) = (&sample, alternative["maxItems"].as_u64()) {
            let item = items.first().cloned().unwrap_or_default();
            values.push(("too many items", json!(vec![item.clone(); most as usize + 1])));
            let mut last_is_null = vec![item; 3];
            last_is_null.push(Value::Null);
            values.push(("a valid list with null at its end", json!(last_is_null)));
        }
        for text in alternative["enum"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            values.push(("the value in upper case", text.to_uppercase().into()));
            values.push(("the value with a space", format!(" {text}").into()));
            values.push(("the value with NUL", format!("{text}\0").into()));
        }
    }
    values
}

/// JSON texts for the place of a value. The second item says whether every parser has to reject them: a field that is accepted and
/// ignored is not decoded, so its nesting, its numbers and its escapes may pass.
pub fn raw(rng: &mut Rng) -> (&'static str, bool, Vec<u8>) {
    let depth = 200 + rng.below(20_000);
    let choices: [(&str, bool, Vec<u8>); 20] = [
        ("deeply nested lists", false, [vec![b'['; depth], vec![b']'; depth]].concat()),
        ("lists that do not end", true, vec![b'['; depth]),
        (
            "deeply nested objects",
            false,
            [b"{\"a\":".repeat(depth), b"1".to_vec(), vec![b'}'; depth]].concat(),
        ),
        ("a number beyond the range of floats", false, b"1e999999".to_vec()),
        ("a number of many digits", false, vec![b'9'; 1 + depth]),
        ("a fraction of many digits", false, [b"0.".to_vec(), vec![b'1'; depth]].concat()),
        ("a number with a leading zero", true, b"01".to_vec()),
        ("a number with a plus", true, b"+1".to_vec()),
        ("a hexadecimal number", true, b"0x10".to_vec()),
        ("NaN", true, b"NaN".to_vec()),
        ("Infinity", true, b"-Infinity".to_vec()),
        ("invalid UTF-8", true, b"\"\xff\xfe\"".to_vec()),
        ("an overlong encoding", true, b"\"\xc0\xaf\"".to_vec()),
        ("an encoded surrogate", true, b"\"\xed\xa0\x80\"".to_vec()),
        ("an escaped surrogate without its pair", false, b"\"\\ud800\"".to_vec()),
        ("an unknown escape", true, b"\"\\x41\"".to_vec()),
        ("a line break in a text", true, b"\"a\nb\"".to_vec()),
        ("single quotes", true, b"'a'".to_vec()),
        ("a comment", true, b"\"a\" /* b */".to_vec()),
        ("nothing", true, Vec::new()),
    ];
    rng.pick(&choices).clone()
}

fn nested_list(depth: usize) -> Value {
    (0..depth).fold(json!([]), |inner, _| json!([inner]))
}
