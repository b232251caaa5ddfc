//! `CNI_ARGS`: pairs `KEY=VALUE`, divided by semicolons.

use andromede_proto::local::v1::Pod;

use crate::error::{CniError, code};

/// Reads them. A key that is not known is refused, unless `IgnoreUnknown` says otherwise.
pub(crate) fn pod(text: &str) -> Result<Pod, CniError> {
    let wrong = |what: String| CniError::new(code::INVALID_ENVIRONMENT, "CNI_ARGS cannot be read", what);
    let mut pod = Pod::default();
    let mut unknown = Vec::new();
    let mut ignore = false;
    for pair in text.split(';').filter(|pair| !pair.is_empty()) {
        let (key, value) =
            pair.split_once('=').ok_or_else(|| wrong(format!("{pair:?} is not KEY=VALUE, in CNI_ARGS={text:?}")))?;
        match key {
            "IgnoreUnknown" => ignore = matches!(value, "1" | "true" | "True" | "TRUE"),
            "K8S_POD_NAMESPACE" => value.clone_into(&mut pod.namespace),
            "K8S_POD_NAME" => value.clone_into(&mut pod.name),
            "K8S_POD_UID" => value.clone_into(&mut pod.uid),
            // The container's identifier again.
            "K8S_POD_INFRA_CONTAINER_ID" => {}
            _ => unknown.push(key),
        }
    }
    if !ignore && !unknown.is_empty() {
        let names = unknown.join(", ");
        return Err(wrong(format!("{names}: this plugin does not know what that means; IgnoreUnknown=1 lets it pass")));
    }
    Ok(pod)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_kubernetes_says_is_read() {
        let read =
            pod("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=4f;X=y").unwrap();
        assert_eq!((read.namespace.as_str(), read.name.as_str(), read.uid.as_str()), ("shop", "web-0", ""));
        assert_eq!(pod("").unwrap(), Pod::default());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in ["MAC=02:00:00:00:00:01", "K8S_POD_NAME=a;junk", "IgnoreUnknown=0;A=b"] {
            let error = pod(text).unwrap_err();
            assert_eq!(error.code, code::INVALID_ENVIRONMENT, "{text}");
        }
    }
}
