//! Spans of calls, sent to a collector of OpenTelemetry.
//!
//! ```text
//! call (its number, method, caller, code; belongs to the caller's trace if it names one)
//!   commit (from the writer's queue to the disk)
//!     publish (visible, hosts are woken)
//!     in force (until every host that the commit concerned has applied it)
//! ```
//!
//! A span is handed to the exporter when it closes. What the exporter cannot take in time is dropped: no call waits for it.

mod export;
mod in_force;
pub mod otlp;

use std::{fmt, sync::LazyLock};

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::mpsc;
use tracing::{
    Id, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use crate::clock::now_nanos;

pub use export::{Collector, Exporter, TelemetryError};
pub(crate) use in_force::InForce;

/// Field of a span that names the caller's own, as in the header of W3C Trace Context.
const TRACEPARENT: &str = "traceparent";
/// Spans that wait to be sent.
const WAITING: usize = 4_096;
/// Fields of a span.
const FIELDS: usize = 16;
/// Characters of a field.
const CHARACTERS: usize = 256;

/// The ids in a `traceparent` (W3C Trace Context section 3.2), if it is one.
pub(crate) fn parent(text: &str) -> Option<([u8; 16], [u8; 8])> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version != "00" || flags.len() != 2 || parts.next().is_some() {
        return None;
    }
    Some((hexadecimal(trace)?, hexadecimal(span)?))
}

fn hexadecimal<const N: usize>(text: &str) -> Option<[u8; N]> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.bytes().all(lower) {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    (bytes != [0; N]).then_some(bytes)
}

fn random<const N: usize>() -> [u8; N] {
    static RANDOM: LazyLock<SystemRandom> = LazyLock::new(SystemRandom::new);
    let mut bytes = [0; N];
    // Without chance ids are the time: they need not be secret.
    if RANDOM.fill(&mut bytes).is_err() {
        let time = now_nanos().to_be_bytes();
        bytes.iter_mut().zip(time.into_iter().cycle()).for_each(|(place, byte)| *place = byte);
    }
    bytes
}

/// Hands spans to the exporter.
#[derive(Clone, Debug)]
pub struct Spans {
    closed: mpsc::Sender<otlp::Span>,
}

impl Spans {
    /// With the spans that it hands on.
    fn new() -> (Self, mpsc::Receiver<otlp::Span>) {
        let (closed, spans) = mpsc::channel(WAITING);
        (Self { closed }, spans)
    }
}

/// Fields of a span as they are recorded.
struct Fields<'a>(&'a mut otlp::Span);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: otlp::Value) {
        if self.0.attributes.len() < FIELDS {
            self.0.attributes.push(otlp::KeyValue::new(field.name(), value));
        }
    }
}

impl Visit for Fields<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, otlp::Value::Int(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == TRACEPARENT {
            if let Some((trace, span)) = parent(value) {
                (self.0.trace_id, self.0.parent_span_id) = (trace.to_vec(), span.to_vec());
            }
            return;
        }
        self.put(field, otlp::Value::Text(value.chars().take(CHARACTERS).collect()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, otlp::Value::Text(format!("{value:?}").chars().take(CHARACTERS).collect()));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let above = span.parent().and_then(|above| {
            let above = above.extensions();
            above.get::<otlp::Span>().map(|above| (above.trace_id.clone(), above.span_id.clone()))
        });
        let (trace_id, parent_span_id) = above.unwrap_or_else(|| (random::<16>().to_vec(), Vec::new()));
        let mut new = otlp::Span::new(attributes.metadata().name(), trace_id, random::<8>().to_vec(), parent_span_id);
        attributes.record(&mut Fields(&mut new));
        span.extensions_mut().insert(new);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<otlp::Span>() {
            values.record(&mut Fields(open));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let closed = span.extensions_mut().remove::<otlp::Span>();
        if let Some(mut closed) = closed {
            closed.end_time_unix_nano = now_nanos().unsigned_abs();
            // The queue is full, or the exporter has ended.
            drop(self.closed.try_send(closed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_taken_only_if_it_is_one() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(parent(good).map(|(trace, span)| (trace[0], span[7])), Some((0x4b, 0xb7)));
        for wrong in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e47ü6-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parent(wrong), None, "{wrong}");
        }
    }
}
