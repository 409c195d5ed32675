//! Reading a body up to a limit.

use std::{collections::VecDeque, future::poll_fn, pin::Pin};

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame};

use super::PromptBody;

/// A body that was read as far as it is worth it.
pub(super) enum Gathered<B: Body> {
    /// All of it.
    Whole(Bytes),
    /// It is none that a key can be made of.
    Begun(PromptBody<B>),
}

/// Reads a body to its end, if that comes within `most` bytes and there is nothing in it but data.
pub(super) async fn gather<B: Body + Unpin>(mut body: B, most: u64) -> Gathered<B> {
    if body.size_hint().lower() > most {
        return Gathered::Begun(PromptBody::unread(body));
    }
    let mut read = VecDeque::new();
    let mut length = 0_u64;
    loop {
        let frame = match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            None => return Gathered::Whole(join(read)),
            Some(Ok(frame)) => frame.map_data(|mut data| data.copy_to_bytes(data.remaining())),
            Some(Err(error)) => {
                return Gathered::Begun(PromptBody::begun(read, None, Some(error)));
            }
        };
        length += frame.data_ref().map_or(0, |data| data.len() as u64);
        let plain = frame.is_data();
        read.push_back(frame);
        if length > most || !plain {
            return Gathered::Begun(PromptBody::begun(read, Some(body), None));
        }
    }
}

fn join(read: VecDeque<Frame<Bytes>>) -> Bytes {
    let mut pieces = read.into_iter().filter_map(|frame| frame.into_data().ok());
    let (Some(first), second) = (pieces.next(), pieces.next()) else { return Bytes::new() };
    let Some(second) = second else { return first };
    let mut whole = BytesMut::from(&*first);
    whole.extend_from_slice(&second);
    pieces.for_each(|piece| whole.extend_from_slice(&piece));
    whole.freeze()
}
