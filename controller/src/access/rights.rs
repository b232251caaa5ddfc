//! The table of rights: for every method, how far each role reaches. What is not in the table is refused.

use super::{AccessError, Principal, Role};

/// How far a right reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// There is none: the call is refused.
    Nothing,
    /// What is the caller's own: its tenant with all that is in it, or the host itself.
    Own,
    /// The whole fabric.
    Everything,
}

use Extent::{Everything, Nothing, Own};

/// The extent of a right for each role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// [`Role::Operator`].
    pub operator: Extent,
    /// [`Role::NetworkEngineer`].
    pub network_engineer: Extent,
    /// [`Role::TenantAdmin`].
    pub tenant_admin: Extent,
    /// [`Role::TenantReader`].
    pub tenant_reader: Extent,
    /// [`Role::Host`].
    pub host: Extent,
    /// [`Role::Stranger`].
    pub stranger: Extent,
    /// [`Role::Anonymous`]: plaintext on loopback, where whoever reaches the address may do everything.
    pub anonymous: Extent,
}

/// Names of the roles, in the order of [`Rights::extents`].
pub const COLUMNS: [&str; 6] =
    ["operator", "network-engineer", "tenant-admin", "tenant-reader", "host", "no certificate"];

impl Rights {
    const NOBODY: Self = Self {
        operator: Nothing,
        network_engineer: Nothing,
        tenant_admin: Nothing,
        tenant_reader: Nothing,
        host: Nothing,
        stranger: Nothing,
        anonymous: Nothing,
    };
    /// The operator alone.
    const OPERATOR: Self = Self { operator: Everything, anonymous: Everything, ..Self::NOBODY };
    /// Who runs the fabric, and who looks after it.
    const FABRIC: Self = Self { network_engineer: Everything, ..Self::OPERATOR };
    /// They, and a tenant of what is its own.
    const READS: Self = Self { tenant_admin: Own, tenant_reader: Own, ..Self::FABRIC };
    /// The operator, and a tenant's administrator of what is the tenant's.
    const WRITES: Self = Self { tenant_admin: Own, ..Self::OPERATOR };
    /// A host, in its own name.
    const SESSION: Self = Self { host: Own, anonymous: Everything, ..Self::NOBODY };
    /// A host that has no certificate yet: its token speaks for it.
    const JOINS: Self = Self { stranger: Own, anonymous: Everything, ..Self::NOBODY };
    /// Whoever is known. It tells nothing of the fabric.
    const KNOWN: Self = Self {
        operator: Everything,
        network_engineer: Everything,
        tenant_admin: Everything,
        tenant_reader: Everything,
        host: Everything,
        stranger: Nothing,
        anonymous: Everything,
    };

    /// The extent for a role.
    pub const fn of(&self, role: &Role) -> Extent {
        match role {
            Role::Operator => self.operator,
            Role::NetworkEngineer => self.network_engineer,
            Role::TenantAdmin(_) => self.tenant_admin,
            Role::TenantReader(_) => self.tenant_reader,
            Role::Host(_) => self.host,
            Role::Stranger => self.stranger,
            // A controller serves. It calls nobody, and gets no rights for a day on which it might.
            Role::Controller => Nothing,
            Role::Anonymous => self.anonymous,
        }
    }

    /// The extents of the roles, in the order of [`COLUMNS`].
    pub const fn extents(&self) -> [Extent; 6] {
        [self.operator, self.network_engineer, self.tenant_admin, self.tenant_reader, self.host, self.stranger]
    }

    /// The names of the roles that have the right.
    fn allowed(self) -> String {
        let allowed = COLUMNS.into_iter().zip(self.extents()).filter(|(_, extent)| *extent != Nothing);
        allowed.map(|(name, _)| name).collect::<Vec<_>>().join(", ")
    }
}

