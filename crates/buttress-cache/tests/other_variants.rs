//! A request that matches no stored variant may still be answered with one of them, if the origin says
//! so (RFC 9111 sections 4.1, 4.3.1 and 4.3.4).

mod support;

use buttress_cache::CacheResult;
use buttress_testkit::Script;
use http::request::Parts;
use support::{Got, Origin, Reply, ask, get_with, layer, ok, pass, respond, respond_with};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const VARY: (&str, &str) = ("vary", "accept-language");

/// An origin with a text in German and one in English, for all who do not speak German; it answers
/// preconditions.
fn bilingual() -> Origin {
    Origin::new(|parts, _| {
        let german = language(parts).is_some_and(|language| language.starts_with("de"));
        let (tag, text) = if german { ("\"de\"", "Hallo") } else { ("\"en\"", "Hello") };
        let fields = [FRESH, VARY, ("etag", tag)];
        let known = parts.headers.get("if-none-match");
        if known.is_some_and(|known| known.to_str().is_ok_and(|known| known.contains(tag))) {
            return respond(304, &[FRESH, VARY, ("etag", tag), ("x", "new")]);
        }
        ok(&fields, text)
    })
}

fn language(parts: &Parts) -> Option<&str> {
    parts.headers.get("accept-language").and_then(|value| value.to_str().ok())
}

async fn get(client: &support::Client, language: &str) -> Got {
    get_with(client, &[("accept-language", language)]).await
}

