//! Looks the name up by each resolver, a few times.

use std::{net::IpAddr, time::Duration};

use buttress_dns::{Answer, DnsError, DnsErrorKind, Server, System, Upstreams};
use futures_util::future::join_all;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::time::{Instant, timeout};
use tower_service::Service as _;

use super::{arguments::Plan, findings::Lookup, times::Series, trouble::one_line};

/// After one family has come, for so long the other is waited for (RFC 8305, section 3).
const OTHER_FAMILY: Duration = Duration::from_millis(50);

/// All resolvers at the same time, and each of them one lookup after another.
pub(super) async fn all(plan: &Plan) -> Vec<Lookup> {
    if plan.target.address().is_some() {
        return Vec::new();
    }
    let each = plan.resolvers.iter().enumerate();
    join_all(each.map(|(place, server)| by(plan, server, place == 0))).await
}

/// The resolver that is fastest, of those that found something.
pub(super) fn fastest(lookups: &[Lookup]) -> Option<String> {
    let found = lookups.iter().filter(|lookup| !lookup.addresses.is_empty());
    let timed = found.filter_map(|lookup| Some((lookup, lookup.times.p50_ms()?)));
    let best = timed.min_by(|one, other| one.1.total_cmp(&other.1))?;
    (lookups.len() > 1).then(|| best.0.resolver.clone())
}

async fn by(plan: &Plan, server: &Server, own: bool) -> Lookup {
    let resolver = server.label().to_owned();
    let mut series = Series::default();
    let mut lookup = Lookup {
        resolver,
        own,
        times: series.times(),
        addresses: Vec::new(),
        error: None,
        reached: false,
        untrusted: false,
    };
    let made = upstreams(plan, server);
    let (mut upstreams, name) = match (made, plan.target.name.to_question().parse::<Name>()) {
        (Ok(upstreams), Ok(name)) => (upstreams, name),
        (Err(error), _) => return Lookup { error: Some(error), ..lookup },
        (_, Err(error)) => return Lookup { error: Some(error.to_string()), ..lookup },
    };
    for _ in 0..plan.lookups {
        if plan.is_over() {
            break;
        }
        let start = Instant::now();
        let answered = timeout(plan.patience(), ask(&mut upstreams, name.clone())).await;
        match answered.unwrap_or_else(|_| Err(DnsError::new(DnsErrorKind::Timeout))) {
            Ok(addresses) => {
                series.took(start.elapsed());
                lookup.reached = true;
                lookup.addresses = addresses;
            }
            Err(error) => {
                series.failed();
                lookup.reached |= answered_at_all(error.kind());
                lookup.untrusted = error.kind() == DnsErrorKind::Tls;
                lookup.error = Some(one_line(&told(&error)));
                // It would say the same again, or say nothing for as long again.
                break;
            }
        }
    }
    lookup.times = series.times();
    lookup
}

fn upstreams(plan: &Plan, server: &Server) -> Result<Upstreams, String> {
    let patience = plan.patience().max(Duration::from_millis(1));
    let made = || {
        let system = System::new().patience(patience)?;
        let upstreams = Upstreams::new([server.clone()])?.timeout(patience)?.with_system(system);
        match &plan.ca {
            Some(pem) => upstreams.trust(pem),
            None => Ok(upstreams),
        }
    };
    made().map_err(|error| error.to_string())
}

async fn ask(upstreams: &mut Upstreams, name: Name) -> Result<Vec<IpAddr>, DnsError> {
    let answer = upstreams.call(name).await?;
    first_come(answer).await
}

/// The addresses of whichever family has some first, and those of the other if it is not late.
async fn first_come(answer: Answer) -> Result<Vec<IpAddr>, DnsError> {
    let (mut v4, mut v6) = answer.into_sides();
    let (mut found, mut failure) = (Vec::new(), None);
    let (mut have_v4, mut have_v6) = (false, false);
    let mut until: Option<Instant> = None;
    while !(have_v4 && have_v6) {
        let late = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let learned = tokio::select! {
            learned = &mut v4, if !have_v4 => { have_v4 = true; learned }
            learned = &mut v6, if !have_v6 => { have_v6 = true; learned }
            () = late => break,
        };
        match learned {
            Ok(records) => found.extend(records.addresses().iter().map(|address| address.ip())),
            Err(error) => failure = Some(error),
        }
        if !found.is_empty() && until.is_none() {
            until = Some(Instant::now() + OTHER_FAMILY);
        }
    }
    if found.is_empty() {
        return Err(failure.unwrap_or_else(|| DnsError::new(DnsErrorKind::NoData)));
    }
    Ok(found)
}

const fn answered_at_all(kind: DnsErrorKind) -> bool {
    !matches!(kind, DnsErrorKind::Timeout | DnsErrorKind::Io | DnsErrorKind::Tls)
}

fn told(error: &DnsError) -> String {
    if !error.kind().may_pass() {
        // What is below only tells a retry to leave it alone.
        return error.to_string();
    }
    match buttress_core::causes(error).last() {
        Some(below) if below.is::<DnsError>() => error.to_string(),
        Some(below) => format!("{error}: {below}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::times::Times, *};

    fn lookup(resolver: &str, ms: Option<f64>) -> Lookup {
        let addresses = if ms.is_some() { vec![[192, 0, 2, 1].into()] } else { Vec::new() };
        Lookup {
            resolver: resolver.to_owned(),
            own: false,
            times: ms.map_or_else(|| Times::of(0, 0.0, 1), |ms| Times::of(3, ms, 0)),
            addresses,
            error: None,
            reached: ms.is_some(),
            untrusted: false,
        }
    }

    #[test]
    fn the_fastest_is_named_if_there_is_a_choice() {
        let all = [lookup("a", Some(9.0)), lookup("b", None), lookup("c", Some(2.0))];
        assert_eq!(fastest(&all).as_deref(), Some("c"));
        assert_eq!(fastest(&all[1..2]), None);
        assert_eq!(fastest(&all[..1]), None);
        assert_eq!(fastest(&[]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_family_is_waited_for_briefly() {
        use buttress_dns::{Records, Side};
        let side = |after: u64, address: &str| {
            let records = Records::new([address.parse().unwrap()], None);
            Side::coming(async move {
                tokio::time::sleep(Duration::from_millis(after)).await;
                Ok(records)
            })
        };
        let answer = || Answer::new(side(10, "192.0.2.1:0"), side(40, "[2001:db8::1]:0"));
        assert_eq!(first_come(answer()).await.unwrap().len(), 2);
        let answer = || Answer::new(side(10, "192.0.2.1:0"), side(90, "[2001:db8::1]:0"));
        let start = Instant::now();
        assert_eq!(first_come(answer()).await.unwrap().len(), 1);
        assert_eq!(start.elapsed(), Duration::from_millis(60));
    }
}
