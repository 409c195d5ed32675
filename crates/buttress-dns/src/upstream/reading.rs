//! What an answer says: records, an alias to follow, that there is none, or that the server failed.

use std::{net::IpAddr, time::Duration};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType},
};

use super::question::Question;
use crate::{DnsError, DnsErrorKind};

/// Aliases that are followed, over all the answers that it takes.
pub(super) const MOST_ALIASES: usize = 16;

/// Records that are taken from one answer.
pub(super) const MOST_RECORDS: usize = 64;

/// The records of one type, and how long they hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) data: Vec<Data>,
    /// `None` if nobody said.
    pub(super) ttl: Option<Duration>,
}

/// One record of a type that is asked for here.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    Address(IpAddr),
    Service { priority: u16, weight: u16, port: u16, target: Name },
}

/// What one message says.
#[derive(Debug)]
pub(super) enum Reading {
    Found(Found),
    /// The message ends at an alias, and has nothing about what it stands for.
    Alias {
        target: Name,
        aliases: usize,
        ttl: Duration,
    },
    /// There is none, or the server failed.
    Nothing(DnsError),
}

/// Reads the answer to `question`, of which [`Question::is_answered_by`] holds.
///
/// `followed` is how many aliases were followed to this question.
pub(super) fn read(question: &Question, message: &Message, followed: usize) -> Reading {
    let code = message.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Reading::Nothing(failure(code));
    }
    let (mut name, mut aliases, mut ttl) = (question.name(), followed, u32::MAX);
    loop {
        let (data, shortest) = records(message, name, question.kind());
        if !data.is_empty() {
            return Reading::Found(Found { data, ttl: Some(seconds(ttl.min(shortest))) });
        }
        let Some((target, alias_ttl)) = alias(message, name) else { break };
        ttl = ttl.min(alias_ttl);
        aliases += 1;
        if aliases > MOST_ALIASES {
            let error = DnsError::new(DnsErrorKind::Malformed);
            return Reading::Nothing(
                error
                    .because(format!("more than {MOST_ALIASES} aliases lead from one to the next")),
            );
        }
        name = target;
    }
    let none = none(message, code);
    if aliases > followed && none.kind() == DnsErrorKind::NoData && soa(message).is_none() {
        return Reading::Alias { target: name.clone(), aliases, ttl: seconds(ttl) };
    }
    Reading::Nothing(none)
}

/// The records of this type that `name` has, and the shortest time that one of them holds.
fn records(message: &Message, name: &Name, kind: RecordType) -> (Vec<Data>, u32) {
    let mut data = Vec::new();
    let mut shortest = u32::MAX;
    for record in of(message, name).filter(|record| record.record_type() == kind) {
        let Some(found) = datum(&record.data) else { continue };
        shortest = shortest.min(ttl_of(record));
        if data.len() < MOST_RECORDS && !data.contains(&found) {
            data.push(found);
        }
    }
    (data, shortest)
}

fn datum(data: &RData) -> Option<Data> {
    match data {
        RData::A(address) => Some(Data::Address(address.0.into())),
        RData::AAAA(address) => Some(Data::Address(address.0.into())),
        RData::SRV(service) => Some(Data::Service {
            priority: service.priority,
            weight: service.weight,
            port: service.port,
            target: service.target.clone(),
        }),
        _ => None,
    }
}

fn alias<'a>(message: &'a Message, name: &'a Name) -> Option<(&'a Name, u32)> {
    of(message, name).find_map(|record| match &record.data {
        RData::CNAME(target) => Some((&target.0, ttl_of(record))),
        _ => None,
    })
}

fn of<'a>(message: &'a Message, name: &'a Name) -> impl Iterator<Item = &'a Record> {
    let ours = move |record: &&Record| record.dns_class == DNSClass::IN && record.name == *name;
    message.answers.iter().filter(ours)
}

/// RFC 2181, section 8: a time with the highest bit set is none.
const fn ttl_of(record: &Record) -> u32 {
    if record.ttl > i32::MAX.unsigned_abs() { 0 } else { record.ttl }
}

const fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl as u64)
}

/// That there is none, and for how long that holds (RFC 2308, section 5).
fn none(message: &Message, code: ResponseCode) -> DnsError {
    if code == ResponseCode::NXDomain {
        return valid(DnsError::new(DnsErrorKind::NxDomain), message);
    }
    let refers = message.authorities.iter().any(|record| matches!(record.data, RData::NS(_)));
    if message.answers.is_empty() && refers && soa(message).is_none() {
        let error = DnsError::new(DnsErrorKind::ServFail).with_rcode(0);
        return error.because("the server only knows which other servers to ask");
    }
    valid(DnsError::new(DnsErrorKind::NoData), message)
}

fn valid(error: DnsError, message: &Message) -> DnsError {
    match soa(message) {
        Some(ttl) => error.valid_for(seconds(ttl)),
        None => error,
    }
}

fn soa(message: &Message) -> Option<u32> {
    message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(ttl_of(record).min(soa.minimum)),
        _ => None,
    })
}

