//! One file a promise: the fabric's promises, tested on a real kernel.
