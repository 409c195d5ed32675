//! What an unsafe request makes invalid (RFC 9111 section 4.4).

use http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};

/// Whether a method only reads (RFC 9110 section 9.2.1, and the registry of methods). One that is not known may do anything.
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
        || matches!(method.as_str(), "QUERY" | "PROPFIND" | "REPORT" | "SEARCH")
}

/// The URIs that an answer to an unsafe request names in `Location` and `Content-Location`, which it
/// may make invalid besides its target. Those of another origin are the caller's to leave out.
///
/// `None` if the answer is an error, which makes nothing invalid, not even its target.
pub(crate) fn targets(target: &Uri, status: StatusCode, response: &HeaderMap) -> Option<Vec<Uri>> {
    if !status.is_success() && !status.is_redirection() {
        return None;
    }
    let named = [header::LOCATION, header::CONTENT_LOCATION];
    Some(named.iter().filter_map(|name| named_in(target, response, name)).collect())
}

/// The URI that a field names.
pub(crate) fn named_in(target: &Uri, response: &HeaderMap, name: &HeaderName) -> Option<Uri> {
    resolve(target, response.get(name)?.to_str().ok()?.trim())
}

/// Resolves a reference (RFC 3986 section 5). The result names a server if the base or the reference
/// does.
fn resolve(base: &Uri, reference: &str) -> Option<Uri> {
    let reference = reference.split('#').next().unwrap_or_default();
    let absolute = match reference.strip_prefix("//") {
        Some(rest) => Some(format!("{}://{rest}", base.scheme_str().unwrap_or("http"))),
        None => has_scheme(reference).then(|| reference.to_owned()),
    };
    let (mut parts, path) = match absolute {
        Some(absolute) => {
            let uri: Uri = absolute.parse().ok()?;
            let path = uri.path_and_query().map_or("/".into(), |path| path.as_str().to_owned());
            (uri.into_parts(), path)
        }
        None => (base.clone().into_parts(), merge(base, reference)),
    };
    parts.path_and_query = Some(remove_dots(&path).parse().ok()?);
    Uri::from_parts(parts).ok()
}

fn has_scheme(reference: &str) -> bool {
    let end = reference.find([':', '/', '?']).unwrap_or(0);
    reference[end..].starts_with(':')
        && reference.starts_with(|first: char| first.is_ascii_alphabetic())
}

/// The path and query of a relative reference.
fn merge(base: &Uri, reference: &str) -> String {
    if reference.starts_with('/') {
        return reference.to_owned();
    }
    let path = base.path();
    if reference.is_empty() {
        return base.path_and_query().map_or("/".into(), |path| path.as_str().to_owned());
    }
    if reference.starts_with('?') {
        return format!("{path}{reference}");
    }
    let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
    format!("{folder}{reference}")
}

/// RFC 3986 section 5.2.4.
fn remove_dots(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut kept: Vec<&str> = Vec::new();
    let mut open = false;
    for segment in path.split('/').skip(1) {
        open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let end = if open && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(reference: &str) -> Option<String> {
        let base = "http://a.example/b/c?d=1".parse().unwrap();
        resolve(&base, reference).map(|uri| uri.to_string())
    }

    #[test]
    fn references_are_resolved_against_the_target() {
        for (reference, uri) in [
            ("/x?y", "/x?y"),
            ("x", "/b/x"),
            ("../x/./y", "/x/y"),
            ("..", "/"),
            (".", "/b/"),
            ("?z", "/b/c?z"),
            ("", "/b/c?d=1"),
            ("#part", "/b/c?d=1"),
        ] {
            assert_eq!(resolved(reference), Some(format!("http://a.example{uri}")), "{reference}");
        }
        assert_eq!(resolved("//b.example:81/x").unwrap(), "http://b.example:81/x");
        assert_eq!(resolved("HTTPS://c.example/x/../y").unwrap(), "https://c.example/y");
        assert_eq!(resolved("mailto:x@y"), None);
    }

    #[test]
    fn a_base_without_a_server_is_enough() {
        let base = "/b/c".parse().unwrap();
        assert_eq!(resolve(&base, "d").unwrap(), "/b/d");
    }

    #[test]
    fn an_error_makes_nothing_invalid() {
        let target: Uri = "http://a.example/".parse().unwrap();
        let of =
            |status| targets(&target, StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
        assert!(of(200).is_some() && of(303).is_some());
        assert!(of(404).is_none() && of(500).is_none());
    }

    proptest::proptest! {
        #[test]
        fn any_reference_is_a_uri_or_none(reference in ".{0,40}") {
            let _ = resolved(&reference);
        }
    }
}
