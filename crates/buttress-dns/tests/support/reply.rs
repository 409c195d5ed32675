//! What the name server says to one question.

use std::{net::IpAddr, time::Duration};

use hickory_proto::{
    op::ResponseCode,
    rr::{
        Name, RData, Record, RecordType,
        rdata::{CNAME, SOA, SRV},
    },
};

use super::names::Asked;

/// An answer, or none, after some time.
#[derive(Clone)]
pub struct Reply {
    pub delay: Duration,
    pub silent: bool,
    pub truncated: bool,
    pub code: ResponseCode,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
}

impl Reply {
    /// `NOERROR` without a record, and without an SOA.
    pub fn nothing() -> Self {
        Self {
            delay: Duration::ZERO,
            silent: false,
            truncated: false,
            code: ResponseCode::NoError,
            answers: Vec::new(),
            authorities: Vec::new(),
        }
    }

    /// No answer at all.
    pub fn silence() -> Self {
        Self { silent: true, ..Self::nothing() }
    }

    pub fn code(code: ResponseCode) -> Self {
        Self { code, ..Self::nothing() }
    }

    /// Those of the addresses that are of the kind that was asked for.
    pub fn addresses(asked: &Asked, written: &[&str], ttl: u32) -> Self {
        written.iter().fold(Self::nothing(), |reply, address| {
            reply.and_address(&asked.name, asked.kind, address, ttl)
        })
    }

    fn and_address(self, owner: &str, kind: RecordType, written: &str, ttl: u32) -> Self {
        let data = match written.parse().unwrap() {
            IpAddr::V4(address) => RData::A(address.into()),
            IpAddr::V6(address) => RData::AAAA(address.into()),
        };
        if data.record_type() == kind { self.and(owner, ttl, data) } else { self }
    }

    pub fn and_alias(self, owner: &str, target: &str, ttl: u32) -> Self {
        self.and(owner, ttl, RData::CNAME(CNAME(absolute(target))))
    }

    pub fn and_service(self, owner: &str, order: (u16, u16), port: u16, target: &str) -> Self {
        let data = SRV::new(order.0, order.1, port, absolute(target));
        self.and(owner, 60, RData::SRV(data))
    }

    pub fn and(mut self, owner: &str, ttl: u32, data: RData) -> Self {
        self.answers.push(Record::from_rdata(absolute(owner), ttl, data));
        self
    }

    /// The SOA that says how long "there is none" may be believed.
    pub fn with_soa(mut self, zone: &str, ttl: u32, minimum: u32) -> Self {
        let soa =
            SOA::new(absolute("ns.test"), absolute("who.test"), 1, 3600, 600, 86_400, minimum);
        self.authorities.push(Record::from_rdata(absolute(zone), ttl, RData::SOA(soa)));
        self
    }

    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    pub fn truncated(self) -> Self {
        Self { truncated: true, ..self }
    }
}

pub fn absolute(written: &str) -> Name {
    let mut name = Name::from_ascii(written).unwrap();
    name.set_fqdn(true);
    name
}
