//! The calls of the CNI plugin.

use std::sync::Arc;

use andromede_proto::local::v1::{
    AddPodRequest, AddPodResponse, CheckPodRequest, CheckPodResponse, CollectPodsRequest, CollectPodsResponse,
    DeletePodRequest, DeletePodResponse, GetPodNetworkStatusRequest, GetPodNetworkStatusResponse, add_pod_response,
    pod_service_server::PodService,
};
use tonic::{Request, Response, Status};

use crate::pods::{Pods, error::PodError};

/// The service.
#[derive(Debug)]
pub(super) struct PodCalls {
    pods: Arc<Pods>,
}

impl PodCalls {
    /// Of this agent.
    pub(super) fn new(pods: Arc<Pods>) -> Self {
        Self { pods }
    }

    /// Carries a command out to its end, even if the plugin is killed meanwhile: nothing is left half made.
    async fn to_the_end<T, F>(&self, command: impl FnOnce(Arc<Pods>) -> F) -> Result<T, PodError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, PodError>> + Send + 'static,
    {
        let task = tokio::spawn(command(Arc::clone(&self.pods)));
        task.await.map_err(|_| PodError::Ending).flatten()
    }
}

#[tonic::async_trait]
impl PodService for PodCalls {
    async fn add_pod(&self, request: Request<AddPodRequest>) -> Result<Response<AddPodResponse>, Status> {
        let request = request.into_inner();
        let outcome = match self.to_the_end(|pods| async move { pods.add(request).await }).await {
            Ok(interface) => add_pod_response::Outcome::Interface(interface),
            Err(error) => add_pod_response::Outcome::Error(error.to_cni()),
        };
        Ok(Response::new(AddPodResponse { outcome: Some(outcome) }))
    }

    async fn delete_pod(&self, request: Request<DeletePodRequest>) -> Result<Response<DeletePodResponse>, Status> {
        let request = request.into_inner();
        let done = self.to_the_end(|pods| async move { pods.delete(request.attachment.as_ref()).await }).await;
        Ok(Response::new(DeletePodResponse { error: done.err().map(|error| error.to_cni()) }))
    }

    async fn check_pod(&self, request: Request<CheckPodRequest>) -> Result<Response<CheckPodResponse>, Status> {
        let request = request.into_inner();
        let done = self.to_the_end(|pods| async move { pods.check(&request).await }).await;
        Ok(Response::new(CheckPodResponse { error: done.err().map(|error| error.to_cni()) }))
    }

    async fn collect_pods(
        &self,
        request: Request<CollectPodsRequest>,
    ) -> Result<Response<CollectPodsResponse>, Status> {
        let request = request.into_inner();
        let done = self.to_the_end(|pods| async move { pods.collect(&request).await }).await;
        Ok(Response::new(CollectPodsResponse { error: done.err().map(|error| error.to_cni()) }))
    }

    async fn get_pod_network_status(
        &self,
        request: Request<GetPodNetworkStatusRequest>,
    ) -> Result<Response<GetPodNetworkStatusResponse>, Status> {
        let request = request.into_inner();
        let done = self.to_the_end(|pods| async move { pods.status(&request.network).await }).await;
        Ok(Response::new(GetPodNetworkStatusResponse { error: done.err().map(|error| error.to_status()) }))
    }
}
