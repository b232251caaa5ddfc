//! An answer that ends with the token by which it was asked for: a watch would go on for ever.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body::{Frame, SizeHint};
use prost::bytes::Bytes;
use tokio::time::{Sleep, sleep};
use tonic::{Status, body::Body, codegen::http::HeaderMap};

use super::BearerError;
use crate::{access::AccessError, clock::now_nanos};

/// The content of an answer, cut off when the time is over.
#[derive(Debug)]
pub(in crate::access) struct Until {
    inner: Body,
    end: Pin<Box<Sleep>>,
    ended: bool,
}

impl Until {
    /// Until this time, in seconds since 1970.
    pub(in crate::access) fn new(inner: Body, until: i64) -> Self {
        let left = until.saturating_mul(1_000_000_000).saturating_sub(now_nanos());
        let left = Duration::from_nanos(u64::try_from(left).unwrap_or(0));
        Self { inner, end: Box::pin(sleep(left)), ended: false }
    }
}

/// What stands behind an answer that was cut off.
fn trailers() -> HeaderMap {
    let ended =
        BearerError::Claim { claim: "exp".to_owned(), rule: "the token has ended meanwhile; call again with another" };
    let mut trailers = HeaderMap::new();
    // Its text is plain, which is all that could fail.
    drop(Status::from(AccessError::from(ended)).add_header(&mut trailers));
    trailers
}

impl http_body::Body for Until {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.end.as_mut().poll(context).is_ready() {
            self.ended = true;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers()))));
        }
        Poll::Ready(ready!(Pin::new(&mut self.inner).poll_frame(context)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
