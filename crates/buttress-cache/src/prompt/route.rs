//! One path whose answers are kept, and how.

use std::time::Duration;

use buttress_core::SettingError;
use http::HeaderName;

use super::pattern::Pattern;

/// Members of a chat completion's JSON that name the caller or label the call, and do not change the
/// answer. For [`PromptRoute::leave_out`].
pub const VOLATILE_FIELDS: [&str; 4] =
    ["metadata", "prompt_cache_key", "safety_identifier", "user"];

/// Headers that change what a provider answers though it does not say so in `Vary`.
const HEADERS: [HeaderName; 6] = [
    http::header::ACCEPT,
    HeaderName::from_static("anthropic-beta"),
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static("openai-beta"),
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
];

const TTL: Duration = Duration::from_secs(3600);
const MAX_REQUEST: u64 = 1 << 20;

/// A path whose `POST` answers are kept, for how long, and what of the request their key is made of.
#[derive(Clone, Debug)]
pub struct PromptRoute {
    pattern: Pattern,
    ttl: Duration,
    max_request: u64,
    canonical: bool,
    left_out: Vec<String>,
    headers: Vec<HeaderName>,
}

impl PromptRoute {
    /// One path.
    ///
    /// # Errors
    ///
    /// Returns an error if the path does not begin with `/`, or has a query or a `.` or `..`.
    pub fn exact(path: &str) -> Result<Self, SettingError> {
        Pattern::exact(path).map(Self::new)
    }

    /// One path and all below it: `/v1` is `/v1` and `/v1/chat`, and is not `/v10`.
    ///
    /// # Errors
    ///
    /// As [`exact`](Self::exact).
    pub fn prefix(path: &str) -> Result<Self, SettingError> {
        Pattern::prefix(path).map(Self::new)
    }

    /// Paths with names in place of a segment or a part of one, such as
    /// `/v1/models/{model}:generate`. `{*rest}` at the end is all that is left.
    ///
    /// # Errors
    ///
    /// As [`exact`](Self::exact); and if a brace stands where no name is.
    pub fn template(path: &str) -> Result<Self, SettingError> {
        Pattern::template(path).map(Self::new)
    }

    fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            ttl: TTL,
            max_request: MAX_REQUEST,
            canonical: true,
            left_out: Vec::new(),
            headers: HEADERS.to_vec(),
        }
    }

    /// Sets for how long an answer is kept and served; the default is an hour.
    ///
    /// # Errors
    ///
    /// Returns an error if the time is zero.
    pub fn ttl(mut self, ttl: Duration) -> Result<Self, SettingError> {
        if ttl.is_zero() {
            return Err(SettingError::new("prompts.ttl", "0s; more than nothing"));
        }
        self.ttl = ttl;
        Ok(self)
    }

    /// Keeps answers until they are purged or the store needs the room: for prompts whose answer
    /// never changes.
    #[must_use]
    pub fn forever(mut self) -> Self {
        self.ttl = Duration::MAX;
        self
    }

    /// Sets how many bytes of a request are read to find its key; the default is 1 MiB. A longer
    /// request streams through, and its answer is not kept.
    ///
    /// # Errors
    ///
    /// Returns an error if it is zero.
    pub fn max_request(mut self, bytes: u64) -> Result<Self, SettingError> {
        if bytes == 0 {
            return Err(SettingError::new("prompts.max_request", "0; at least 1 byte"));
        }
        self.max_request = bytes;
        Ok(self)
    }

    /// Takes the bytes of the request as they are. By default JSON that differs only in white
    /// space, in escapes or in the order of members is the same.
    #[must_use]
    pub fn verbatim(mut self) -> Self {
        self.canonical = false;
        self
    }

    /// Leaves members of the outermost JSON object out of the key, such as [`VOLATILE_FIELDS`]; by
    /// default none. The inner service still sees them.
    ///
    /// Whoever sends other values in them gets the same answer. Do not leave out what tells apart
    /// those who must not share: that is what the [`Scope`](crate::Scope) is for.
    ///
    /// # Errors
    ///
    /// Returns an error if a name is empty or `stream`, which decides over the form of the answer.
    pub fn leave_out<I>(mut self, fields: I) -> Result<Self, SettingError>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        for field in fields {
            let field = field.into();
            if field.is_empty() || field == "stream" {
                let reason = format!("{field:?}; a member that does not change the answer");
                return Err(SettingError::new("prompts.leave_out", reason));
            }
            self.left_out.push(field);
        }
        self.left_out.sort_unstable();
        self.left_out.dedup();
        Ok(self)
    }

    /// Adds a header to the key. Already in it are `Content-Type`, `Content-Encoding`, `Accept`, and
    /// those with which large providers choose a version or an organisation.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.headers.push(name);
        self
    }

    /// For how long an answer is kept and served; [`Duration::MAX`] is forever.
    #[must_use]
    pub const fn lifetime(&self) -> Duration {
        self.ttl
    }

    /// Whether answers are kept until they are purged.
    #[must_use]
    pub const fn is_forever(&self) -> bool {
        self.ttl.as_secs() == u64::MAX
    }

    /// How many bytes of a request are read to find its key.
    #[must_use]
    pub const fn request_limit(&self) -> u64 {
        self.max_request
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        self.pattern.matches(path)
    }

    pub(super) const fn is_canonical(&self) -> bool {
        self.canonical
    }

    pub(super) fn left_out(&self) -> &[String] {
        &self.left_out
    }

    pub(super) fn headers(&self) -> &[HeaderName] {
        &self.headers
    }
}
