//! The userspace half of the packet path: load, attach, pin, adopt, read, write, events.
//!
//! What this crate attaches stays when the process ends, however it ends; only [`Attachment::detach`] and [`Pins::remove_all`] take it away.

mod attachment;
mod batch;
mod clsact;
mod counters;
mod epochs;
mod events;
mod flows;
mod hook;
mod identity;
mod layout;
mod load;
mod netlink;
mod object;
mod pins;
mod probe;
mod rows;
mod sys;
mod tables;
mod test_run;

pub use attachment::{AttachError, AttachMode, Health, UnknownAttachMode};
pub use counters::{DropTotals, Drops, EventBudgets};
pub use epochs::Epochs;
pub use events::Events;
pub use flows::{Flows, Swept};
pub use hook::{Hook, UnknownHook};
pub use identity::{Identity, IdentityError, IdentityMismatch};
pub use layout::Difference;
pub use load::{Dataplane, LoadError, Sizes};
pub use object::{OBJECT, PROVENANCE};
pub use pins::{Attachment, BadInstanceName, Form, InstanceName, PinError, Pins};
pub use probe::{Kernel, mount_bpffs};
pub use rows::{Rows, TableError};
pub use tables::Tables;
pub use test_run::{FrameContext, TestBench, TestRunError, TestRunOutcome};
