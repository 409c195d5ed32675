//! What the errors of hyper, hyper-util and h2 say about a request.

use std::{error::Error, io};

use h2::Reason;
use hyper_util::client::legacy;

use crate::{InvalidRequest, Outcome, cause, causes};

/// Judges an error of one of the three crates; `None` for others, and where a source says more.
pub(crate) fn known(error: &(dyn Error + 'static)) -> Option<Outcome> {
    if let Some(error) = error.downcast_ref::<legacy::Error>() {
        return error.is_connect().then(|| connect(error));
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return http(error);
    }
    error.downcast_ref::<h2::Error>().map(stream)
}

/// Whether the client says that it got no connection.
pub(crate) fn failed_to_connect(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect)
}

/// No connection, so nothing was sent; a peer whose certificate is wrong will stay wrong, and so will
/// a host that does not exist.
fn connect(error: &legacy::Error) -> Outcome {
    if cause::<InvalidRequest>(error).is_some() {
        return Outcome::Rejected;
    }
    let invalid = causes(error)
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::InvalidData);
    if invalid { Outcome::Rejected } else { Outcome::NotSent }
}

fn http(error: &hyper::Error) -> Option<Outcome> {
    if error.is_canceled() {
        // hyper's word for a request that the connection never took.
        return Some(Outcome::NotSent);
    }
    if error.is_user() {
        return Some(Outcome::Rejected);
    }
    if error.is_timeout() {
        return Some(Outcome::Timeout);
    }
    if cause::<h2::Error>(error).is_some() {
        return None;
    }
    Some(Outcome::Transient)
}

/// RFC 9113 section 8.7: a refused stream, and one above the last identifier of a GOAWAY, were not
/// processed. h2 reports the latter as the GOAWAY itself.
fn stream(error: &h2::Error) -> Outcome {
    match error.reason() {
        Some(Reason::REFUSED_STREAM) => Outcome::NotSent,
        Some(Reason::NO_ERROR) if error.is_go_away() && error.is_remote() => Outcome::NotSent,
        Some(Reason::ENHANCE_YOUR_CALM) => Outcome::Overloaded,
        _ => Outcome::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_stream_was_not_processed() {
        let of = |reason: Reason| Outcome::of_error(&h2::Error::from(reason));
        assert_eq!(of(Reason::REFUSED_STREAM), Outcome::NotSent);
        assert_eq!(of(Reason::ENHANCE_YOUR_CALM), Outcome::Overloaded);
        assert_eq!(of(Reason::CANCEL), Outcome::Transient);
        assert_eq!(of(Reason::NO_ERROR), Outcome::Transient);
    }
}
