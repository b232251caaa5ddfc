//! A small cluster, what it becomes in the packet path, and what its policies say to whoever reads them plainly.

pub(crate) mod cases;
pub(crate) mod fabric;
pub(crate) mod oracle;
pub(crate) mod random;
pub(crate) mod scene;
