//! Hosts that join: a token once, certificates for one host, and nothing else without one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use andromede_controller::{access::TABLE, server::Server, settings::ServeArgs};
use andromede_proto::{
    agent::v1::{JoinRequest, RenewRequest, join_service_client::JoinServiceClient},
    v1::{ApplyRequest, fabric_service_client::FabricServiceClient, host_service_client::HostServiceClient},
    v1::{CreateJoinTokenRequest, DeleteRequest, join_token_service_client::JoinTokenServiceClient},
};
use rcgen::{CertificateParams, KeyPair};
use support::{
    Controller,
    bundle::host,
    host::{Known, Session},
    pki::{Authority, Issued, write},
    raw::call_path,
    tls::{connect, connect_as, mutual_tls},
};
use tempfile::TempDir;
use tonic::{Code, Status, transport::Channel};

struct Stage {
    controller: Controller,
    authority: Authority,
    hosts: Authority,
    operator: Channel,
    folder: TempDir,
}

fn arguments(folder: &TempDir, authority: &Authority, hosts: &Authority) -> ServeArgs {
    ServeArgs {
        host_ca: Some(write(folder.path(), "hosts-ca.pem", &hosts.pem())),
        host_ca_key: Some(write(folder.path(), "hosts-ca.key", &hosts.key())),
        ..mutual_tls(folder.path(), authority)
    }
}

/// A controller with hosts h1 and h2, where hosts may join.
async fn stage() -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let (authority, hosts) = (Authority::new(), Authority::named("hosts"));
    let controller = Controller::start(&arguments(&folder, &authority, &hosts)).await;
    let operator = connect_as(&controller, &authority, "operator/o").await;
    let resources = vec![host(1), host(2)];
    let request = ApplyRequest { resources, ..ApplyRequest::default() };
    FabricServiceClient::new(operator.clone()).apply(request).await.unwrap();
    Stage { controller, authority, hosts, operator, folder }
}

impl Stage {
    async fn stranger(&self) -> Channel {
        connect(&self.controller, &self.authority, None).await.unwrap()
    }

    async fn token(&self, host: &str) -> Result<String, Status> {
        let request = CreateJoinTokenRequest { parent: format!("hosts/{host}"), ttl_seconds: 60 };
        let made = JoinTokenServiceClient::new(self.operator.clone()).create_join_token(request).await?;
        Ok(made.into_inner().token)
    }

    async fn join(&self, token: &str) -> Result<Issued, Status> {
        let (key, certificate_request) = request();
        let request = JoinRequest { token: token.to_owned(), certificate_request };
        let made = JoinServiceClient::new(self.stranger().await).join(request).await?.into_inner();
        Ok(Issued { certificate: made.certificate, key: key.serialize_pem() })
    }

    async fn session(&self, issued: &Issued, host: &str) -> Result<Session, Status> {
        let channel = connect(&self.controller, &self.authority, Some(issued)).await.unwrap();
        Session::open(channel, Known::default().hello(host)).await
    }

    async fn delete(&self, host: &str) {
        let request = DeleteRequest { name: format!("hosts/{host}"), ..DeleteRequest::default() };
        HostServiceClient::new(self.operator.clone()).delete_host(request).await.unwrap();
    }
}

/// A new key, and a request signed with it. What else it asks for must not be given.
fn request() -> (KeyPair, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(vec!["controller.example.eu".to_owned()]).unwrap();
    let uri = "andromede://operator/evil".try_into().unwrap();
    parameters.subject_alt_names.push(rcgen::SanType::URI(uri));
    let request = parameters.serialize_request(&key).unwrap();
    (key, request.der().to_vec())
}

#[tokio::test]
async fn a_host_joins_by_a_token_once_and_renews_beside_its_session() {
    let stage = stage().await;
    let token = stage.token("h1").await.unwrap();
    let issued = stage.join(&token).await.unwrap();
    assert_eq!(stage.join(&token).await.err().unwrap().code(), Code::PermissionDenied, "a token works once");
    let mut session = stage.session(&issued, "h1").await.unwrap();
    assert_eq!(session.update().await.revision, 1);
    assert_eq!(stage.session(&issued, "h2").await.err().unwrap().code(), Code::PermissionDenied);

    let channel = connect(&stage.controller, &stage.authority, Some(&issued)).await.unwrap();
    let (key, certificate_request) = request();
    let next = JoinServiceClient::new(channel).renew(RenewRequest { certificate_request }).await.unwrap().into_inner();
    assert_eq!(next.host, "h1");
    // The session went on meanwhile, and the next one is that of the new certificate.
    let resources = vec![host(3)];
    FabricServiceClient::new(stage.operator.clone())
        .apply(ApplyRequest { resources, ..Default::default() })
        .await
        .unwrap();
    session.report(1).await;
    assert_eq!(
        stage
            .session(&Issued { certificate: next.certificate, key: key.serialize_pem() }, "h1")
            .await
            .unwrap()
            .welcome
            .protocol_version,
        1
    );
    stage.controller.stop().await;
}