fn failure(code: ResponseCode) -> DnsError {
    let kind = match code {
        ResponseCode::ServFail => DnsErrorKind::ServFail,
        ResponseCode::Refused => DnsErrorKind::Refused,
        _ => DnsErrorKind::Rcode,
    };
    DnsError::new(kind).with_rcode(code.into()).because(code.to_str())
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::{A, CNAME, NS, SOA};
    use proptest::prelude::*;

    use super::{super::question::parse_name, *};

    fn question() -> Question {
        Question::parse("a.test", RecordType::A).unwrap()
    }

    fn name(written: &str) -> Name {
        parse_name(written).unwrap()
    }

    fn message(answers: Vec<Record>) -> Message {
        let mut message = question().message(1, false).into_response();
        message.add_answers(answers);
        message
    }

    fn address(owner: &str, ttl: u32, last: u8) -> Record {
        Record::from_rdata(name(owner), ttl, RData::A(A::new(10, 0, 0, last)))
    }

    fn to(owner: &str, ttl: u32, target: &str) -> Record {
        Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
    }

    fn soa_record(ttl: u32, minimum: u32) -> Record {
        let soa = SOA::new(name("ns.test"), name("who.test"), 1, 1, 1, 1, minimum);
        Record::from_rdata(name("test"), ttl, RData::SOA(soa))
    }

    fn found(message: &Message) -> (usize, u64) {
        match read(&question(), message, 0) {
            Reading::Found(found) => (found.data.len(), found.ttl.unwrap().as_secs()),
            other => panic!("{other:?}"),
        }
    }

    fn nothing(message: &Message) -> (DnsErrorKind, Option<u64>) {
        match read(&question(), message, 0) {
            Reading::Nothing(error) => (error.kind(), error.ttl().map(|ttl| ttl.as_secs())),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_shortest_time_on_the_way_counts() {
        let both = [address("a.test", 60, 1), address("a.test", 30, 2)];
        assert_eq!(found(&message(both.into())), (2, 30));
        let aliased = [to("a.test", 5, "b.test"), address("b.test", 60, 1)];
        assert_eq!(found(&message(aliased.into())), (1, 5));
    }

    #[test]
    fn a_time_with_the_highest_bit_set_is_none() {
        let of = |ttl| found(&message(vec![address("a.test", ttl, 1)])).1;
        assert_eq!(of(0), 0);
        assert_eq!(of(0x7fff_ffff), 0x7fff_ffff);
        assert_eq!(of(0x8000_0000), 0);
        assert_eq!(of(u32::MAX), 0);
    }

    #[test]
    fn records_of_another_name_are_not_ours() {
        assert_eq!(nothing(&message(vec![address("b.test", 60, 1)])), (DnsErrorKind::NoData, None));
    }

    #[test]
    fn the_same_record_twice_is_one_and_there_is_a_bound() {
        let twice = vec![address("a.test", 60, 1), address("a.test", 60, 1)];
        assert_eq!(found(&message(twice)).0, 1);
        let many = (0..200).map(|last| address("a.test", 60, last)).collect();
        assert_eq!(found(&message(many)).0, MOST_RECORDS);
    }

    #[test]
    fn a_negative_answer_holds_for_the_lesser_of_the_two_times_of_its_soa() {
        let mut none = message(Vec::new());
        assert_eq!(nothing(&none), (DnsErrorKind::NoData, None));
        none.add_authority(soa_record(300, 20));
        assert_eq!(nothing(&none), (DnsErrorKind::NoData, Some(20)));
        none.metadata.response_code = ResponseCode::NXDomain;
        assert_eq!(nothing(&none), (DnsErrorKind::NxDomain, Some(20)));
        none.authorities = vec![soa_record(7, 20)];
        assert_eq!(nothing(&none), (DnsErrorKind::NxDomain, Some(7)));
    }

    #[test]
    fn an_alias_to_nowhere_is_no_such_name() {
        let mut none = message(vec![to("a.test", 60, "b.test")]);
        none.metadata.response_code = ResponseCode::NXDomain;
        assert_eq!(nothing(&none).0, DnsErrorKind::NxDomain);
    }

    #[test]
    fn an_alias_that_the_server_did_not_follow_is_to_be_followed() {
        let alias = message(vec![to("a.test", 60, "b.test")]);
        let Reading::Alias { target, aliases, ttl } = read(&question(), &alias, 3) else {
            panic!("not to be followed");
        };
        assert_eq!((target, aliases, ttl.as_secs()), (name("b.test"), 4, 60));
        let mut nodata = alias;
        nodata.add_authority(soa_record(300, 20));
        assert_eq!(nothing(&nodata), (DnsErrorKind::NoData, Some(20)));
    }

    #[test]
    fn an_alias_to_itself_ends() {
        assert_eq!(nothing(&message(vec![to("a.test", 60, "a.test")])).0, DnsErrorKind::Malformed);
        let round = vec![to("a.test", 60, "b.test"), to("b.test", 60, "a.test")];
        assert_eq!(nothing(&message(round)).0, DnsErrorKind::Malformed);
    }

    #[test]
    fn a_referral_is_no_answer() {
        let mut referral = message(Vec::new());
        let server = RData::NS(NS(name("ns.test")));
        referral.add_authority(Record::from_rdata(name("test"), 60, server));
        assert_eq!(nothing(&referral).0, DnsErrorKind::ServFail);
    }

    #[test]
    fn the_code_of_a_server_that_failed_is_kept() {
        for (code, kind, number) in [
            (ResponseCode::ServFail, DnsErrorKind::ServFail, 2),
            (ResponseCode::Refused, DnsErrorKind::Refused, 5),
            (ResponseCode::NotImp, DnsErrorKind::Rcode, 4),
        ] {
            let error = failure(code);
            assert_eq!((error.kind(), error.rcode()), (kind, Some(number)));
        }
    }

    proptest! {
        #[test]
        fn chains_end_and_long_ones_fail(length in 0_usize..40) {
            let mut answers = vec![address(&format!("n{length}.test"), 60, 1)];
            answers.push(to("a.test", 60, "n0.test"));
            answers.extend((0..length).map(|at| {
                to(&format!("n{at}.test"), 60, &format!("n{}.test", at + 1))
            }));
            let reached = matches!(read(&question(), &message(answers), 0), Reading::Found(_));
            prop_assert_eq!(reached, length < MOST_ALIASES);
        }
    }
}
