//! The server: everything put together behind one address.

mod security;

use std::{future::Future, net::SocketAddr, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use andromede_proto::{
    DESCRIPTORS,
    agent::v1::{agent_service_server::AgentServiceServer, join_service_server::JoinServiceServer},
    v1,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::{oneshot, watch},
    time::timeout,
};
use tonic::{
    service::Routes,
    transport::{Server as Transport, ServerTlsConfig, server::TcpIncoming},
};

use self::security::{host_authority, security};

use crate::{
    access::{Bearers, GuardLayer, KeySetError, Views},
    api::{Agents, Diagnostics, Fabric, History, Join, Resources, Usages, Watches},
    calls::CallLayer,
    checkpoint::Retention,
    denials::Denials,
    fold::fold,
    health::Health,
    join::{AuthorityError, HostAuthority, Tokens},
    metrics::Sources,
    publish::Publisher,
    registry::Registry,
    settings::ServeArgs,
    store::{Store, StoreError},
    usage::{Collector, Ledger},
    utilization::Utilizations,
    writer::Writer,
};

/// Connections that wait to be accepted: thousands of agents come back at once after a restart.
const BACKLOG: u32 = 4_096;
/// How often a silent connection is asked for a sign of life, and how long that may take.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(10));
/// Flow-control window of a stream and of a connection, in bytes.
const WINDOW: u32 = 64 << 10;
/// Most calls at a time on one connection.
const CALLS_PER_CONNECTION: u32 = 256;
/// Most bytes of a bundle.
const BUNDLE_BYTES: usize = 32 << 20;
/// Most bytes of one message of a host, whatever it says. A longer one would end its session: answers that are longer come in parts.
const HOST_BYTES: usize = 4 << 20;
/// How long connections may take to end once the controller is told to.
const GRACE: Duration = Duration::from_secs(5);

/// Why the server could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Plaintext was asked for on an address that others can reach.
    #[error(
        "--insecure-plaintext: {0} is not a loopback address; listen on 127.0.0.1 or [::1], or use --tls-cert, --tls-key and --client-ca"
    )]
    PlaintextOffLoopback(SocketAddr),
    /// Neither certificates nor plaintext were asked for.
    #[error(
        "no certificate; give --tls-cert, --tls-key and --client-ca, or --insecure-plaintext on a loopback address"
    )]
    NoSecurity,
    /// A file of certificates or keys could not be read.
    #[error("{path}: {source}; make it with `andromedectl pki init` and `andromedectl pki issue`")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The authority of hosts that join.
    #[error(transparent)]
    HostAuthority(#[from] AuthorityError),
    /// The keys of tokens could not be used.
    #[error("--token-keys {path}: {source}")]
    TokenKeys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeySetError,
    },
    /// The address could not be listened on.
    #[error("--listen {address}: {source}; is another controller running?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The address for health, readiness and metrics could not be listened on.
    #[error("--metrics-listen {address}: {source}; choose another")]
    ListenMetrics {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// TLS could not be set up, or the transport failed.
    #[error("transport: {}", chain(.0))]
    Transport(#[from] tonic::transport::Error),
    /// The reflection service refused the schema.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The writer ended although the server did not.
    #[error("the writer ended unexpectedly; look at the log before this line")]
    WriterGone,
}

/// An error and what is behind it: the transport's own text says little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A step in the life of a server. In a box: what it is made of, which is nearly everything, is compiled once, here, and not again
/// in every program and test that starts a server.
pub type Task<'a, T> = Pin<Box<dyn Future<Output = Result<T, ServeError>> + Send + 'a>>;

/// A server that listens, and does not accept yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<ServerTlsConfig>,
    /// Whose tokens are taken, if any are.
    bearers: Option<Arc<Bearers>>,
    /// Where health, readiness and metrics are asked for.
    metrics: Option<TcpListener>,
    by_network: bool,
    parts: Parts,
    /// Why the writer ended.
    writer_end: oneshot::Receiver<Result<(), StoreError>>,
}

#[derive(Debug)]
struct Parts {
    store: Arc<Store>,
    publisher: Arc<Publisher>,
    registry: Arc<Registry>,
    writer: Writer,
    store_epoch: u64,
    /// Who issues certificates to hosts that join, if they may.
    hosts: Option<Arc<HostAuthority>>,
    /// Who asks hosts what they counted.
    usage: Arc<Collector>,
    /// Who looks how full subnets are.
    utilizations: Arc<Utilizations>,
}

