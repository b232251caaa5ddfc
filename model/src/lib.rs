//! Tenants, networks, ports, groups, hosts: valid by construction.
