use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn of(text: &str) -> Option<Vec<u8>> {
    canonical(text.as_bytes(), &[])
}

fn without(text: &str, left_out: &[&str]) -> Option<Vec<u8>> {
    let left_out: Vec<_> = left_out.iter().map(ToString::to_string).collect();
    canonical(text.as_bytes(), &left_out)
}

#[test]
fn spellings_of_one_value_meet() {
    let plain = of(r#"{"a":[1,true,null],"b":{"c":"é/","d":""}}"#);
    assert!(plain.is_some());
    let odd = "\t{ \"b\" : {\"d\":\"\",\"\\u0063\":\"\\u00e9\\/\"},\r\n\"a\":[ 1 , true,null ] } ";
    assert_eq!(of(odd), plain);
    assert_eq!(
        of(r#""\ud83d\uDE00\b\f\n\r\t\"\\""#),
        of("\"😀\\u0008\\u000C\\u000a\\u000d\\u0009\\u0022\\u005c\"")
    );
}

#[test]
fn numbers_are_kept_as_they_are_written() {
    let spellings = [
        "1",
        "1.0",
        "1e0",
        "1E0",
        "1e+0",
        "-0",
        "0",
        "9007199254740993",
        "9007199254740992",
        "123456789012345678901234567890",
        "123456789012345678901234567891",
        "\"1\"",
        "0.1",
        "0.10",
    ];
    let keys: std::collections::HashSet<_> =
        spellings.iter().map(|number| of(number).expect("a number")).collect();
    assert_eq!(keys.len(), spellings.len());
}

#[test]
fn values_that_look_alike_differ() {
    let texts = [
        "[]",
        "{}",
        "\"\"",
        "null",
        "\"null\"",
        "[[]]",
        "[[],[]]",
        "[\"a\",\"b\"]",
        "[\"ab\"]",
        "{\"a\":\"b\"}",
        "{\"a\":{\"b\":1}}",
        "{\"a\":{},\"b\":1}",
        "[\"a\",\"b\",[]]",
        "[[\"a\",\"b\"]]",
        "{\"a\":1,\"b\":2}",
        "{\"a\":2,\"b\":1}",
        "[1,2]",
        "[2,1]",
        "[12]",
        "true",
        "false",
    ];
    let keys: std::collections::HashSet<_> =
        texts.iter().map(|text| of(text).expect("JSON")).collect();
    assert_eq!(keys.len(), texts.len());
}

#[test]
fn what_readers_may_take_differently_has_no_canonical_form() {
    let texts = [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"[{"b":{"a":1,"c":2,"a":3}}]"#,
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\ud800x""#,
        r#""\ud800\u0061""#,
        "\u{feff}{}",
    ];
    for text in texts {
        assert_eq!(of(text), None, "{text}");
    }
    assert_eq!(canonical(b"\"\xff\"", &[]), None);
}

#[test]
fn what_is_not_json_has_no_canonical_form() {
    let texts = [
        "",
        " ",
        "{",
        "[",
        "\"",
        "\"\\",
        "\"\\\"",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "[1,]",
        "[,1]",
        "[1 2]",
        "1 2",
        "{}x",
        "01",
        "-",
        "1.",
        ".1",
        "1e",
        "+1",
        "nul",
        "NaN",
        "'a'",
        "\"\n\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u+123\"",
        "\"\\é\"",
        "]",
        "}",
        "{\"a\":1]",
        "[1}",
        "\u{a0}1",
        "{1:2}",
        "/**/1",
    ];
    for text in texts {
        assert_eq!(of(text), None, "{text}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(of(&nested(MAX_DEPTH)).is_some());
    assert_eq!(of(&nested(MAX_DEPTH + 1)), None);
    assert_eq!(of(&"[".repeat(1_000_000)), None);
}

#[test]
fn fields_are_left_out_of_the_outermost_object_only() {
    let prompt = r#"{"model":"m","user":"a","messages":[{"user":"x"}]}"#;
    let other = r#"{"user":["b"],"messages":[{"user":"x"}],"model":"m"}"#;
    let nested = r#"{"model":"m","messages":[{"user":"y"}]}"#;
    assert_ne!(of(prompt), of(other));
    assert_eq!(without(prompt, &["user"]), without(other, &["user"]));
    assert_ne!(without(prompt, &["user"]), without(nested, &["user"]));
    assert_eq!(without(r#"{"us\u0065r":1}"#, &["user"]), of("{}"));
    for odd in [r#"{"user":"\x"}"#, r#"{"user":1,"user":1}"#, r#"{"user":{"a":1,"a":1}}"#] {
        assert_eq!(without(odd, &["user"]), None, "{odd}");
    }
}

#[test]
fn a_field_that_is_kept_matters() {
    let stream = |on: &str| format!(r#"{{"model":"m","stream":{on}}}"#);
    assert_ne!(without(&stream("true"), &["user"]), without(&stream("false"), &["user"]));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::btree_map("[a-e\u{e9}\"\\\\]{0,2}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Writes a value with members in an order, white space and escapes that follow from `seed`.
fn spell(value: &Value, seed: &mut u64, out: &mut String) {
    let mut draw = |below: usize| {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(*seed >> 33).unwrap() % below
    };
    out.push_str(["", " ", "\n\t"][draw(3)]);
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                spell(item, seed, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            for index in (1..members.len()).rev() {
                members.swap(index, draw(index + 1));
            }
            out.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                spell(&Value::String(name.clone()), seed, out);
                out.push_str(" :");
                spell(value, seed, out);
            }
            out.push('}');
        }
        Value::String(text) => {
            out.push('"');
            for character in text.chars() {
                if draw(4) == 0 {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                } else {
                    let quoted = serde_json::to_string(&character.to_string()).unwrap();
                    out.push_str(&quoted[1..quoted.len() - 1]);
                }
            }
            out.push('"');
        }
        other => out.push_str(&other.to_string()),
    }
    out.push_str(["", " "][usize::from(*seed & 1 == 1)]);
}

proptest! {
    #[test]
    fn neither_order_nor_space_nor_escapes_change_the_form(value in value(), mut seed in any::<u64>()) {
        let mut spelled = String::new();
        spell(&value, &mut seed, &mut spelled);
        prop_assert_eq!(serde_json::from_str::<Value>(&spelled).unwrap(), value.clone());
        prop_assert_eq!(of(&spelled), of(&value.to_string()));
        prop_assert!(of(&spelled).is_some());
    }

    #[test]
    fn different_values_have_different_forms(one in value(), other in value()) {
        prop_assert_eq!(of(&one.to_string()) == of(&other.to_string()), one == other);
    }

    #[test]
    fn any_change_of_a_kept_field_changes_the_form(
        value in value(), other in value(), dropped in value(), seen in value(),
    ) {
        let prompt = |kept: &Value, user: &Value| {
            without(&format!(r#"{{"user":{user},"kept":{kept}}}"#), &["user"]).unwrap()
        };
        prop_assert_eq!(prompt(&value, &dropped), prompt(&value, &seen));
        prop_assert_eq!(prompt(&value, &dropped) == prompt(&other, &dropped), value == other);
    }

    /// What serde_json refuses has no form. (It takes some that we refuse, such as names twice.)
    #[test]
    fn no_text_is_taken_that_a_strict_reader_refuses(text in r#"[\[\]{},:"\\u0-9a-fnrtls\.eE+\- ]{0,24}"#) {
        if of(&text).is_some() {
            // A number that is too large for serde_json is a number nonetheless.
            let read = serde_json::from_str::<serde::de::IgnoredAny>(&text);
            prop_assert!(read.is_ok(), "{}", text);
        }
    }
}
