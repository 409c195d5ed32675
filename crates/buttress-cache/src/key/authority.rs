//! The authority of a target URI in the one form that all its spellings share.

use http::{HeaderMap, header};

use super::Unkeyed;

/// The `Host` header, if there is one and it says something. Several are an attack or a mistake
/// (RFC 9110, section 7.2).
pub(super) fn host(headers: &HeaderMap) -> Result<Option<&[u8]>, Unkeyed> {
    let mut lines = headers.get_all(header::HOST).iter();
    let host = lines.next().map(|line| line.as_bytes().trim_ascii());
    match lines.next() {
        Some(_) => Err(Unkeyed::InvalidHost),
        None => Ok(host.filter(|host| !host.is_empty())),
    }
}

/// Appends the authority of the URI or, without one, that of the `Host` header. A request may have
/// neither, in HTTP/1.0 and inside of a program, and both only if they agree.
pub(super) fn write_agreed(
    own: Option<&[u8]>,
    host: Option<&[u8]>,
    scheme: &str,
    out: &mut String,
) -> Result<(), Unkeyed> {
    let start = out.len();
    if let Some(first) = own.or(host) {
        write(first, scheme, out)?;
    }
    let (Some(own), Some(host)) = (own, host) else {
        return Ok(());
    };
    let mut other = String::new();
    if own != host {
        write(host, scheme, &mut other)?;
    }
    let agreed = own == host || out[start..] == other;
    agreed.then_some(()).ok_or(Unkeyed::AuthorityMismatch)
}

/// An authority in the one form that all its spellings share, if it is one.
pub(super) fn spelt_alike(authority: &[u8], scheme: &str) -> Option<Vec<u8>> {
    let mut out = String::with_capacity(authority.len());
    write(authority.trim_ascii(), scheme, &mut out).ok()?;
    Some(out.into_bytes())
}

/// Appends `authority` to `out`: the host in lower case, and the port unless it is the scheme's own
/// (RFC 3986, sections 6.2.2.1 and 6.2.3).
fn write(authority: &[u8], scheme: &str, out: &mut String) -> Result<(), Unkeyed> {
    let (host, port) = split(authority)?;
    let start = out.len();
    for &byte in host {
        if !is_host_byte(byte) {
            out.truncate(start);
            return Err(if byte == b'@' { Unkeyed::UserInfo } else { Unkeyed::InvalidHost });
        }
        out.push(char::from(byte.to_ascii_lowercase()));
    }
    let Some(port) = port_number(port)? else {
        return Ok(());
    };
    if default_port(scheme) != Some(port) {
        out.push(':');
        out.push_str(&port.to_string());
    }
    Ok(())
}

/// Host and port, the latter empty where there is none.
fn split(authority: &[u8]) -> Result<(&[u8], &[u8]), Unkeyed> {
    if authority.contains(&b'@') {
        return Err(Unkeyed::UserInfo);
    }
    let literal = authority.first() == Some(&b'[');
    let end = if literal {
        authority.iter().position(|&byte| byte == b']').map(|at| at + 1)
    } else {
        Some(authority.iter().position(|&byte| byte == b':').unwrap_or(authority.len()))
    };
    let (host, rest) = authority.split_at(end.ok_or(Unkeyed::InvalidHost)?);
    let brackets = host.iter().filter(|byte| matches!(byte, b'[' | b']')).count();
    if host.is_empty() || brackets != if literal { 2 } else { 0 } {
        return Err(Unkeyed::InvalidHost);
    }
    match rest {
        [] => Ok((host, rest)),
        [b':', port @ ..] => Ok((host, port)),
        _ => Err(Unkeyed::InvalidHost),
    }
}

/// An empty port is none (RFC 3986, section 6.2.3).
fn port_number(port: &[u8]) -> Result<Option<u16>, Unkeyed> {
    if port.is_empty() {
        return Ok(None);
    }
    let digits = port.iter().all(u8::is_ascii_digit).then_some(port);
    let number = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    number.map(Some).ok_or(Unkeyed::InvalidHost)
}

fn default_port(scheme: &str) -> Option<u16> {
    let known = [("http", 80), ("https", 443)];
    known.iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme)).map(|&(_, port)| port)
}

/// What RFC 3986, section 3.2.2, lets a host be made of.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%:[]".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(authority: &str, scheme: &str) -> Result<String, Unkeyed> {
        let mut out = String::new();
        write(authority.as_bytes(), scheme, &mut out).map(|()| out)
    }

    #[test]
    fn spellings_of_one_authority_meet() {
        for spelling in ["a.example", "A.Example", "a.example:80", "a.example:", "a.example:0080"] {
            assert_eq!(written(spelling, "http").as_deref(), Ok("a.example"), "{spelling}");
        }
        for spelling in ["[2001:DB8::1]", "[2001:db8::1]:443", "[2001:db8::1]:"] {
            assert_eq!(written(spelling, "https").as_deref(), Ok("[2001:db8::1]"), "{spelling}");
        }
    }

    #[test]
    fn a_port_that_is_not_the_schemes_own_stays() {
        assert_eq!(written("a:443", "http").as_deref(), Ok("a:443"));
        assert_eq!(written("a:80", "https").as_deref(), Ok("a:80"));
        assert_eq!(written("a:80", "ws").as_deref(), Ok("a:80"));
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        let wrong =
            ["", ":80", "a b", "a/b", "a:b", "a:1:2", "a:65536", "a:+80", "[::1", "::1", "[]x"];
        for authority in wrong.into_iter().chain(["a]", "[[a]]", "a\u{e9}", "a,b c", "a\\b", "a?b"])
        {
            assert_eq!(written(authority, "http"), Err(Unkeyed::InvalidHost), "{authority}");
        }
        assert_eq!(written("user@a", "http"), Err(Unkeyed::UserInfo));
        assert_eq!(written("[@]", "http"), Err(Unkeyed::UserInfo));
    }
}
