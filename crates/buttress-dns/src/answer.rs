//! What a resolver answers, one family of addresses at a time.

use std::{
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use crate::DnsError;

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there are two")]
pub enum Family {
    /// IPv4, records of type `A`.
    V4,
    /// IPv6, records of type `AAAA`.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: &SocketAddr) -> Self {
        match address {
            SocketAddr::V4(_) => Self::V4,
            SocketAddr::V6(_) => Self::V6,
        }
    }

    /// The type of its records: `A` or `AAAA`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "A",
            Self::V6 => "AAAA",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The addresses of one family, and for how long they hold.
///
/// Without addresses it says that the name exists and has none of them (`NODATA`), for as long as
/// the TTL says (RFC 2308). Addresses have port 0 unless the answer chooses the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    addresses: Arc<[SocketAddr]>,
    ttl: Option<Duration>,
}

impl Records {
    /// These addresses. Without a TTL, they hold for as long as the layer's default says.
    #[must_use]
    pub fn new(addresses: impl Into<Arc<[SocketAddr]>>, ttl: Option<Duration>) -> Self {
        Self { addresses: addresses.into(), ttl }
    }

    /// The name has no address of the family.
    #[must_use]
    pub fn none(ttl: Option<Duration>) -> Self {
        Self::new([], ttl)
    }

    /// The addresses.
    #[must_use]
    pub const fn addresses(&self) -> &Arc<[SocketAddr]> {
        &self.addresses
    }

    /// For how long they hold.
    #[must_use]
    pub const fn ttl(&self) -> Option<Duration> {
        self.ttl
    }

    /// Whether the name has no address of the family.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }
}

/// What is learned of one family.
pub type Learned = Result<Records, DnsError>;

/// What an answer has of one family: here already, or on its way.
///
/// As any future it does nothing until it is polled. So a resolver hands out both sides at once and
/// sends the query for a side when that is first polled; a side that nobody needs is dropped and
/// never asked for.
#[must_use = "a side does nothing unless it is polled"]
pub struct Side(State);

enum State {
    Here(Option<Learned>),
    Coming(Pin<Box<dyn Future<Output = Learned> + Send>>),
}

impl Side {
    /// It is here.
    pub const fn here(learned: Learned) -> Self {
        Self(State::Here(Some(learned)))
    }

    /// It is here once `learning` is done.
    pub fn coming(learning: impl Future<Output = Learned> + Send + 'static) -> Self {
        Self(State::Coming(Box::pin(learning)))
    }

    /// Whether it is here already.
    pub(crate) const fn is_here(&self) -> bool {
        matches!(self.0, State::Here(_))
    }
}

impl Future for Side {
    type Output = Learned;

    /// # Panics
    ///
    /// If it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Learned> {
        match &mut self.0 {
            // Here => done
            State::Here(learned) => match learned.take() {
                Some(learned) => Poll::Ready(learned),
                None => panic!("a side was polled after it was ready"),
            },
            // Coming => Here
            State::Coming(learning) => learning.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            State::Here(learned) => f.debug_tuple("Here").field(learned).finish(),
            State::Coming(_) => f.write_str("Coming"),
        }
    }
}

/// An answer that knows how long it holds: two sides, one for each family.
///
/// A family that the resolver does not ask for (because the machine has no such address, say) is a
/// side with no addresses and no TTL.
///
/// ```
/// use buttress_dns::{Answer, Records, Side};
/// use std::time::Duration;
///
/// let found = Records::new([([192, 0, 2, 1], 0).into()], Some(Duration::from_secs(60)));
/// let later = async { Ok(Records::none(Some(Duration::from_secs(5)))) };
/// let answer = Answer::new(Side::here(Ok(found)), Side::coming(later));
/// # drop(answer);
/// ```
#[must_use = "an answer does nothing unless its sides are polled"]
#[derive(Debug)]
pub struct Answer {
    v4: Side,
    v6: Side,
}

impl Answer {
    /// An answer of these two sides.
    pub const fn new(v4: Side, v6: Side) -> Self {
        Self { v4, v6 }
    }

    /// An answer that is here whole, its addresses told apart by family.
    pub fn of(addresses: impl IntoIterator<Item = SocketAddr>, ttl: Option<Duration>) -> Self {
        let (v4, v6): (Vec<_>, Vec<_>) =
            addresses.into_iter().take(MOST).partition(SocketAddr::is_ipv4);
        Self::new(Side::here(Ok(Records::new(v4, ttl))), Side::here(Ok(Records::new(v6, ttl))))
    }

    /// The two sides, IPv4 first.
    pub fn into_sides(self) -> (Side, Side) {
        (self.v4, self.v6)
    }
}

/// More addresses than this are not taken from a plain resolver.
const MOST: usize = 256;

/// What a resolver under the layer answers with: an [`Answer`], or any iterator of addresses, as
/// hyper-util's own resolver does.
///
/// An iterator tells no TTL, so the default of the layer holds.
pub trait IntoAnswer {
    /// The answer that it is.
    fn into_answer(self) -> Answer;
}

impl IntoAnswer for Answer {
    fn into_answer(self) -> Answer {
        self
    }
}

impl<I: Iterator<Item = SocketAddr>> IntoAnswer for I {
    fn into_answer(self) -> Answer {
        Answer::of(self, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(of: Learned) -> Vec<String> {
        of.unwrap().addresses().iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn a_plain_answer_is_told_apart_by_family() {
        let mixed: [SocketAddr; 3] = [
            ([192, 0, 2, 1], 0).into(),
            "[2001:db8::1]:0".parse().unwrap(),
            ([192, 0, 2, 2], 7).into(),
        ];
        let (v4, v6) = mixed.into_iter().into_answer().into_sides();
        assert_eq!(addresses(v4.await), ["192.0.2.1:0", "192.0.2.2:7"]);
        assert_eq!(addresses(v6.await), ["[2001:db8::1]:0"]);
    }

    #[tokio::test]
    async fn a_side_that_nobody_polls_asks_nobody() {
        let asked = async { panic!("asked") };
        let answer = Answer::new(Side::here(Ok(Records::none(None))), Side::coming(asked));
        let (v4, v6) = answer.into_sides();
        drop(v6);
        assert!(v4.await.unwrap().is_empty());
    }
}