#[tokio::test(start_paused = true)]
async fn the_origin_may_select_a_stored_variant_for_other_values() {
    let origin = bilingual();
    let client = origin.cached();
    get(&client, "de").await;
    get(&client, "en").await;
    assert_eq!(origin.seen(1)["if-none-match"], "\"de\"");
    let got = get(&client, "fr").await;
    assert_eq!(
        (got.status, got.text(), got.result),
        (200, "Hello", Some(CacheResult::Revalidated))
    );
    let sent = origin.seen(2);
    assert_eq!(sent["if-none-match"], "\"en\", \"de\"");
    assert!(!sent.contains_key("if-modified-since"));
    assert_eq!(get(&client, "de-AT").await.text(), "Hallo");
    for (language, text) in [("fr", "Hello"), ("en", "Hello"), ("de", "Hallo"), ("de-AT", "Hallo")]
    {
        let got = get(&client, language).await;
        assert_eq!((got.text(), got.result), (text, Some(CacheResult::Hit)), "{language}");
    }
    assert_eq!(get(&client, "en").await.field("x"), Some("new"), "it is up to date for all");
    assert_eq!(origin.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_stale_variant_is_selected_as_well_and_is_fresh_from_then_on() {
    let origin = bilingual();
    let client = origin.cached();
    get(&client, "en").await;
    pass(100).await;
    assert_eq!(get(&client, "fr").await.result, Some(CacheResult::Revalidated));
    for language in ["fr", "en"] {
        assert_eq!(get(&client, language).await.result, Some(CacheResult::Hit), "{language}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_that_does_not_say_which_is_asked_again() {
    let origin = Origin::new(|parts, number| match parts.headers.get("if-none-match") {
        Some(_) if number > 1 => respond(304, &[VARY]),
        _ => ok(&[FRESH, VARY, ("etag", &format!("\"{number}\""))], language(parts).unwrap_or("")),
    });
    let client = origin.cached();
    get(&client, "de").await;
    get(&client, "en").await;
    assert_eq!(get(&client, "fr").await.text(), "fr");
    assert!(!origin.seen(3).contains_key("if-none-match"));
    assert_eq!(origin.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_304_that_names_none_of_them_is_asked_again() {
    let origin = Origin::new(|parts, _| match parts.headers.get("if-none-match") {
        Some(_) => respond(304, &[VARY, ("etag", "\"other\"")]),
        None => ok(&[FRESH, VARY, ("etag", "\"a\"")], language(parts).unwrap_or("")),
    });
    let client = origin.cached();
    get(&client, "de").await;
    assert_eq!(get(&client, "fr").await.text(), "fr");
    assert_eq!(origin.calls(), 3);
    assert_eq!(get(&client, "de").await.result, Some(CacheResult::Hit), "and it stays");
}

#[tokio::test(start_paused = true)]
async fn a_304_without_a_tag_selects_nothing_even_if_one_was_sent() {
    let origin = Origin::new(|parts, _| match parts.headers.get("if-none-match") {
        Some(_) => respond(304, &[FRESH, VARY]),
        None => ok(&[FRESH, VARY, ("etag", "\"a\"")], language(parts).unwrap_or("")),
    });
    let client = origin.cached();
    get(&client, "de").await;
    assert_eq!(get(&client, "fr").await.text(), "fr");
    assert_eq!(origin.seen(1)["if-none-match"], "\"a\"");
    assert!(!origin.seen(2).contains_key("if-none-match"));
    assert_eq!(get(&client, "fr").await.text(), "fr");
    assert_eq!(get(&client, "de").await.text(), "de");
    assert_eq!(origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_304_selects_by_the_very_tag_and_not_by_a_weak_one() {
    let origin = Origin::new(|parts, _| match parts.headers.get("if-none-match") {
        Some(_) => respond(304, &[FRESH, VARY, ("etag", "W/\"a\"")]),
        None => ok(&[FRESH, VARY, ("etag", "\"a\"")], language(parts).unwrap_or("")),
    });
    let client = origin.cached();
    get(&client, "de").await;
    assert_eq!(get(&client, "fr").await.text(), "fr");
    assert_eq!(origin.calls(), 3);
}

/// A server that answers preconditions before it codes what it sends, as nginx does.
fn coding() -> Origin {
    Origin::new(|parts, _| {
        let vary = ("vary", "Accept-Encoding");
        if parts.headers.contains_key("if-none-match") {
            return respond(304, &[FRESH, vary, ("etag", "\"a\"")]);
        }
        if parts.headers.get("accept-encoding").is_some_and(|value| value == "gzip") {
            let fields = [FRESH, vary, ("etag", "W/\"a\""), ("content-encoding", "gzip")];
            return ok(&fields, "coded");
        }
        ok(&[FRESH, vary, ("etag", "\"a\"")], "plain")
    })
}

#[tokio::test(start_paused = true)]
async fn a_client_that_decodes_nothing_is_given_nothing_coded() {
    for first in ["gzip", "br"] {
        let origin = coding();
        let client = origin.cached();
        get_with(&client, &[("accept-encoding", first)]).await;
        for _ in 0..2 {
            let got = get(&client, "de").await;
            assert_eq!((got.text(), got.field("content-encoding")), ("plain", None));
        }
        let got = get_with(&client, &[("accept-encoding", "gzip")]).await;
        assert_eq!((got.text(), got.field("content-encoding")), ("coded", Some("gzip")));
        for number in 0..origin.calls() {
            assert!(!origin.seen(number).contains_key("if-none-match"), "{first}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_page_of_one_user_is_not_offered_for_another() {
    // The tag is a revision, the same for all.
    for name in ["cookie", "Accept-Encoding", "authorization", "proxy-authorization"] {
        let vary = format!("Accept-Language, {name}");
        let lower = name.to_lowercase();
        let origin = Origin::new(move |parts, _| {
            let fields = [("cache-control", "public, max-age=60"), ("vary", &*vary)];
            let fields = [fields[0], fields[1], ("etag", "\"rev-7\"")];
            if parts.headers.contains_key("if-none-match") {
                return respond(304, &fields);
            }
            let user = parts.headers.get(&lower).and_then(|user| user.to_str().ok());
            ok(&fields, user.unwrap_or("nobody"))
        });
        let client = origin.cached();
        for user in ["alice", "bob", "alice", "bob"] {
            assert_eq!(get_with(&client, &[(name, user)]).await.text(), user, "{name}");
        }
        assert_eq!(get(&client, "de").await.text(), "nobody", "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_that_says_now_that_users_differ_selects_nothing() {
    let origin = Origin::new(|parts, _| match parts.headers.get("if-none-match") {
        Some(_) => respond(304, &[("vary", "accept-language, cookie"), ("etag", "\"a\"")]),
        None => ok(&[FRESH, VARY, ("etag", "\"a\"")], language(parts).unwrap_or("")),
    });
    let client = origin.cached();
    get(&client, "de").await;
    assert_eq!(get(&client, "fr").await.text(), "fr");
}

#[tokio::test(start_paused = true)]
async fn only_what_is_a_strong_tag_is_offered_and_not_too_much() {
    let long = format!("\"{}\"", "x".repeat(2000));
    let some = |number: usize| format!("\"{number}{}\"", "x".repeat(300));
    let tags =
        [long, "W/\"w\"".into(), "bare".into(), "\"a\", \"b\"".into(), some(1), some(2), some(3)];
    let last = some(4);
    let origin = {
        let (tags, last) = (tags.clone(), last.clone());
        Origin::new(move |_, number| {
            ok(&[FRESH, VARY, ("etag", tags.get(number).unwrap_or(&last))], "")
        })
    };
    let client = origin.cached();
    for number in 0..9 {
        get(&client, &number.to_string()).await;
    }
    for (number, sent) in [(1, None), (2, None), (3, None), (4, None), (5, Some(some(1)))] {
        let seen = origin.seen(number);
        assert_eq!(seen.get("if-none-match").map(|sent| sent.to_str().unwrap()), sent.as_deref());
    }
    let sent = origin.seen(8)["if-none-match"].to_str().unwrap().to_owned();
    assert_eq!(sent, format!("{last}, {}, {}", some(3), some(2)));
}

#[tokio::test(start_paused = true)]
async fn what_a_client_knows_itself_is_between_it_and_the_origin() {
    let origin = bilingual();
    let client = origin.cached();
    get(&client, "de").await;
    let own = [("accept-language", "fr"), ("if-none-match", "\"mine\"")];
    assert_eq!(get_with(&client, &own).await.text(), "Hello");
    assert_eq!(origin.seen(1)["if-none-match"], "\"mine\"");
    let part = [("accept-language", "it"), ("range", "bytes=0-1")];
    get_with(&client, &part).await;
    assert!(!origin.seen(2).contains_key("if-none-match"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_one_user_is_not_kept_for_all() {
    let origin = bilingual();
    let client = origin.cached();
    get(&client, "en").await;
    let mine = [("accept-language", "fr"), ("authorization", "Basic eA==")];
    assert_eq!(get_with(&client, &mine).await.text(), "Hello");
    assert_eq!(get(&client, "fr").await.result, Some(CacheResult::Revalidated), "nobody was told");
    assert_eq!(get(&client, "en").await.result, Some(CacheResult::Hit));
}

#[tokio::test(start_paused = true)]
async fn head_asks_for_no_variant_and_one_place_is_enough() {
    let origin = bilingual();
    let client = origin.cached();
    get(&client, "en").await;
    ask(&client, "HEAD", support::URI, &[("accept-language", "fr")]).await;
    assert!(!origin.seen(1).contains_key("if-none-match"));
    let layer = layer().max_variants(1).map(|layer| origin.behind(&layer));
    let client = layer.unwrap_or(client);
    get(&client, "en").await;
    get(&client, "fr").await;
    assert_eq!(
        get(&client, "fr").await.result,
        Some(CacheResult::Hit),
        "one takes the other's place"
    );
}

#[tokio::test(start_paused = true)]
async fn no_more_than_eight_tags_are_sent() {
    let origin = Origin::new(|parts, _| {
        let language = language(parts).unwrap_or_default();
        ok(&[FRESH, VARY, ("etag", &format!("\"{language}\""))], language)
    });
    let client = origin.cached();
    for number in 0..20 {
        get(&client, &number.to_string()).await;
    }
    let sent = origin.seen(19)["if-none-match"].clone();
    assert!(
        sent.to_str().is_ok_and(|sent| sent.split(", ").count() == 8 && sent.contains("\"18\""))
    );
}

#[tokio::test(start_paused = true)]
async fn all_that_is_of_the_same_bytes_is_brought_up_to_date() {
    let origin = bilingual();
    let client = origin.cached();
    get(&client, "en").await;
    get(&client, "fr").await;
    pass(100).await;
    assert_eq!(get(&client, "it").await.result, Some(CacheResult::Revalidated));
    assert_eq!(origin.seen(2)["if-none-match"], "\"en\"", "once");
    for language in ["en", "fr", "it"] {
        let hit = get(&client, language).await;
        assert_eq!((hit.result, hit.field("x")), (Some(CacheResult::Hit), Some("new")));
    }
    assert_eq!(origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_coded_otherwise_is_of_other_bytes() {
    let origin = Origin::new(|parts, _| {
        if parts.headers.contains_key("if-none-match") && language(parts) == Some("it") {
            return respond(304, &[FRESH, VARY, ("etag", "\"a\""), ("x", "new")]);
        }
        let coding = language(parts).filter(|language| *language == "en");
        let mut fields = vec![FRESH, VARY, ("etag", "\"a\"")];
        fields.extend(coding.map(|_| ("content-encoding", "gzip")));
        ok(&fields, "")
    });
    let client = origin.cached();
    get(&client, "en").await;
    pass(1).await;
    get(&client, "fr").await;
    assert_eq!(get(&client, "it").await.result, Some(CacheResult::Revalidated));
    assert_eq!(get(&client, "fr").await.field("x"), Some("new"));
    let coded = get(&client, "en").await;
    assert_eq!((coded.field("content-encoding"), coded.field("x")), (Some("gzip"), None));
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_other_variants_wait_for_each_once() {
    let origin = Origin::new(|parts, _| {
        let language = language(parts).unwrap_or_default();
        let slow = std::time::Duration::from_secs(1);
        let body = Script::new().wait(slow).data(language.to_owned());
        Reply::from(respond_with(200, &[FRESH, VARY], body)).after(slow)
    });
    let client = origin.cached();
    let languages = ["de", "en", "fr"].into_iter().cycle().take(30);
    let client = &client;
    let all = languages.map(|language| async move { (language, get(client, language).await) });
    for (language, got) in futures_util::future::join_all(all).await {
        assert_eq!(got.text(), language);
    }
    assert_eq!(origin.calls(), 3);
}
