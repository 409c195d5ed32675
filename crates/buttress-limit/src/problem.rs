//! Problem details (RFC 9457) of a denial, with the types that the IETF draft registers.

use bytes::Bytes;
use http::StatusCode;

use crate::limiter::DeniedKind;

/// The types, with the titles that go with them.
const QUOTA: &str = r#""type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Request cannot be satisfied as assigned quota has been exceeded""#;
const CAPACITY: &str = r#""type":"https://iana.org/assignments/http-problem-types#temporary-reduced-capacity","title":"Request cannot be satisfied due to temporary server capacity constraints""#;

/// The problem of a request that does not fit into these windows. Their names are printable ASCII.
pub(crate) fn of<'a>(
    status: StatusCode,
    kind: DeniedKind,
    violated: impl IntoIterator<Item = &'a str>,
) -> Bytes {
    let head = if status == StatusCode::SERVICE_UNAVAILABLE { CAPACITY } else { QUOTA };
    let mut text = format!(
        r#"{{{head},"status":{},"detail":"{}","violated-policies":["#,
        status.as_u16(),
        kind.reason()
    );
    for (i, name) in violated.into_iter().enumerate() {
        text.push_str(if i == 0 { "\"" } else { ",\"" });
        for letter in name.chars() {
            if matches!(letter, '"' | '\\') {
                text.push('\\');
            }
            text.push(letter);
        }
        text.push('"');
    }
    text.push_str("]}");
    text.into()
}
