//! Who gets in: mutual TLS, roles, names, and plaintext on loopback only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use andromede_controller::{
    server::{ServeError, Server},
    settings::ServeArgs,
};
use andromede_proto::v1::{ApplyRequest, GetStatusRequest, fabric_service_client::FabricServiceClient};
use support::{
    Controller,
    bundle::host,
    host::{Known, Session},
    pki::Authority,
    plaintext,
    tls::{connect, mutual_tls},
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
