//! What goes wrong with a connection, in kinds that point to somebody.

use std::{error::Error, io};

use buttress_core::{BoxError, cause, causes};
use serde::Serialize;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// Somebody is there, and nobody listens.
    Refused,
    /// Nothing came within the time.
    TimedOut,
    /// This machine has no way there.
    NoRoute,
    /// This machine has run out of something: files, ports, memory.
    Exhausted,
    /// The connection broke.
    Broken,
    /// The certificate is not to be believed.
    Certificate,
    /// The TLS handshake failed for another reason.
    Handshake,
    /// What came made no sense.
    Nonsense,
}

/// What went wrong, and what was said about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Trouble {
    /// Its kind.
    pub kind: Kind,
    /// On one line.
    pub text: String,
}

impl Trouble {
    pub(super) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: one_line(&text.into()) }
    }

    pub(super) fn late(what: &str) -> Self {
        Self::new(Kind::TimedOut, format!("no {what} in time"))
    }
}

impl From<BoxError> for Trouble {
    fn from(error: BoxError) -> Self {
        Self::new(kind_of(&*error), innermost(&*error))
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        BoxError::from(error).into()
    }
}

fn kind_of(error: &(dyn Error + 'static)) -> Kind {
    if let Some(error) = cause::<rustls::Error>(error) {
        return match error {
            rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
                Kind::Certificate
            }
            _ => Kind::Handshake,
        };
    }
    let Some(error) = cause::<io::Error>(error) else { return Kind::Nonsense };
    // EMFILE and ENFILE have no kind of their own.
    if matches!(error.raw_os_error(), Some(23 | 24)) && cfg!(unix) {
        return Kind::Exhausted;
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Kind::Refused,
        io::ErrorKind::TimedOut => Kind::TimedOut,
        io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::PermissionDenied => Kind::NoRoute,
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse | io::ErrorKind::OutOfMemory => {
            Kind::Exhausted
        }
        io::ErrorKind::InvalidData => Kind::Nonsense,
        _ => Kind::Broken,
    }
}

/// The error at the bottom knows most.
fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

/// What came from outside goes to a terminal only without its control characters.
pub(super) fn one_line(text: &str) -> String {
    const LONGEST: usize = 240;
    let shown = |character: char| if character.is_control() { ' ' } else { character };
    let text: String = text.chars().map(shown).collect();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_point_to_somebody() {
        let kind = |error: io::Error| Trouble::from(error).kind;
        assert_eq!(kind(io::ErrorKind::ConnectionRefused.into()), Kind::Refused);
        assert_eq!(kind(io::ErrorKind::NetworkUnreachable.into()), Kind::NoRoute);
        assert_eq!(kind(io::ErrorKind::ConnectionReset.into()), Kind::Broken);
        assert_eq!(kind(io::ErrorKind::AddrNotAvailable.into()), Kind::Exhausted);
        #[cfg(unix)]
        assert_eq!(kind(io::Error::from_raw_os_error(24)), Kind::Exhausted);
        let expired = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let trouble = Trouble::from(io::Error::new(io::ErrorKind::InvalidData, expired));
        assert_eq!(trouble.kind, Kind::Certificate);
        assert!(trouble.text.contains("Expired"), "{trouble:?}");
    }

    #[test]
    fn what_came_from_outside_is_one_line_without_escapes() {
        assert_eq!(one_line("a\r\n\x1b[31mb\0c"), "a [31mb c");
        assert_eq!(one_line(&"x".repeat(500)).chars().count(), 241);
    }
}
