//! Labels that several programs know.

/// On the port of a pod whose groups the operator of its cluster gives: the identifier of the pod (`metadata.uid`), by which the operator
/// knows whose port it is. The agent writes it with the port.
pub const POD_UID: &str = "kube-pod-uid";
