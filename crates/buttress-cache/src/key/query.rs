//! Which parameters of a query belong to the key.

use buttress_core::SettingError;

use super::percent;

/// The parameters to leave out, and whether their order matters.
#[derive(Clone, Debug, Default)]
pub(super) struct QueryRules {
    ignored: Vec<Pattern>,
    sorted: bool,
}

#[derive(Clone, Debug)]
enum Pattern {
    Name(String),
    Prefix(String),
}

impl Pattern {
    fn new(pattern: &str) -> Result<Self, SettingError> {
        let (name, prefix) = match pattern.strip_suffix('*') {
            Some(name) => (name, true),
            None => (pattern, false),
        };
        if pattern.is_empty() || name.contains(['*', '&', '=']) {
            let reason = format!("{pattern:?}; a name, or the start of one and a `*`");
            return Err(SettingError::new("key.ignore_query", reason));
        }
        let mut written = String::new();
        percent::write(name, &mut written);
        Ok(if prefix { Self::Prefix(written) } else { Self::Name(written) })
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Prefix(own) => name.starts_with(own.as_str()),
        }
    }
}

impl QueryRules {
    pub(super) fn ignore(&mut self, pattern: &str) -> Result<(), SettingError> {
        self.ignored.push(Pattern::new(pattern)?);
        Ok(())
    }

    pub(super) fn sort(&mut self) {
        self.sorted = true;
    }

    /// Appends `?` and what is left of `query`; nothing if parameters were left out and none is
    /// left. A query that is there and empty stays: `/?` is another URI than `/`.
    pub(super) fn write(&self, query: &str, out: &mut String) {
        let start = out.len();
        out.push('?');
        if self.ignored.is_empty() && !self.sorted {
            return percent::write(query, out);
        }
        let mut left_out = false;
        for parameter in query.split('&') {
            let end = out.len();
            if end > start + 1 {
                out.push('&');
            }
            let at = out.len();
            percent::write(parameter, out);
            if self.ignores(name(&out[at..])) {
                out.truncate(end);
                left_out = true;
            }
        }
        if left_out && out.len() == start + 1 {
            out.truncate(start);
        } else if self.sorted {
            sort(out, start + 1);
        }
    }

    fn ignores(&self, name: &str) -> bool {
        self.ignored.iter().any(|pattern| pattern.matches(name))
    }
}

fn name(parameter: &str) -> &str {
    parameter.split('=').next().unwrap_or_default()
}

/// By name alone: the order of the values of one name is kept.
fn sort(out: &mut String, start: usize) {
    let mut parameters: Vec<_> = out[start..].split('&').collect();
    parameters.sort_by_key(|parameter| name(parameter));
    let sorted = parameters.join("&");
    out.truncate(start);
    out.push_str(&sorted);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(ignored: &[&str], sorted: bool) -> QueryRules {
        let mut rules = QueryRules { sorted, ..QueryRules::default() };
        for pattern in ignored {
            rules.ignore(pattern).unwrap();
        }
        rules
    }

    fn written(rules: &QueryRules, query: &str) -> String {
        let mut out = String::from("/");
        rules.write(query, &mut out);
        out
    }

    #[test]
    fn without_rules_a_query_stays_as_it_is() {
        assert_eq!(written(&rules(&[], false), "b=2&a=1&&b=1"), "/?b=2&a=1&&b=1");
        assert_eq!(written(&rules(&[], false), ""), "/?");
    }

    #[test]
    fn parameters_are_left_out_by_name_and_by_prefix() {
        let rules = rules(&["utm_*", "fbclid"], false);
        assert_eq!(written(&rules, "utm_source=x&a=1&fbclid=2&utm_=&fbclids=3"), "/?a=1&fbclids=3");
        assert_eq!(written(&rules, "a=utm_x"), "/?a=utm_x");
        assert_eq!(written(&rules, "utm%5Fsource=x&%66bclid"), "/", "the escaped name is the name");
        assert_eq!(written(&rules, "UTM_source=x"), "/?UTM_source=x", "names have a case");
    }

    #[test]
    fn a_query_of_which_nothing_is_left_is_none() {
        assert_eq!(written(&rules(&["*"], true), "a=1&b=2"), "/");
        assert_eq!(written(&rules(&["a"], true), ""), "/?", "nothing was left out");
    }

    #[test]
    fn the_order_is_kept_unless_sorting_is_asked_for() {
        assert_ne!(
            written(&rules(&["x"], false), "b=2&a=1"),
            written(&rules(&["x"], false), "a=1&b=2")
        );
        assert_eq!(written(&rules(&[], true), "b=2&a=1&b=1"), "/?a=1&b=2&b=1");
    }

    #[test]
    fn a_pattern_that_can_match_no_name_is_refused() {
        for pattern in ["", "a*b", "**", "a=b", "a&b"] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }
}
