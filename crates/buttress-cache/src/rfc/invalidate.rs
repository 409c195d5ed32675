//! What an unsafe request makes invalid (RFC 9111 section 4.4).

use http::{HeaderMap, Method, StatusCode, Uri, header, uri::Authority};

/// Whether a method only reads (RFC 9110 section 9.2.1). One that is not known may do anything.
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
        || method.as_str() == "QUERY"
}

/// The URIs that an answer to an unsafe request makes invalid, besides the one that was asked for:
/// those in `Location` and `Content-Location`, if they are of the same origin.
///
/// `None` if the answer is an error, which makes nothing invalid, not even its target.
pub(crate) fn targets(target: &Uri, status: StatusCode, response: &HeaderMap) -> Option<Vec<Uri>> {
    if !status.is_success() && !status.is_redirection() {
        return None;
    }
    let named = [header::LOCATION, header::CONTENT_LOCATION];
    let named = named.iter().filter_map(|name| response.get(name));
    let resolved = named.filter_map(|value| resolve(target, value.to_str().ok()?.trim()));
    Some(resolved.filter(|uri| uri != target).collect())
}

/// Resolves a reference of the same origin (RFC 3986 section 5); `None` for others.
pub(crate) fn resolve(base: &Uri, reference: &str) -> Option<Uri> {
    let reference = reference.split('#').next().unwrap_or_default();
    let absolute = match reference.strip_prefix("//") {
        Some(rest) => Some(format!("{}://{rest}", base.scheme_str().unwrap_or("http"))),
        None => has_scheme(reference).then(|| reference.to_owned()),
    };
    let path = match absolute {
        Some(absolute) => {
            let uri: Uri = absolute.parse().ok()?;
            same_origin(base, &uri)
                .then(|| uri.path_and_query().map_or("/".into(), |path| path.as_str().to_owned()))?
        }
        None => merge(base, reference),
    };
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(remove_dots(&path).parse().ok()?);
    Uri::from_parts(parts).ok()
}

fn has_scheme(reference: &str) -> bool {
    let end = reference.find([':', '/', '?']).unwrap_or(0);
    reference[end..].starts_with(':')
        && reference.starts_with(|first: char| first.is_ascii_alphabetic())
}

fn same_origin(base: &Uri, other: &Uri) -> bool {
    let scheme = base.scheme_str().unwrap_or("http");
    let default = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
    let (Some(one), Some(two)) = (base.authority(), other.authority()) else { return false };
    other.scheme_str().is_some_and(|other| other.eq_ignore_ascii_case(scheme))
        && one.host().eq_ignore_ascii_case(two.host())
        && port(one) == port(two)
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
            ("//A.example:80/x", "/x"),
            ("http://a.example", "/"),
            ("HTTP://a.example/x/../y", "/y"),
        ] {
            assert_eq!(resolved(reference), Some(format!("http://a.example{uri}")), "{reference}");
        }
    }

    #[test]
    fn another_origin_is_nobodys_business() {
        for reference in
            ["http://b.example/x", "https://a.example/x", "//a.example:81/", "mailto:x@y"]
        {
            assert_eq!(resolved(reference), None, "{reference}");
        }
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