/// Every method that there is.
pub const TABLE: &[(&str, Rights)] = &[
    ("/andromede.v1.TenantService/GetTenant", Rights::READS),
    ("/andromede.v1.TenantService/ListTenants", Rights::READS),
    ("/andromede.v1.TenantService/WatchTenants", Rights::READS),
    ("/andromede.v1.TenantService/CreateTenant", Rights::OPERATOR),
    ("/andromede.v1.TenantService/UpdateTenant", Rights::OPERATOR),
    ("/andromede.v1.TenantService/DeleteTenant", Rights::OPERATOR),
    ("/andromede.v1.NetworkService/GetNetwork", Rights::READS),
    ("/andromede.v1.NetworkService/ListNetworks", Rights::READS),
    ("/andromede.v1.NetworkService/WatchNetworks", Rights::READS),
    ("/andromede.v1.NetworkService/CreateNetwork", Rights::WRITES),
    ("/andromede.v1.NetworkService/UpdateNetwork", Rights::WRITES),
    ("/andromede.v1.NetworkService/DeleteNetwork", Rights::WRITES),
    ("/andromede.v1.SubnetService/GetSubnet", Rights::READS),
    ("/andromede.v1.SubnetService/ListSubnets", Rights::READS),
    ("/andromede.v1.SubnetService/WatchSubnets", Rights::READS),
    ("/andromede.v1.SubnetService/ListUtilization", Rights::READS),
    ("/andromede.v1.SubnetService/CreateSubnet", Rights::WRITES),
    ("/andromede.v1.SubnetService/UpdateSubnet", Rights::WRITES),
    ("/andromede.v1.SubnetService/DeleteSubnet", Rights::WRITES),
    ("/andromede.v1.PortService/GetPort", Rights::READS),
    ("/andromede.v1.PortService/ListPorts", Rights::READS),
    ("/andromede.v1.PortService/WatchPorts", Rights::READS),
    ("/andromede.v1.PortService/CreatePort", Rights::WRITES),
    ("/andromede.v1.PortService/UpdatePort", Rights::WRITES),
    ("/andromede.v1.PortService/DeletePort", Rights::WRITES),
    ("/andromede.v1.SecurityGroupService/GetSecurityGroup", Rights::READS),
    ("/andromede.v1.SecurityGroupService/ListSecurityGroups", Rights::READS),
    ("/andromede.v1.SecurityGroupService/WatchSecurityGroups", Rights::READS),
    ("/andromede.v1.SecurityGroupService/CreateSecurityGroup", Rights::WRITES),
    ("/andromede.v1.SecurityGroupService/UpdateSecurityGroup", Rights::WRITES),
    ("/andromede.v1.SecurityGroupService/EditRules", Rights::WRITES),
    ("/andromede.v1.SecurityGroupService/DeleteSecurityGroup", Rights::WRITES),
    ("/andromede.v1.PrefixListService/GetPrefixList", Rights::READS),
    ("/andromede.v1.PrefixListService/ListPrefixLists", Rights::READS),
    ("/andromede.v1.PrefixListService/WatchPrefixLists", Rights::READS),
    ("/andromede.v1.PrefixListService/CreatePrefixList", Rights::WRITES),
    ("/andromede.v1.PrefixListService/UpdatePrefixList", Rights::WRITES),
    ("/andromede.v1.PrefixListService/DeletePrefixList", Rights::WRITES),
    // A foreign endpoint is a door of the underlay: the operator opens it.
    ("/andromede.v1.VtepService/GetVtep", Rights::READS),
    ("/andromede.v1.VtepService/ListVteps", Rights::READS),
    ("/andromede.v1.VtepService/WatchVteps", Rights::READS),
    ("/andromede.v1.VtepService/CreateVtep", Rights::OPERATOR),
    ("/andromede.v1.VtepService/UpdateVtep", Rights::OPERATOR),
    ("/andromede.v1.VtepService/DeleteVtep", Rights::OPERATOR),
    // A tenant chooses among the zones where it is.
    ("/andromede.v1.ZoneService/GetZone", Rights::READS),
    ("/andromede.v1.ZoneService/ListZones", Rights::READS),
    ("/andromede.v1.ZoneService/WatchZones", Rights::READS),
    ("/andromede.v1.ZoneService/CreateZone", Rights::OPERATOR),
    ("/andromede.v1.ZoneService/UpdateZone", Rights::OPERATOR),
    ("/andromede.v1.ZoneService/DeleteZone", Rights::OPERATOR),
    ("/andromede.v1.HostService/GetHost", Rights::FABRIC),
    ("/andromede.v1.HostService/ListHosts", Rights::FABRIC),
    ("/andromede.v1.HostService/WatchHosts", Rights::FABRIC),
    ("/andromede.v1.HostService/CreateHost", Rights::OPERATOR),
    ("/andromede.v1.HostService/UpdateHost", Rights::OPERATOR),
    ("/andromede.v1.HostService/DeleteHost", Rights::OPERATOR),
    ("/andromede.v1.HostService/RemoveHost", Rights::OPERATOR),
    ("/andromede.v1.JoinTokenService/CreateJoinToken", Rights::OPERATOR),
    ("/andromede.v1.OperatorPolicyService/GetOperatorPolicy", Rights::FABRIC),
    ("/andromede.v1.OperatorPolicyService/ListOperatorPolicies", Rights::FABRIC),
    ("/andromede.v1.OperatorPolicyService/WatchOperatorPolicies", Rights::FABRIC),
    ("/andromede.v1.OperatorPolicyService/CreateOperatorPolicy", Rights::OPERATOR),
    ("/andromede.v1.OperatorPolicyService/UpdateOperatorPolicy", Rights::OPERATOR),
    ("/andromede.v1.OperatorPolicyService/DeleteOperatorPolicy", Rights::OPERATOR),
    ("/andromede.v1.FabricService/Plan", Rights::WRITES),
    ("/andromede.v1.FabricService/Apply", Rights::WRITES),
    ("/andromede.v1.FabricService/Watch", Rights::READS),
    // Names of hosts, how many ports they hold, how full they are.
    ("/andromede.v1.FabricService/GetStatus", Rights::FABRIC),
    // A tenant hears how many hosts have applied what concerns its own networks, not which.
    ("/andromede.v1.FabricService/WaitInForce", Rights::READS),
    ("/andromede.v1.FabricService/WatchInForce", Rights::READS),
    ("/andromede.v1.HistoryService/ListCommits", Rights::READS),
    // It counts and sums up the commits of all.
    ("/andromede.v1.HistoryService/VerifyCommits", Rights::FABRIC),
    ("/andromede.v1.HistoryService/Diff", Rights::READS),
    ("/andromede.v1.HistoryService/Rollback", Rights::WRITES),
    // Addresses of the underlay, rows of tables, drops of all who share a host.
    ("/andromede.v1.DiagnosticsService/ListDrops", Rights::FABRIC),
    ("/andromede.v1.DiagnosticsService/ListFlows", Rights::FABRIC),
    ("/andromede.v1.DiagnosticsService/Trace", Rights::FABRIC),
    // A tenant is told of its own rules at its own ports.
    ("/andromede.v1.DiagnosticsService/ListRuleEvents", Rights::READS),
    ("/andromede.v1.DiagnosticsService/ListRuleHits", Rights::READS),
    // A tenant reads its own bill.
    ("/andromede.v1.UsageService/ListUsage", Rights::READS),
    ("/andromede.agent.v1.AgentService/Session", Rights::SESSION),
    ("/andromede.agent.v1.JoinService/Join", Rights::JOINS),
    ("/andromede.agent.v1.JoinService/Renew", Rights::SESSION),
    ("/grpc.health.v1.Health/Check", Rights::KNOWN),
    ("/grpc.health.v1.Health/Watch", Rights::KNOWN),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Rights::READS),
];

/// Most characters of a path that are shown.
const SHOWN: usize = 128;

/// May the principal call this path? How far does it reach?
pub fn authorise(principal: &Principal, path: &str) -> Result<Extent, AccessError> {
    let row = TABLE.iter().find(|(method, _)| *method == path);
    let (path, rights) = row.ok_or_else(|| AccessError::Unknown { path: path.chars().take(SHOWN).collect() })?;
    match rights.of(&principal.role) {
        Nothing if principal.role == Role::Stranger => Err(AccessError::NoCertificate),
        Nothing => Err(AccessError::Forbidden { principal: principal.clone(), path, allowed: rights.allowed() }),
        extent => Ok(extent),
    }
}
