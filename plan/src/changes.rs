//! From the rows found to the rows wanted.

use crate::{Rows, Step, Wanted};

/// The steps from the rows found to the rows wanted.
pub fn changes(found: &Rows, wanted: &Wanted) -> Vec<Step> {
    let _ = (found, wanted);
    Vec::new()
}
