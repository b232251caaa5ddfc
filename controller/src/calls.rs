//! Every call has a number: by it what was logged of the call is found, and the caller is told it.
//!
//! The number is the caller's own (`x-request-id`), if it gave one that can be logged, or a new one. It stands in the span in which all
//! of the call is done, and in the answer's metadata, of refusals too.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use tonic::{
    Status,
    body::Body,
    codegen::{
        BoxFuture,
        http::{HeaderMap, HeaderName, HeaderValue, Request, Response},
    },
};
use tower::{Layer, Service};
use tracing::{Instrument as _, Span, field};

use crate::{clock::now_nanos, telemetry};

/// Carries the number.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Carries the trace to which a caller's call belongs (W3C Trace Context, level 1).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Most characters of a number that a caller gives.
const CHARACTERS: usize = 64;

/// Puts [`Calls`] before everything else.
#[derive(Clone, Debug)]
pub struct CallLayer {
    /// Numbers that this controller gives begin with the time of its start.
    start: i64,
    next: Arc<AtomicU64>,
}

impl Default for CallLayer {
    fn default() -> Self {
        Self { start: now_nanos(), next: Arc::default() }
    }
}

impl CallLayer {
    fn id(&self, headers: &HeaderMap) -> HeaderValue {
        let given = headers.get(REQUEST_ID).filter(|value| value.to_str().is_ok_and(can_be_logged));
        let made = || {
            let text = format!("{:x}-{}", self.start, self.next.fetch_add(1, Ordering::Relaxed));
            HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("-"))
        };
        given.cloned().unwrap_or_else(made)
    }
}

fn can_be_logged(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/".contains(&byte);
    !id.is_empty() && id.len() <= CHARACTERS && id.bytes().all(plain)
}

impl<S> Layer<S> for CallLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls { inner, layer: self.clone() }
    }
}

/// Gives each call its number and its span.
#[derive(Clone, Debug)]
pub struct Calls<S> {
    inner: S,
    layer: CallLayer,
}

impl<S> Service<Request<Body>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<S::Response, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let id = self.layer.id(request.headers());
        let shown = id.to_str().unwrap_or_default();
        let method = request.uri().path().trim_start_matches('/').chars().take(2 * CHARACTERS).collect::<String>();
        // Of the highest level, so that no filter of the log takes the number away from what it lets through.
        let traceparent = request.headers().get(TRACEPARENT).and_then(|value| value.to_str().ok());
        let traceparent = traceparent.filter(|text| telemetry::parent(text).is_some());
        let (principal, code) = (field::Empty, field::Empty);
        let span = tracing::error_span!("call", request_id = shown, method, principal, code, traceparent);
        let answer = span.in_scope(|| self.inner.call(request));
        let begun = Instant::now();
        let answered = async move {
            let mut response = answer.await?;
            let code = Status::from_header_map(response.headers()).map_or(tonic::Code::Ok, |status| status.code());
            Span::current().record("code", field::debug(code));
            tracing::debug!(?code, milliseconds = begun.elapsed().as_millis(), "answered");
            response.headers_mut().insert(REQUEST_ID, id);
            Ok(response)
        };
        Box::pin(answered.instrument(span))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_callers_number_is_taken_if_it_can_be_logged() {
        let layer = CallLayer::default();
        let of = |value: &[u8]| {
            let headers = [(REQUEST_ID, HeaderValue::from_bytes(value).unwrap())];
            layer.id(&headers.into_iter().collect()).to_str().unwrap().to_owned()
        };
        assert_eq!(of(b"a1b2-c3:ui/7"), "a1b2-c3:ui/7");
        for wrong in [&b""[..], b"a b", b"\xff", b"a\"", &[b'a'; CHARACTERS + 1]] {
            assert_ne!(of(wrong).as_bytes(), wrong);
        }
        assert_ne!(layer.id(&HeaderMap::new()), layer.id(&HeaderMap::new()));
    }
}
