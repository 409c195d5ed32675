//! The key of a prompt is the same for all spellings of its JSON, and the bytes count where it is
//! none.

#![no_main]

use std::sync::LazyLock;

use buttress_cache::{Key, KeySpec, PromptRoute, Prompts, Scope};
use http::{Request, request::Parts};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static PROMPTS: LazyLock<Prompts> = LazyLock::new(|| {
    let route = PromptRoute::exact("/chat").and_then(|route| route.leave_out(["user"]));
    Prompts::new(Scope::everyone()).route(route.expect("a route"))
});

static PARTS: LazyLock<Parts> = LazyLock::new(|| {
    let head = Request::post("http://a.example/chat").header("content-type", "application/json");
    head.body(()).expect("a head").into_parts().0
});

fn key(body: &[u8]) -> Key {
    let route = PROMPTS.find(&PARTS).expect("a route");
    let identity = PROMPTS.identify(route, &KeySpec::new(), &PARTS, body, None);
    *identity.expect("a key").key()
}

/// Whether a number in it has an exponent.
fn has_exponent(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.to_string().contains(['e', 'E']),
        Value::Array(values) => values.iter().any(has_exponent),
        Value::Object(members) => members.values().any(has_exponent),
        _ => false,
    }
}

fuzz_target!(|body: &[u8]| {
    // White space around it changes the bytes and not the JSON.
    let is_canonical = key(body) == key(&[b" ", body].concat());
    match serde_json::from_slice::<Value>(body) {
        Ok(value) if is_canonical => {
            // Numbers count as they are written, and serde_json writes exponents its own way.
            if !has_exponent(&value) {
                assert_eq!(key(value.to_string().as_bytes()), key(body), "a spelling of the same");
            }
            let wrapped = |value: &Value| format!(r#"{{"user":{value},"a":[{value}]}}"#);
            let other = wrapped(&value).replacen(r#"{"user""#, r#"{"other""#, 1);
            // Unless the nesting is now too deep.
            if key(wrapped(&value).as_bytes()) == key(format!(" {}", wrapped(&value)).as_bytes()) {
                assert_eq!(
                    key(wrapped(&value).as_bytes()),
                    key(format!(r#"{{"a":[{value}],"user":0}}"#).as_bytes()),
                    "what is left out"
                );
                assert_ne!(key(wrapped(&value).as_bytes()), key(other.as_bytes()));
            }
        }
        Ok(_) => {}
        Err(_) => assert!(!is_canonical, "taken for JSON"),
    }
});
