//! Who gets in: mutual TLS, bearer tokens, roles, names, and plaintext on loopback only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::time::Duration;

use andromede_controller::{
    access::{BearerError, Bearers, KeySetError},
    server::{ServeError, Server},
    settings::ServeArgs,
};
use andromede_proto::v1::{
    ApplyRequest, GetRequest, GetStatusRequest, WatchRequest, fabric_service_client::FabricServiceClient,
    tenant_service_client::TenantServiceClient,
};
use serde_json::{Value, json};
use support::{
    Controller,
    bundle::{empty_tenant, host},
    host::{Known, Session},
    issuer::{Calls, Issuer, claims, encode, now, with_token},
    pki::{Authority, write},
    plaintext,
    tls::{connect, connect_as, mutual_tls, with_tokens},
};
use tonic::{Code, Status, transport::Channel};

async fn status(channel: Channel) -> Result<(), Status> {
    FabricServiceClient::new(channel).get_status(GetStatusRequest {}).await.map(drop)
}

#[tokio::test]
async fn an_operator_may_use_the_api_and_a_host_only_its_own_session() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let controller = Controller::start(&mutual_tls(folder.path(), &authority)).await;

    let user = connect(&controller, &authority, Some(&authority.issue("andromede://operator/alice"))).await.unwrap();
    status(user.clone()).await.unwrap();
    let request = ApplyRequest { resources: vec![host(1), host(2)], validate_only: false, ..Default::default() };
    FabricServiceClient::new(user.clone()).apply(request).await.unwrap();
    let refused = Session::open(user, Known::default().hello("h1")).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");

    let h1 = connect(&controller, &authority, Some(&authority.issue("andromede://host/h1"))).await.unwrap();
    let mut session = Session::open(h1.clone(), Known::default().hello("h1")).await.unwrap();
    assert_eq!(session.update().await.revision, 1);
    let refused = Session::open(h1.clone(), Known::default().hello("h2")).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("hello.host"), "{refused}");
    assert_eq!(status(h1).await.unwrap_err().code(), Code::PermissionDenied);
    controller.stop().await;
}

#[tokio::test]
async fn strangers_do_not_get_in() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let controller = Controller::start(&mutual_tls(folder.path(), &authority)).await;
    // Certificates that name nobody, or somebody without a role that is known: the connection stands, the call is refused.
    for uri in ["https://example.org/", "andromede://user/alice", "andromede://admin/a", "andromede://tenant-admin/a"] {
        let nobody = connect(&controller, &authority, Some(&authority.issue(uri))).await.unwrap();
        assert_eq!(status(nobody).await.unwrap_err().code(), Code::Unauthenticated, "{uri}");
    }
    // No certificate, and one of another authority: with TLS 1.3 the refusal may come with the first call.
    let forged = Authority::new().issue("andromede://operator/alice");
    for issued in [None, Some(&forged)] {
        let refused = match connect(&controller, &authority, issued).await {
            Ok(channel) => status(channel).await.is_err(),
            Err(_) => true,
        };
        assert!(refused);
    }
    // Plaintext.
    let channel = Channel::from_shared(format!("http://{}", controller.address)).unwrap().connect().await;
    let refused = match channel {
        Ok(channel) => status(channel).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    controller.stop().await;
}

#[tokio::test]
async fn plaintext_is_refused_off_loopback() {
    let folder = tempfile::tempdir().unwrap();
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7470"] {
        let arguments = ServeArgs { listen: listen.parse().unwrap(), ..plaintext(folder.path()) };
        let refused = Server::bind(&arguments).await;
        assert!(matches!(refused, Err(ServeError::PlaintextOffLoopback(_))), "{listen}");
    }
    let arguments = ServeArgs { insecure_plaintext: false, ..plaintext(folder.path()) };
    assert!(matches!(Server::bind(&arguments).await, Err(ServeError::NoSecurity)));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is touched before that is clear");
}

/// Claims with one of them another; null takes it out.
fn but(claim: &str, value: Value) -> Value {
    let mut all = claims("operator");
    all[claim] = value;
    all.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    all
}

/// The refusal of a token.
fn refused(bearers: &Bearers, token: &str) -> BearerError {
    bearers.bearer(token, now()).unwrap_err()
}

