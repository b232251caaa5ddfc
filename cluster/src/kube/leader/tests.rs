#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use kube::client::Body;
use serde_json::{Value, json};
use tonic::codegen::http::{Method, Request, Response, StatusCode};
use tower::service_fn;

use super::*;

/// The one Lease of an API server, with the number of its last change.
type Kept = Arc<Mutex<Option<(u64, Value)>>>;

/// What an API server says of its one Lease.
async fn answer(kept: Kept, hangs: Arc<AtomicBool>, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
    let method = request.method().clone();
    let body = request.into_body().collect_bytes().await?;
    if hangs.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    let mut kept = kept.lock().unwrap();
    let told: Option<Value> = serde_json::from_slice(&body).ok();
    let version = told.as_ref().and_then(|told| told["metadata"]["resourceVersion"].as_str().map(str::to_owned));
    let (status, object) = match (method, &*kept) {
        (Method::GET, Some((_, lease))) => (StatusCode::OK, lease.clone()),
        (Method::GET, None) => (StatusCode::NOT_FOUND, Value::Null),
        (Method::POST, Some(_)) => (StatusCode::CONFLICT, Value::Null),
        (Method::PUT, found) if version != found.as_ref().map(|(number, _)| number.to_string()) => {
            (StatusCode::CONFLICT, Value::Null)
        }
        (_, found) => {
            let number = found.as_ref().map_or(1, |(number, _)| number + 1);
            let mut lease = told.unwrap();
            lease["metadata"]["resourceVersion"] = json!(number.to_string());
            *kept = Some((number, lease.clone()));
            (StatusCode::OK, lease)
        }
    };
    let reason = if status == StatusCode::NOT_FOUND { "NotFound" } else { "Conflict" };
    let failed =
        json!({"kind": "Status", "status": "Failure", "message": "", "reason": reason, "code": status.as_u16()});
    let object = if status == StatusCode::OK { object } else { failed };
    Ok(Response::builder().status(status).body(Body::from(object.to_string().into_bytes())).unwrap())
}

/// A candidate with a way of its own to the API server, which can hang; whether it leads.
fn candidate(kept: &Kept, identity: &str, terms: Terms) -> (Arc<AtomicBool>, watch::Receiver<bool>) {
    let hangs = Arc::new(AtomicBool::new(false));
    let (kept, hanging) = (Arc::clone(kept), Arc::clone(&hangs));
    let service = service_fn(move |request| answer(Arc::clone(&kept), Arc::clone(&hanging), request));
    let client = Client::new(service, "kube-system");
    let candidate = Candidate { terms, ..Candidate::new(client, "kube-system", "operator", identity.to_owned()) };
    let (lead, leads) = watch::channel(false);
    tokio::spawn(candidate.run(lead));
    (hangs, leads)
}

async fn until(leads: &mut watch::Receiver<bool>, wanted: bool) {
    timeout(Duration::from_mins(1), leads.wait_for(|leads| *leads == wanted)).await.unwrap().unwrap();
}

#[tokio::test]
async fn one_that_hears_nothing_stops_before_another_begins() {
    let kept = Kept::default();
    let terms = Terms { good: Duration::from_secs(3), renew: Duration::from_millis(500) };
    let (hangs, mut first) = candidate(&kept, "first", terms);
    until(&mut first, true).await;
    let (_, mut second) = candidate(&kept, "second", terms);
    tokio::time::sleep(terms.good).await;
    assert!(*first.borrow() && !*second.borrow(), "a lease that is renewed is kept");
    hangs.store(true, Ordering::SeqCst);
    until(&mut second, true).await;
    assert!(!*first.borrow(), "two lead");
    // It hears again, and finds another in its place.
    hangs.store(false, Ordering::SeqCst);
    tokio::time::sleep(terms.renew * 3).await;
    assert!(!*first.borrow() && *second.borrow());
    assert_eq!(kept.lock().unwrap().as_ref().unwrap().1["spec"]["leaseTransitions"], 2);
}
