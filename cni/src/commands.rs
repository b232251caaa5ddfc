//! Each command as one call to the agent.

use andromede_proto::local::v1::{
    AddPodRequest, Attachment, CheckPodRequest, CollectPodsRequest, DeletePodRequest, GetPodNetworkStatusRequest,
    add_pod_response::Outcome,
};

use crate::{
    agent::{dial, silent},
    arguments,
    command::{Command, Environment},
    configuration::Configuration,
    error::{CniError, code},
    result::{self, Remembered},
};

/// Carries a command out: what is to be written to standard output, if anything.
pub(crate) async fn carry_out(
    environment: Environment,
    configuration: Configuration,
) -> Result<Option<String>, CniError> {
    match environment.command {
        Command::Add => add(environment, configuration).await.map(Some),
        Command::Del => delete(&environment, &configuration).await.map(|()| None),
        Command::Check => check(&environment, &configuration).await.map(|()| None),
        Command::Gc => collect(&configuration).await.map(|()| None),
        Command::Status => status(&configuration).await.map(|()| None),
        // It is answered without an agent.
        Command::Version => Ok(None),
    }
}

fn attachment(container: &str, interface: &str, configuration: &Configuration) -> Attachment {
    Attachment {
        container_id: container.to_owned(),
        interface: interface.to_owned(),
        configuration: configuration.name.clone(),
    }
}

fn own(environment: &Environment, configuration: &Configuration) -> Attachment {
    attachment(&environment.container, &environment.interface, configuration)
}

fn outcome(error: Option<andromede_proto::local::v1::CniError>) -> Result<(), CniError> {
    error.map_or(Ok(()), |error| Err(error.into()))
}

async fn add(environment: Environment, configuration: Configuration) -> Result<String, CniError> {
    let request = AddPodRequest {
        attachment: Some(own(&environment, &configuration)),
        netns: environment.netns.clone(),
        network: configuration.network.clone(),
        security_groups: configuration.security_groups.clone(),
        mac: configuration.runtime.mac.clone().unwrap_or_default(),
        addresses: configuration.runtime.ips.clone(),
        routes: configuration.routes.clone(),
        node_access: configuration.node_access,
        policy_wait_seconds: configuration.policy_wait,
        infrastructure_network: configuration.infrastructure_network.clone(),
        pod: Some(arguments::pod(&environment.arguments)?),
    };
    let mut agent = dial(&configuration.socket).await?;
    let answer = agent.add_pod(request).await.map_err(|status| silent(&status))?.into_inner();
    let made = match answer.outcome {
        Some(Outcome::Interface(made)) => made,
        Some(Outcome::Error(error)) => return Err(error.into()),
        None => return Err(CniError::new(code::TRY_AGAIN, "the agent said nothing", "it is newer than this plugin")),
    };
    let Configuration { version, previous, dns, .. } = configuration;
    let result = result::added(&version, &environment.netns, &made, previous, dns)?;
    Ok(result.to_string())
}

async fn delete(environment: &Environment, configuration: &Configuration) -> Result<(), CniError> {
    let request = DeletePodRequest { attachment: Some(own(environment, configuration)) };
    let mut agent = dial(&configuration.socket).await?;
    outcome(agent.delete_pod(request).await.map_err(|status| silent(&status))?.into_inner().error)
}

async fn check(environment: &Environment, configuration: &Configuration) -> Result<(), CniError> {
    let previous = configuration.previous.as_ref();
    let previous = previous.ok_or_else(|| CniError::configuration("prevResult is missing: CHECK compares with it"))?;
    let Remembered { addresses, mac } = result::remembered(previous, &environment.interface)?;
    let netns = environment.netns.clone();
    let request = CheckPodRequest { attachment: Some(own(environment, configuration)), netns, addresses, mac };
    let mut agent = dial(&configuration.socket).await?;
    outcome(agent.check_pod(request).await.map_err(|status| silent(&status))?.into_inner().error)
}

async fn collect(configuration: &Configuration) -> Result<(), CniError> {
    let missing = || {
        let details = "cni.dev/valid-attachments is missing: without it everything would be removed";
        CniError::configuration(details)
    };
    let valid = configuration.valid.as_ref().ok_or_else(missing)?;
    let valid = valid.iter().map(|valid| attachment(&valid.container_id, &valid.ifname, configuration)).collect();
    let request = CollectPodsRequest { configuration: configuration.name.clone(), valid };
    let mut agent = dial(&configuration.socket).await?;
    outcome(agent.collect_pods(request).await.map_err(|status| silent(&status))?.into_inner().error)
}

async fn status(configuration: &Configuration) -> Result<(), CniError> {
    let unavailable = |error: CniError| CniError { code: code::NOT_AVAILABLE, ..error };
    let request = GetPodNetworkStatusRequest { network: configuration.network.clone() };
    let mut agent = dial(&configuration.socket).await.map_err(unavailable)?;
    let answer = agent.get_pod_network_status(request).await.map_err(|status| unavailable(silent(&status)))?;
    outcome(answer.into_inner().error)
}
