//! Network namespaces, topologies, packet builders and strategies for tests.
