//! JSON as strict as YAML: a key that is written twice is refused, and so is a list that nobody has.
//!
//! Which of two values counts is a matter of taste between programs: what one has checked, another would not use.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Number, Value};

use super::OBJECTS_MAX;

/// Reads JSON.
pub fn json(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice::<Strict>(bytes).map(|strict| strict.0)
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor).map(Self)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = list.next_element()? {
            // Read no further than what is taken: a small body can be very many small values.
            if items.len() == OBJECTS_MAX {
                let message =
                    format!("a list of more than {OBJECTS_MAX} items: write fewer at once");
                return Err(de::Error::custom(message));
            }
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if fields.contains_key(&key) {
                return Err(de::Error::custom(format!("`{key}` is written twice: write it once")));
            }
            let Strict(value) = map.next_value()?;
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_is_written() {
        for text in [
            r#"{"b":[1,-2,1.5,null,true,"\u00e9"],"a":{}}"#,
            "18446744073709551615",
            r#"{"a":{"x":1},"b":{"x":2}}"#,
        ] {
            let plain: Value = serde_json::from_str(text).unwrap();
            assert_eq!(json(text.as_bytes()).unwrap(), plain, "{text}");
        }
    }

    #[test]
    fn keys_are_written_once_and_lists_have_an_end() {
        for (text, words) in [
            (r#"{"spec":{},"spec":{"tag":"x"}}"#, "`spec` is written twice"),
            (r#"[{"a":{"b":1,"b":1}}]"#, "`b` is written twice"),
            (r#"{"tag":1,"\u0074ag":2}"#, "`tag` is written twice"),
        ] {
            let error = json(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let list = |length: usize| format!("[{}]", vec!["{}"; length].join(","));
        assert!(json(list(OBJECTS_MAX).as_bytes()).is_ok());
        let error = json(list(OBJECTS_MAX + 1).as_bytes()).unwrap_err().to_string();
        assert!(error.contains("more than 10000 items"), "{error}");
    }
}