#[tokio::test]
async fn a_token_is_believed_only_as_its_issuer_meant_it() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = Issuer::new("k1");
    let settings = with_tokens(folder.path(), &Authority::new(), &issuer.set()).tokens;
    let bearers = Bearers::open(&settings).await.unwrap().unwrap();
    let bearer = bearers.bearer(&issuer.token(&claims("tenant-admin/a")), now()).unwrap();
    assert_eq!(bearer.principal.to_string(), "tenant-admin/a/token:alice", "no name of a certificate has a colon");
    let accepted =
        |claims: &Value| bearers.bearer(&issuer.token(claims), now()).map(|bearer| bearer.principal.to_string());
    for (claim, value) in [
        ("aud", json!(["other", "andromede"])),
        ("exp", json!(now() - 20)),
        ("exp", format!("{}.5", now()).parse().unwrap()),
        ("nbf", json!(now() + 20)),
        ("andromede_role", json!(["operator", "operator"])),
    ] {
        assert_eq!(accepted(&but(claim, value.clone())).unwrap(), "operator/token:alice", "{claim} {value}");
    }
    for (claim, value) in [
        ("iss", json!("https://id.example.org/")),
        ("iss", Value::Null),
        ("aud", json!("andromede2")),
        ("aud", json!(["other"])),
        ("aud", Value::Null),
        ("exp", json!(now() - 31)),
        ("exp", json!("never")),
        ("exp", Value::Null),
        ("nbf", json!(now() + 40)),
        ("nbf", json!({})),
        ("sub", json!("a/b")),
        ("sub", json!("")),
        ("sub", Value::Null),
        ("andromede_role", Value::Null),
        ("andromede_role", json!([])),
        ("andromede_role", json!(["operator", "tenant-reader/a"])),
        ("andromede_role", json!("host")),
        ("andromede_role", json!("host/h1")),
        ("andromede_role", json!("controller")),
        ("andromede_role", json!("operator/a")),
        ("andromede_role", json!("tenant-admin")),
        ("andromede_role", json!("tenant-admin/-")),
        ("andromede_role", json!("tenant-admin/a/b")),
    ] {
        let error = accepted(&but(claim, value.clone())).unwrap_err();
        let found = matches!(&error, BearerError::Claim { claim: found, .. } if found.trim_start_matches('/') == claim);
        assert!(found, "{claim} {value}: {error}");
    }
}

#[tokio::test]
async fn no_other_key_and_no_other_algorithm_makes_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = Issuer::new("k1");
    let settings = with_tokens(folder.path(), &Authority::new(), &issuer.set()).tokens;
    let bearers = Bearers::open(&settings).await.unwrap().unwrap();
    let good = claims("operator");
    assert_eq!(refused(&bearers, &Issuer::new("k1").token(&good)), BearerError::Signature);
    assert_eq!(refused(&bearers, &Issuer::new("k2").token(&good)), BearerError::Key);
    let header = |header: Value| refused(&bearers, &issuer.sign(&header, &good));
    // Without a signature; and signed with what everybody knows, the public key, as if it were a secret.
    for alg in ["none", "None", "", "HS256", "ES384", "es256"] {
        assert!(matches!(header(json!({"alg": alg, "kid": "k1"})), BearerError::Algorithm(_)), "{alg}");
    }
    let signed = format!("{}.{}", encode(r#"{"alg":"HS256","kid":"k1"}"#), encode(good.to_string()));
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, issuer.point());
    let confused = format!("{signed}.{}", encode(ring::hmac::sign(&secret, signed.as_bytes())));
    assert!(matches!(refused(&bearers, &confused), BearerError::Algorithm(_)));
    // A key is for one algorithm, whatever the token says.
    assert_eq!(header(json!({"alg": "EdDSA", "kid": "k1"})), BearerError::Key);
    assert_eq!(header(json!({"alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": false})), BearerError::Critical);
    assert_eq!(header(json!({"alg": "ES256", "kid": 1})), BearerError::Malformed);
    assert_eq!(header(json!("ES256")), BearerError::Malformed);
    // What was signed is what is read.
    let token = issuer.token(&good);
    let parts: Vec<_> = token.split('.').collect();
    let other = encode(claims("tenant-reader/a").to_string());
    assert_eq!(refused(&bearers, &[parts[0], &other, parts[2]].join(".")), BearerError::Signature);
    assert_eq!(refused(&bearers, &[parts[0], parts[1], ""].join(".")), BearerError::Signature);
    assert_eq!(refused(&bearers, &format!("{token}.{}", parts[2])), BearerError::Signature);
    for text in ["", ".", "..", "a.b.c", parts[0], &parts[..2].join("."), &format!("{token}=")] {
        assert_eq!(refused(&bearers, text), BearerError::Malformed, "{text}");
    }
}

async fn tenant(calls: &Calls, name: &str) -> Result<(), Status> {
    let request = GetRequest { name: name.to_owned() };
    TenantServiceClient::new(calls.clone()).get_tenant(request).await.map(drop)
}