impl Server {
    /// Opens the store, folds its log, and listens.
    pub fn bind(arguments: &ServeArgs) -> Task<'_, Self> {
        Box::pin(Self::open(arguments))
    }

    /// Serves until `shutdown` is ready or the store fails.
    pub fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Task<'static, ()> {
        self.serve_until(Box::pin(shutdown))
    }

    fn serve_until(self, shutdown: Pin<Box<dyn Future<Output = ()> + Send>>) -> Task<'static, ()> {
        Box::pin(self.serve(shutdown))
    }

    async fn open(arguments: &ServeArgs) -> Result<Self, ServeError> {
        let hosts = host_authority(arguments)?.map(Arc::new);
        let tls = security(arguments)?;
        let bearers = Bearers::open(&arguments.tokens).await;
        let bearers = bearers.map_err(|(path, source)| ServeError::TokenKeys { path, source })?.map(Arc::new);
        let store = arguments.store.clone();
        let load = move || -> Result<_, StoreError> {
            let folder = store;
            let store = Store::open(&folder)?;
            let (model, index) = fold(&store)?;
            Ok((store, model, index, Ledger::open(&folder)?))
        };
        let (store, model, index, ledger) =
            tokio::task::spawn_blocking(load).await.map_err(|_| ServeError::WriterGone)??;
        let store_epoch = store.head()?.epoch;
        let store = Arc::new(store);
        let publisher = Arc::new(Publisher::new(model.at_epoch(store_epoch), index));
        let registry = Arc::<Registry>::default();
        let (writer, writer_end) =
            Writer::start(Arc::clone(&store), Arc::clone(&publisher), Arc::clone(&registry), Retention::default())?;
        let failed = |source| ServeError::Listen { address: arguments.listen, source };
        let listener = listen(arguments.listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let metrics = match arguments.metrics_listen {
            Some(address) => Some(listen(address).map_err(|source| ServeError::ListenMetrics { address, source })?),
            None => None,
        };
        let usage = Arc::new(Collector::new(ledger, &publisher, &registry));
        let utilizations = Arc::new(Utilizations::new(Arc::clone(&publisher), writer.quarantine()));
        let parts = Parts { store, publisher, registry, writer, store_epoch, hosts, usage, utilizations };
        let by_network = arguments.metrics_usage;
        Ok(Self { listener, address, tls, bearers, metrics, by_network, parts, writer_end })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// One line for people: where, how, and from which state.
    pub fn banner(&self) -> String {
        let security = if self.tls.is_some() { "mutual TLS" } else { "PLAINTEXT, everybody may do everything" };
        let revision = self.parts.publisher.model().revision();
        format!("andromede-controller: listening on {} ({security}), revision {revision}", self.address)
    }

    async fn serve(self, shutdown: Pin<Box<dyn Future<Output = ()> + Send>>) -> Result<(), ServeError> {
        let (stop, stopping) = watch::channel(false);
        let registry = Arc::clone(&self.parts.registry);
        let denials = Arc::<Denials>::default();
        if let Some(bearers) = self.bearers.clone() {
            tokio::spawn(bearers.follow(stopping.clone()));
        }
        let (tls, hosts) = (self.tls.is_some(), self.parts.hosts.clone());
        let bearers = self.bearers.clone();
        let guard = GuardLayer { tls, hosts, bearers: self.bearers, denials: Arc::clone(&denials) };
        tokio::spawn(Arc::clone(&denials).keep(self.parts.writer.clone(), stopping.clone()));
        if let Some(listener) = self.metrics {
            tokio::spawn(self.parts.health(&denials, bearers, self.by_network).serve(listener, stopping.clone()));
        }
        tokio::spawn(Arc::clone(&self.parts.usage).keep(stopping.clone()));
        tokio::spawn(Arc::clone(&self.parts.utilizations).keep(stopping.clone()));
        let routes = self.parts.routes(&stopping, denials).await?;
        let mut transport = Transport::builder();
        if let Some(tls) = self.tls {
            transport = transport.tls_config(tls)?;
        }
        let mut stopped = stopping.clone();
        let mut serving = Box::pin(
            transport
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .max_concurrent_streams(CALLS_PER_CONNECTION)
                .http2_keepalive_interval(Some(KEEPALIVE.0))
                .http2_keepalive_timeout(Some(KEEPALIVE.1))
                .layer(CallLayer::default())
                .layer(guard)
                .add_routes(routes)
                .serve_with_incoming_shutdown(TcpIncoming::from(self.listener).with_nodelay(Some(true)), async move {
                    // An error means that the sender is gone: stop as well.
                    drop(stopped.wait_for(|stop| *stop).await);
                }),
        );
        let mut writer_end = self.writer_end;
        tokio::select! {
            served = &mut serving => return Ok(served?),
            end = &mut writer_end => return Err(match end {
                Ok(Err(error)) => error.into(),
                Ok(Ok(())) | Err(_) => ServeError::WriterGone,
            }),
            () = shutdown => {}
        }
        tracing::info!("ending");
        stop.send_replace(true);
        registry.end();
        if timeout(GRACE, &mut serving).await.is_err() {
            tracing::warn!("some connections did not end within {GRACE:?} and are cut");
        }
        // The writer ends with the last service that can reach it: writes that wait are on disk before the store is closed.
        drop(serving);
        match timeout(GRACE, writer_end).await {
            Ok(Ok(end)) => Ok(end?),
            Ok(Err(_)) => Err(ServeError::WriterGone),
            // A connection that was cut may still hold the way to the writer. What was acknowledged is on disk.
            Err(_) => Ok(()),
        }
    }
}

impl Parts {
    /// What the pages for who watches are made of.
    fn health(&self, denials: &Arc<Denials>, bearers: Option<Arc<Bearers>>, by_network: bool) -> Health {
        let sources = Sources {
            publisher: Arc::clone(&self.publisher),
            registry: Arc::clone(&self.registry),
            denials: Arc::clone(denials),
            bearers,
            usage: self.usage.totals(),
            utilizations: Arc::clone(&self.utilizations),
        };
        Health { sources, by_network, store: Arc::clone(&self.store), writer: self.writer.alive() }
    }

    async fn routes(self, stop: &watch::Receiver<bool>, denials: Arc<Denials>) -> Result<Routes, ServeError> {
        let Self { store, publisher, registry, writer, store_epoch, hosts, usage, utilizations } = self;
        let views = Views::new(Arc::clone(&publisher), Arc::clone(&registry), writer.quarantine());
        let watches = Watches { store, views: views.clone(), stop: stop.clone() };
        let resources = Resources::new(views.clone(), writer.clone(), watches.clone(), Arc::clone(&utilizations));
        let tokens = Arc::<Tokens>::default();
        let join = Join { views: views.clone(), publisher: Arc::clone(&publisher), tokens, authority: hosts };
        let agents = Agents {
            publisher,
            registry: Arc::clone(&registry),
            writer: writer.clone(),
            store_epoch,
            denials,
            silent: Arc::default(),
        };
        let diagnostics = Diagnostics { views: views.clone(), registry: Arc::clone(&registry) };
        let usages = Usages { views: views.clone(), collector: usage };
        let history = History { store: Arc::clone(&watches.store), views: views.clone(), writer: writer.clone() };
        let fabric = Fabric { writer, views, registry, watches, utilizations };
        let (health, health_service) = tonic_health::server::health_reporter();
        let fabric =
            v1::fabric_service_server::FabricServiceServer::new(fabric).max_decoding_message_size(BUNDLE_BYTES);
        set_serving(&health, &fabric).await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        let mut routes = Routes::builder();
        routes
            .add_service(fabric)
            .add_service(v1::history_service_server::HistoryServiceServer::new(history))
            .add_service(v1::diagnostics_service_server::DiagnosticsServiceServer::new(diagnostics))
            .add_service(v1::usage_service_server::UsageServiceServer::new(usages))
            .add_service(v1::tenant_service_server::TenantServiceServer::new(resources.clone()))
            .add_service(v1::network_service_server::NetworkServiceServer::new(resources.clone()))
            .add_service(v1::subnet_service_server::SubnetServiceServer::new(resources.clone()))
            .add_service(v1::port_service_server::PortServiceServer::new(resources.clone()))
            .add_service(v1::security_group_service_server::SecurityGroupServiceServer::new(resources.clone()))
            .add_service(v1::zone_service_server::ZoneServiceServer::new(resources.clone()))
            .add_service(v1::host_service_server::HostServiceServer::new(resources.clone()))
            .add_service(v1::prefix_list_service_server::PrefixListServiceServer::new(resources.clone()))
            .add_service(v1::operator_policy_service_server::OperatorPolicyServiceServer::new(resources.clone()))
            .add_service(v1::vtep_service_server::VtepServiceServer::new(resources))
            .add_service(AgentServiceServer::new(agents).max_decoding_message_size(HOST_BYTES))
            .add_service(v1::join_token_service_server::JoinTokenServiceServer::new(join.clone()))
            .add_service(JoinServiceServer::new(join))
            .add_service(health_service)
            .add_service(reflection.build_v1()?);
        Ok(routes.routes())
    }
}

/// Says that the service works; the whole server ("") does from the start.
async fn set_serving<S: tonic::server::NamedService>(health: &tonic_health::server::HealthReporter, _: &S) {
    health.set_serving::<S>().await;
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
