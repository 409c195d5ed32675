//! Which paths a route is for.

use buttress_core::SettingError;

use crate::key::normal_path;

/// A path as a setting names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Exact(String),
    /// Without a slash at its end.
    Prefix(String),
    Template(Vec<Segment>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Plain(String),
    /// Text before and after something that is not empty.
    Any(String, String),
    /// All that is left, which is not empty.
    Rest,
}

impl Pattern {
    pub(super) fn exact(path: &str) -> Result<Self, SettingError> {
        Ok(Self::Exact(checked(path)?))
    }

    pub(super) fn prefix(path: &str) -> Result<Self, SettingError> {
        let path = checked(path)?;
        Ok(Self::Prefix(path.strip_suffix('/').unwrap_or(&path).to_owned()))
    }

    pub(super) fn template(path: &str) -> Result<Self, SettingError> {
        checked(path)?;
        let mut segments = Vec::new();
        for segment in path[1..].split('/') {
            if segments.last() == Some(&Segment::Rest) {
                return Err(wrong(path, "nothing comes after `{*…}`"));
            }
            segments.push(Segment::new(segment).ok_or_else(|| {
                wrong(path, "a segment has one `{name}` at most, and a brace only around a name")
            })?);
        }
        Ok(Self::Template(segments))
    }

    /// Whether a path in its normal form is meant. One that a server may resolve to another,
    /// because of a `.` or `..` in it, never is.
    pub(super) fn matches(&self, path: &str) -> bool {
        let matches = match self {
            Self::Exact(own) => own == path,
            Self::Prefix(own) => path
                .strip_prefix(own.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Self::Template(segments) => matches_all(segments, path),
        };
        matches && !has_dots(path)
    }
}

impl Segment {
    fn new(text: &str) -> Option<Self> {
        let Some((before, rest)) = text.split_once('{') else {
            return (!text.contains('}')).then(|| Self::Plain(normal_path(text)));
        };
        let (name, after) = rest.split_once('}')?;
        if before.contains('}') || after.contains(['{', '}']) {
            return None;
        }
        let (rest, name) = match name.strip_prefix('*') {
            Some(name) => (true, name),
            None => (false, name),
        };
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return None;
        }
        match rest {
            false => Some(Self::Any(normal_path(before), normal_path(after))),
            true => (before.is_empty() && after.is_empty()).then_some(Self::Rest),
        }
    }

    fn matches(&self, segment: &str) -> bool {
        match self {
            Self::Plain(own) => own == segment,
            Self::Any(before, after) => segment
                .strip_prefix(before.as_str())
                .and_then(|rest| rest.strip_suffix(after.as_str()))
                .is_some_and(|name| !name.is_empty()),
            Self::Rest => !segment.is_empty(),
        }
    }
}

fn matches_all(segments: &[Segment], path: &str) -> bool {
    let mut rest = path.strip_prefix('/');
    for segment in segments {
        let Some(text) = rest else {
            return false;
        };
        if *segment == Segment::Rest {
            return segment.matches(text);
        }
        let (text, tail) = match text.split_once('/') {
            Some((text, tail)) => (text, Some(tail)),
            None => (text, None),
        };
        if !segment.matches(text) {
            return false;
        }
        rest = tail;
    }
    rest.is_none()
}

fn checked(path: &str) -> Result<String, SettingError> {
    if !path.starts_with('/') || path.contains(['?', '#']) {
        return Err(wrong(path, "a path that begins with `/`, without a query"));
    }
    if has_dots(path) {
        return Err(wrong(path, "a path without `.` and `..`"));
    }
    Ok(normal_path(path))
}

fn wrong(path: &str, allowed: &str) -> SettingError {
    SettingError::new("prompts.route", format!("{path:?}; {allowed}"))
}

/// Whether a segment is `.` or `..`, be it escaped.
fn has_dots(path: &str) -> bool {
    let dots = |segment: &str| {
        let mut rest = segment;
        let mut count = 0;
        while let Some(tail) = ["%2e", "%2E", "."].iter().find_map(|dot| rest.strip_prefix(dot)) {
            rest = tail;
            count += 1;
        }
        rest.is_empty() && (count == 1 || count == 2)
    };
    path.split('/').any(dots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pattern: &Pattern, paths: &[&str]) -> Vec<bool> {
        paths.iter().map(|path| pattern.matches(path)).collect()
    }

    #[test]
    fn an_exact_path_is_that_path_alone() {
        let chat = Pattern::exact("/v1/chat").unwrap();
        let paths = ["/v1/chat", "/v1/chat/", "/v1/chats", "/V1/chat", "/v1//chat", "/v1"];
        assert_eq!(all(&chat, &paths), [true, false, false, false, false, false]);
        assert!(Pattern::exact("/%41").unwrap().matches("/A"));
    }

    #[test]
    fn a_prefix_ends_where_a_segment_does() {
        for prefix in ["/v1", "/v1/"] {
            let v1 = Pattern::prefix(prefix).unwrap();
            let paths = ["/v1", "/v1/", "/v1/a/b", "/v10", "/", "/x/v1"];
            assert_eq!(all(&v1, &paths), [true, true, true, false, false, false]);
        }
        assert!(Pattern::prefix("/").unwrap().matches("/anything"));
    }

    #[test]
    fn a_template_takes_one_segment_for_each_name() {
        let azure = Pattern::template("/deployments/{id}/chat").unwrap();
        let paths = [
            "/deployments/a/chat",
            "/deployments//chat",
            "/deployments/a/b/chat",
            "/deployments/a/chat/",
            "/deployments/a",
        ];
        assert_eq!(all(&azure, &paths), [true, false, false, false, false]);
        let gemini = Pattern::template("/models/{model}:generate").unwrap();
        let paths = ["/models/m:generate", "/models/:generate", "/models/m:other"];
        assert_eq!(all(&gemini, &paths), [true, false, false]);
        let rest = Pattern::template("/a/{*rest}").unwrap();
        assert_eq!(
            all(&rest, &["/a/b", "/a/b/c", "/a/", "/a", "/b/c"]),
            [true, true, false, false, false]
        );
    }

    #[test]
    fn a_path_that_a_server_may_resolve_to_another_is_never_meant() {
        let any = Pattern::prefix("/v1").unwrap();
        let paths =
            ["/v1/../admin", "/v1/%2E%2E/admin", "/v1/.%2e/x", "/v1/.", "/v1/...", "/v1/.x"];
        assert_eq!(all(&any, &paths), [false, false, false, false, true, true]);
    }

    #[test]
    fn a_route_that_can_match_nothing_is_refused() {
        for path in ["", "v1", "/v1?x", "/v1/../x", "/./x"] {
            assert!(Pattern::exact(path).is_err(), "{path}");
            assert!(Pattern::prefix(path).is_err(), "{path}");
            assert!(Pattern::template(path).is_err(), "{path}");
        }
        for path in
            ["/{", "/}", "/{}", "/{a}{b}", "/{*a}/b", "/x{*a}", "/{a b}", "/{a{b}}", "/}{a}"]
        {
            assert!(Pattern::template(path).is_err(), "{path}");
        }
    }
}
