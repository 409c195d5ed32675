//! What a lookup in the memory store costs, beside moka alone, and what a key costs.
//!
//! `cargo bench -p buttress-cache --bench store`; `-- --quick` for a tenth of the rounds.

use std::{
    error::Error,
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use buttress_cache::{
    Chunks, Entry, Key, KeySpec, MemoryStore, Policy, PromptRoute, Prompts, Purge, Removal, Scope,
    Slot, Store, VOLATILE_FIELDS, Variant, Vary,
};
use buttress_testkit::{Bench, bench::poll_once};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, request::Parts};
use moka::sync::Cache;

const HOUR: Duration = Duration::from_secs(3600);
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    lookups()?;
    writes()?;
    keys()?;
    prompts()
}

fn entry(size: usize) -> Entry {
    let mut headers = HeaderMap::new();
    for name in ["content-type", "cache-control", "date", "etag", "server", "x-one"] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static("a value of some length"),
        );
    }
    let policy = Policy::from_words([3_600_000, 0, 0, 0, u64::MAX, 0]);
    let mut entry = Entry::new("http://a.example/x".into(), StatusCode::OK, headers, policy);
    entry.body = Chunks::from(Bytes::from(vec![7; size]));
    entry
}

fn key(number: u64) -> Key {
    Key::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn filled(size: usize) -> Result<MemoryStore, Box<dyn Error>> {
    let store = MemoryStore::new(256 << 20)?;
    for number in 0..64 {
        let slot = Slot::Entry(Arc::new(entry(size)));
        let seen = poll_once(store.get(&key(number)))?.generation;
        poll_once(store.put(&key(number), slot, HOUR, seen))?;
    }
    let _settled = store.statistics();
    Ok(store)
}

/// One of the keys in turn, so that no lookup is helped by the one before.
fn turn(next: &mut u64) -> Key {
    *next = (*next + 1) % 64;
    key(*next)
}

fn lookups() -> Result<(), Box<dyn Error>> {
    let (small, large) = (filled(KIB)?, filled(MIB)?);
    let bare = Cache::builder().max_capacity(1 << 20).build();
    for number in 0..64 {
        bare.insert(key(number), Arc::new(entry(KIB)));
    }
    let mut nexts = [0; 4];
    let [one, two, three, four] = &mut nexts;
    Bench::new("a lookup in memory")
        .case_with("moka alone, 1 KiB", || turn(one), |key| bare.get(&key))
        .case_with("MemoryStore, 1 KiB", || turn(two), |key| small.peek(&key))
        .case_with("MemoryStore, 1 MiB", || turn(three), |key| large.peek(&key))
        .case_with(
            "MemoryStore, a miss",
            || {
                *four += 1;
                key(1_000 + *four)
            },
            |key| small.peek(&key),
        )
        .baseline("moka alone, 1 KiB")
        .run()?;
    writeln!(io::stdout())?;
    Ok(())
}

fn writes() -> Result<(), Box<dyn Error>> {
    let (plain, varied) = (MemoryStore::new(64 << 20)?, MemoryStore::new(64 << 20)?);
    let (mut number, mut language) = (0_u64, 0_u64);
    let page = key(0);
    let fresh = || Arc::new(entry(KIB));
    Bench::new("a write to memory")
        .rounds(40)
        .case_with(
            "put of 1 KiB",
            || {
                number += 1;
                (key(number), Slot::Entry(fresh()))
            },
            |(key, slot)| {
                let seen = plain.peek(&key).map(|lookup| lookup.generation).unwrap_or_default();
                poll_once(plain.put(&key, slot, HOUR, seen)).is_ok()
            },
        )
        .case_with(
            "link of a variant, 32 at most",
            || {
                language += 1;
                let mut entry = entry(KIB);
                let value = language.to_string().into_bytes().into();
                let name = HeaderName::from_static("accept-language");
                entry.vary = Arc::new(Vary::from_fields([(name, Some(value))]));
                (Variant::of(&page, &entry), Arc::new(entry))
            },
            |(variant, entry)| {
                let seen = varied.peek(&page).map(|lookup| lookup.generation).unwrap_or_default();
                poll_once(varied.link(&page, variant, entry, 32, HOUR, seen)).is_ok()
            },
        )
        .case("purge of a key that is not there", || {
            poll_once(plain.remove(&Purge::Key(page), Removal::Hard)).is_ok()
        })
        .run()?;
    writeln!(io::stdout())?;
    Ok(())
}

fn browser(uri: &str) -> Result<Parts, http::Error> {
    let head = Request::get(uri)
        .header("host", "www.example.com")
        .header(
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        )
        .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
        .header("accept-language", "en-GB,en;q=0.5")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("connection", "keep-alive")
        .header("sec-fetch-dest", "document")
        .header("sec-fetch-mode", "navigate");
    Ok(head.body(())?.into_parts().0)
}

fn keys() -> Result<(), Box<dyn Error>> {
    let served = browser("/articles/2026/a-title-of-some-length?page=2")?;
    let asked = browser("http://www.example.com/articles/2026/a-title-of-some-length?page=2")?;
    let tracked = browser("/articles/2026/a-title-of-some-length?page=2&utm_source=mail&utm_id=4")?;
    let (client, server) = (KeySpec::new(), KeySpec::server());
    let filtered = KeySpec::server().ignore_query(["utm_*", "fbclid", "gclid"])?;
    let scoped = KeySpec::server().scope(Scope::header(HeaderName::from_static("accept-language")));
    Bench::new("the key of a GET")
        .case("a server's", || server.identify(&served, None))
        .case("a client's", || client.identify(&asked, None))
        .case("with parameters left out", || filtered.identify(&tracked, None))
        .case("with a scope", || scoped.identify(&served, None))
        .run()?;
    writeln!(io::stdout())?;
    Ok(())
}

/// A prompt of about so many bytes.
fn prompt(size: usize) -> String {
    let mut messages = String::new();
    let mut turn = 0;
    while messages.len() < size {
        turn += 1;
        let role = if turn % 2 == 0 { "assistant" } else { "user" };
        let text = "The quick brown fox jumps over the lazy dog; so it goes.\\n".repeat(6);
        messages += &format!(r#"{{"role":"{role}","content":"{text}"}},"#);
    }
    let messages = messages.trim_end_matches(',');
    format!(
        r#"{{"model":"a-model","messages":[{messages}],"temperature":0.2,"stream":true,"user":"ada"}}"#
    )
}

fn prompts() -> Result<(), Box<dyn Error>> {
    let chat = || PromptRoute::exact("/v1/chat/completions");
    let canonical = Prompts::new(Scope::credential()).route(chat()?.leave_out(VOLATILE_FIELDS)?);
    let verbatim = Prompts::new(Scope::credential()).route(chat()?.verbatim());
    let parts = Request::post("/v1/chat/completions")
        .header("host", "api.example.com")
        .header("authorization", "Bearer sk-0123456789012345678901234567890123456789")
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .body(())?
        .into_parts()
        .0;
    let keys = KeySpec::server();
    let (short, long) = (prompt(4 * KIB), prompt(256 * KIB));
    let identify = |prompts: &Prompts, body: &str| {
        let route = prompts.find(&parts)?;
        prompts.identify(route, &keys, &parts, body.as_bytes(), None).ok()
    };
    Bench::new("the key of a prompt")
        .calls(200)
        .case("4 KiB, canonical", || identify(&canonical, &short))
        .case("4 KiB, verbatim", || identify(&verbatim, &short))
        .case("4 KiB, digested alone", || blake3::hash(short.as_bytes()))
        .baseline("4 KiB, digested alone")
        .run()?;
    Bench::new("the key of a long prompt")
        .calls(10)
        .case("256 KiB, canonical", || identify(&canonical, &long))
        .case("256 KiB, verbatim", || identify(&verbatim, &long))
        .run()?;
    writeln!(io::stdout())?;
    Ok(())
}