#[tokio::test]
async fn a_caller_by_token_is_a_caller_like_others_until_the_token_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, issuer) = (Authority::new(), Issuer::new("k1"));
    let controller = Controller::start(&with_tokens(folder.path(), &authority, &issuer.set())).await;
    let stranger = connect(&controller, &authority, None).await.unwrap();
    assert_eq!(
        status(stranger.clone()).await.unwrap_err().code(),
        Code::Unauthenticated,
        "neither token nor certificate"
    );
    let by = |claims: &Value| with_token(stranger.clone(), &issuer.token(claims));
    let operator = by(&claims("operator"));
    let resources = [empty_tenant("a"), empty_tenant("b"), vec![host(1)]].concat();
    let request = ApplyRequest { resources, ..ApplyRequest::default() };
    FabricServiceClient::new(operator.clone()).apply(request).await.unwrap();

    let reader = by(&claims("tenant-reader/a"));
    tenant(&reader, "tenants/a").await.unwrap();
    let [there, not_there] =
        [tenant(&reader, "tenants/b").await, tenant(&reader, "tenants/c").await].map(Result::unwrap_err);
    assert_eq!((there.code(), not_there.code()), (Code::NotFound, Code::NotFound));
    assert_eq!(there.message().replace("tenants/b", ""), not_there.message().replace("tenants/c", ""));

    // A token makes no host, and nobody is two at once.
    let hello = Known::default().hello("h1");
    let session = andromede_proto::agent::v1::agent_service_client::AgentServiceClient::new(operator.clone());
    let message = andromede_proto::agent::v1::AgentMessage {
        message: Some(andromede_proto::agent::v1::agent_message::Message::Hello(hello)),
    };
    let refused = { session }.session(tokio_stream::once(message)).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let host = connect_as(&controller, &authority, "host/h1").await;
    let both = with_token(host, &issuer.token(&claims("operator")));
    assert_eq!(tenant(&both, "tenants/a").await.unwrap_err().code(), Code::Unauthenticated);

    // A watch ends with the token: its leeway is half a minute.
    let short = by(&but("exp", json!(now() - 29)));
    let watch = TenantServiceClient::new(short).watch_tenants(WatchRequest::default()).await.unwrap();
    let mut watch = watch.into_inner();
    let end = tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            match watch.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended without a reason"),
                Err(status) => return status,
            }
        }
    });
    let end = end.await.expect("the watch outlived its token");
    assert_eq!(end.code(), Code::Unauthenticated, "{end}");
    controller.stop().await;
}

#[tokio::test]
async fn keys_are_read_again_and_a_file_that_is_broken_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, old, new) = (Authority::new(), Issuer::new("k1"), Issuer::new("k2"));
    let arguments = with_tokens(folder.path(), &authority, &old.set());
    let controller = Controller::start(&arguments).await;
    let stranger = connect(&controller, &authority, None).await.unwrap();
    let tried = async |issuer: &Issuer| {
        let calls = with_token(stranger.clone(), &issuer.token(&claims("operator")));
        tenant(&calls, "tenants/a").await.unwrap_err().code()
    };
    let becomes = async |issuer: &Issuer, expected: Code| {
        for _ in 0..100 {
            if tried(issuer).await == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{expected:?} was expected, not {:?}", tried(issuer).await);
    };
    assert_eq!((tried(&old).await, tried(&new).await), (Code::NotFound, Code::Unauthenticated));
    write(folder.path(), "keys.json", &json!({"keys": [old.member(), new.member()]}).to_string());
    becomes(&new, Code::NotFound).await;
    assert_eq!(tried(&old).await, Code::NotFound);
    write(folder.path(), "keys.json", &new.set());
    becomes(&old, Code::Unauthenticated).await;
    write(folder.path(), "keys.json", "{\"keys\": [");
    becomes(&new, Code::Unavailable).await;
    write(folder.path(), "keys.json", &new.set());
    becomes(&new, Code::NotFound).await;
    controller.stop().await;

    // It does not even start without keys, and takes no token over plaintext.
    write(folder.path(), "keys.json", "{\"keys\": []}");
    let refused = Server::bind(&arguments).await;
    assert!(matches!(refused, Err(ServeError::TokenKeys { source: KeySetError::Empty, .. })));
    let controller = Controller::plaintext(&folder.path().join("other")).await;
    let calls = with_token(controller.channel().await, &new.token(&claims("operator")));
    assert_eq!(tenant(&calls, "tenants/a").await.unwrap_err().code(), Code::Unauthenticated);
    controller.stop().await;
}
