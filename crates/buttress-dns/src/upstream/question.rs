//! What is asked, as a message, and which messages answer it.

use hickory_proto::{
    op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RecordType},
    serialize::binary::{BinDecodable as _, BinDecoder},
};

use crate::{DnsError, DnsErrorKind};

/// The largest answer over UDP that is asked for; what passes without being cut into fragments.
pub(super) const PAYLOAD: u16 = 1_232;

/// One name and one type of record.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Question {
    name: Name,
    kind: RecordType,
}

/// What a datagram turned out to be.
#[derive(Debug)]
pub(super) enum Heard {
    /// The answer, in full or as far as it fitted.
    Answer(Box<Message>),
    /// An answer that did not fit. The rest of it may be anything.
    Truncated,
    /// It claims to be the answer, and makes no sense.
    Nonsense,
    /// It answers something else.
    Foreign,
}

impl Question {
    /// Reads a name as it is written, with or without the dot at its end.
    pub(super) fn parse(written: &str, kind: RecordType) -> Result<Self, DnsError> {
        Ok(Self { name: parse_name(written)?, kind })
    }

    pub(super) const fn name(&self) -> &Name {
        &self.name
    }

    pub(super) const fn kind(&self) -> RecordType {
        self.kind
    }

    /// The same type of another name, to which the first one is an alias.
    pub(super) fn of(&self, name: Name) -> Self {
        Self { name, kind: self.kind }
    }

    /// The message that asks it. Without EDNS for servers that do not know it.
    pub(super) fn message(&self, id: u16, edns: bool) -> Message {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(self.name.clone(), self.kind));
        if edns {
            let mut edns = Edns::new();
            edns.set_max_payload(PAYLOAD);
            message.set_edns(edns);
        }
        message
    }

    /// Whether this message is an answer to the question, whoever sent it.
    pub(super) fn is_answered_by(&self, message: &Message) -> bool {
        if message.metadata.message_type != MessageType::Response
            || message.metadata.op_code != OpCode::Query
        {
            return false;
        }
        match message.queries.as_slice() {
            [query] => {
                query.name == self.name
                    && query.query_type == self.kind
                    && query.query_class == DNSClass::IN
            }
            // A server that cannot read a question does not repeat it.
            [] => matches!(
                message.metadata.response_code,
                ResponseCode::FormErr | ResponseCode::NotImp
            ),
            _ => false,
        }
    }

    /// Judges a datagram that came from the server's address.
    pub(super) fn judge(&self, id: u16, bytes: &[u8]) -> Heard {
        let Ok(header) = Header::read(&mut BinDecoder::new(bytes)) else {
            return Heard::Foreign;
        };
        let metadata = header.metadata;
        if metadata.id != id || metadata.message_type != MessageType::Response {
            return Heard::Foreign;
        }
        match Message::from_vec(bytes) {
            Ok(message) if !self.is_answered_by(&message) => Heard::Foreign,
            Ok(message) if message.metadata.truncation => Heard::Truncated,
            Ok(message) => Heard::Answer(Box::new(message)),
            Err(_) if metadata.truncation => Heard::Truncated,
            Err(_) => Heard::Nonsense,
        }
    }
}

/// Reads a name that is absolute, whether or not the dot at its end is written.
pub(super) fn parse_name(written: &str) -> Result<Name, DnsError> {
    let invalid = |reason: &str| {
        Err(DnsError::new(DnsErrorKind::InvalidName).of_name(written).because(reason))
    };
    if written.trim_end_matches('.').is_empty() {
        return invalid("it is empty");
    }
    // To the library a backslash begins an escape; in the name of a host it means nothing.
    if written.contains('\\') || !written.is_ascii() {
        return invalid("it has a character that no name has");
    }
    match Name::from_ascii(written) {
        Ok(mut name) => {
            name.set_fqdn(true);
            Ok(name)
        }
        Err(error) => invalid(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::{RData, Record, rdata::A};
    use proptest::prelude::*;

    use super::*;

    fn question() -> Question {
        Question::parse("api.test", RecordType::A).unwrap()
    }

    fn answer(change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let question = question();
        let mut message = question.message(7, true).into_response();
        let data = RData::A(A::new(127, 0, 0, 1));
        message.add_answer(Record::from_rdata(question.name, 60, data));
        change(&mut message);
        message.to_vec().unwrap()
    }

    #[test]
    fn an_answer_is_recognised_by_id_question_and_direction() {
        let hear = |bytes: Vec<u8>| question().judge(7, &bytes);
        assert!(matches!(hear(answer(|_| {})), Heard::Answer(_)));
        assert!(matches!(hear(answer(|given| given.metadata.id = 8)), Heard::Foreign));
        let query = answer(|given| given.metadata.message_type = MessageType::Query);
        assert!(matches!(hear(query), Heard::Foreign));
        let other = answer(|given| {
            given.queries[0].set_name(parse_name("other.test").unwrap());
        });
        assert!(matches!(hear(other), Heard::Foreign));
        let other = answer(|given| {
            given.queries[0].set_query_type(RecordType::AAAA);
        });
        assert!(matches!(hear(other), Heard::Foreign));
        let other = answer(|given| {
            given.queries.clear();
        });
        assert!(matches!(hear(other), Heard::Foreign));
        assert!(matches!(hear(vec![7]), Heard::Foreign));
    }

    #[test]
    fn a_server_may_write_the_name_in_another_case() {
        let shouted = answer(|given| {
            given.queries[0].set_name(parse_name("API.Test").unwrap());
        });
        assert!(matches!(question().judge(7, &shouted), Heard::Answer(_)));
    }

    #[test]
    fn a_cut_answer_is_truncated_if_it_says_so_and_nonsense_if_not() {
        let whole = answer(|_| {});
        let cut = &whole[..whole.len() - 20];
        assert!(matches!(question().judge(7, cut), Heard::Nonsense));
        let whole = answer(|given| given.metadata.truncation = true);
        assert!(matches!(question().judge(7, &whole), Heard::Truncated));
        let cut = &whole[..whole.len() - 20];
        assert!(matches!(question().judge(7, cut), Heard::Truncated));
    }

    #[test]
    fn a_server_that_cannot_read_the_question_need_not_repeat_it() {
        let refused = answer(|given| {
            given.queries.clear();
            given.answers.clear();
            given.metadata.response_code = ResponseCode::FormErr;
        });
        assert!(matches!(question().judge(7, &refused), Heard::Answer(_)));
    }

    #[test]
    fn names_are_absolute_and_what_is_no_name_is_refused() {
        assert!(parse_name("my_service").unwrap().is_fqdn());
        assert_eq!(parse_name("a.test.").unwrap(), parse_name("A.test").unwrap());
        for written in ["", ".", "a..b", "a b", "a\\065", "a\0b", "bücher.test"] {
            let error = parse_name(written).unwrap_err();
            assert_eq!(error.kind(), DnsErrorKind::InvalidName, "{written:?}");
        }
        assert!(parse_name(&"a".repeat(63)).is_ok());
        assert!(parse_name(&"a".repeat(64)).is_err());
        assert!(parse_name(&"a.".repeat(127)).is_ok());
        assert!(parse_name(&"a.".repeat(128)).is_err());
    }

    proptest! {
        #[test]
        fn no_datagram_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = question().judge(7, &bytes);
        }

        #[test]
        fn no_damaged_answer_makes_it_panic(at in 0_usize..60, byte: u8, cut in 0_usize..60) {
            let mut bytes = answer(|_| {});
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes.truncate(length - cut % length);
            let _ = question().judge(7, &bytes);
        }
    }
}
