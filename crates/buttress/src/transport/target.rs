//! Where a request is to go, checked before anything is sent.

use buttress_core::InvalidRequest;
use http::{Uri, uri::Scheme};

/// How much of a long URI a message shows, in characters.
const SHOWN: usize = 200;

/// Says what is wrong with `uri`: scheme, host, port and path are shown; credentials and the query,
/// which often holds a key, are left out.
fn invalid(uri: &Uri, reason: &'static str) -> InvalidRequest {
    let mut shown = String::new();
    if let Some(scheme) = uri.scheme_str() {
        shown.push_str(scheme);
        shown.push_str("://");
    }
    if let Some(authority) = uri.authority() {
        let authority = authority.as_str();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        shown.push_str(host);
    }
    shown.push_str(uri.path());
    if let Some((end, _)) = shown.char_indices().nth(SHOWN) {
        shown.truncate(end);
        shown.push('…');
    }
    InvalidRequest::new(format!("cannot send a request to `{shown}`: {reason}"))
}

/// Requires the absolute form, `http` or `https`, a host, and nothing that would be misread.
pub(super) fn check(uri: &Uri, tls: bool) -> Result<(), InvalidRequest> {
    let invalid = |reason| Err(invalid(uri, reason));
    let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
        return invalid("it is not absolute, scheme and host are needed");
    };
    if *scheme == Scheme::HTTPS && !tls {
        return invalid("https needs the feature `tls`");
    }
    if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
        return invalid("the scheme is neither http nor https");
    }
    // RFC 9110 section 4.2.4: user information in a reference is to be treated as an error.
    if authority.as_str().contains('@') {
        return invalid("it holds credentials, which belong in a header");
    }
    if authority.host().is_empty() {
        return invalid("it names no host");
    }
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    if port.len() > 1 && authority.port_u16().is_none() {
        return invalid("the port is not between 0 and 65535");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(uri: &str) -> String {
        check(&uri.parse().unwrap(), true).unwrap_err().to_string()
    }

    #[test]
    fn absolute_uris_with_a_host_pass() {
        for uri in
            ["http://localhost", "https://a.example:8443/x?y", "http://[::1]:80/", "http://a:/"]
        {
            assert!(check(&uri.parse().unwrap(), true).is_ok(), "{uri}");
        }
    }

    #[test]
    fn a_relative_uri_is_named_in_the_message() {
        assert_eq!(
            refused("/v1/models?key=secret"),
            "cannot send a request to `/v1/models`: it is not absolute, scheme and host are needed"
        );
        assert!(refused("example.com:443").contains("`example.com:443`"));
    }

    #[test]
    fn what_cannot_be_reached_is_refused() {
        assert!(refused("ftp://a/").ends_with("neither http nor https"));
        assert!(refused("http://:80/").ends_with("names no host"));
        assert!(refused("http://a:99999/").contains("port"));
        let without_tls = check(&"https://a/".parse().unwrap(), false).unwrap_err();
        assert!(without_tls.to_string().ends_with("`tls`"));
    }

    #[test]
    fn credentials_stay_out_of_the_message() {
        let message = refused("http://user:word@a.example/path");
        assert!(
            message.contains("http://a.example/path") && !message.contains("word"),
            "{message}"
        );
    }

    #[test]
    fn a_long_uri_is_cut() {
        let message = refused(&format!("/{}", "x".repeat(60_000)));
        assert!(message.chars().count() < SHOWN + 100);
    }
}