#[tokio::test]
async fn without_a_certificate_there_is_nothing_but_joining() {
    let stage = stage().await;
    let stranger = stage.stranger().await;
    for (path, _) in TABLE {
        let streaming = path.contains("/Watch") || path.ends_with("Session") || path.ends_with("Info");
        let refused = call_path(&stranger, path, streaming, Vec::new()).await.unwrap_err();
        let expected = if *path == "/andromede.agent.v1.JoinService/Join" {
            Code::PermissionDenied
        } else {
            Code::Unauthenticated
        };
        assert_eq!(refused.code(), expected, "{path}: {refused}");
    }
    for token in ["", "00", &"0".repeat(64), &"f".repeat(100_000)] {
        let refused = stage.join(token).await.err().unwrap();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
        assert!(token.is_empty() || !refused.message().contains(token));
    }
    let token = stage.token("h1").await.unwrap();
    for wrong in [Vec::new(), vec![0x30, 0x80], vec![0; 9_000]] {
        let token = stage.token("h1").await.unwrap();
        let request = JoinRequest { token, certificate_request: wrong };
        let refused = JoinServiceClient::new(stranger.clone()).join(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    assert_eq!(stage.token("h9").await.unwrap_err().code(), Code::NotFound);
    stage.join(&token).await.unwrap();
    stage.controller.stop().await;
}

#[tokio::test]
async fn a_host_that_was_removed_is_not_the_next_of_its_name() {
    let stage = stage().await;
    let issued = stage.join(&stage.token("h1").await.unwrap()).await.unwrap();
    let unused = stage.token("h1").await.unwrap();
    stage.session(&issued, "h1").await.unwrap();
    stage.delete("h1").await;
    assert_eq!(stage.session(&issued, "h1").await.err().unwrap().code(), Code::NotFound);
    assert_eq!(stage.join(&unused).await.err().unwrap().code(), Code::PermissionDenied);
    let request = ApplyRequest { resources: vec![host(1)], ..ApplyRequest::default() };
    FabricServiceClient::new(stage.operator.clone()).apply(request).await.unwrap();
    let refused = stage.session(&issued, "h1").await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let channel = connect(&stage.controller, &stage.authority, Some(&issued)).await.unwrap();
    let refused = JoinServiceClient::new(channel).renew(RenewRequest { certificate_request: request_bytes() }).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let issued = stage.join(&stage.token("h1").await.unwrap()).await.unwrap();
    stage.session(&issued, "h1").await.unwrap();
    stage.controller.stop().await;
}

fn request_bytes() -> Vec<u8> {
    request().1
}

#[tokio::test]
async fn the_hosts_authority_speaks_for_hosts_only() {
    let stage = stage().await;
    let status = |channel: Channel| async move {
        call_path(&channel, "/andromede.v1.FabricService/GetStatus", false, Vec::new()).await.unwrap_err().code()
    };
    // Whoever steals its key cannot make an operator, neither directly nor by an authority in between.
    for uri in ["andromede://operator/evil", "andromede://tenant-admin/a/evil", "andromede://host/h1"] {
        let forged = stage.hosts.issue(uri);
        let channel = connect(&stage.controller, &stage.authority, Some(&forged)).await.unwrap();
        assert_eq!(status(channel).await, Code::Unauthenticated, "{uri}");
    }
    let between = stage.hosts.below("between");
    let forged = between.issue("andromede://operator/evil");
    let chain = Issued { certificate: forged.certificate + &between.pem(), key: forged.key };
    let refused = match connect(&stage.controller, &stage.authority, Some(&chain)).await {
        Ok(channel) => status(channel).await != Code::Ok,
        Err(_) => true,
    };
    assert!(refused);
    stage.controller.stop().await;
    // Two authorities of one name could not be told apart.
    let same = ServeArgs {
        client_ca: Some(write(stage.folder.path(), "both.pem", &(stage.authority.pem() + &stage.hosts.pem()))),
        ..arguments(&stage.folder, &stage.authority, &stage.hosts)
    };
    assert!(Server::bind(&same).await.unwrap_err().to_string().contains("same subject"));
}
