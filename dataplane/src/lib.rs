//! The userspace half of the packet path: load, attach, pin, adopt, read, write, events.
//!
//! What this crate attaches stays when the process ends, however it ends; only [`Attachment::detach`] and
//! [`Pins::tear_down`] take it away. An agent starts so:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let host = andromede_abi::from_bytes(&[0; 32]).ok_or("size")?;
//! use andromede_dataplane::{AttachMode, Dataplane, Health, Hook, Pins, Sizes, mount_bpffs};
//!
//! let bpffs = std::path::Path::new("/sys/fs/bpf");
//! mount_bpffs(bpffs)?;
//! let pins = Pins::new(bpffs, &"host-1".parse()?);
//! // Tables that are pinned are adopted with their rows; compare `Identity` before.
//! let mut dataplane = Dataplane::load(Some(&pins), &host, &Sizes::default())?;
//! let found = dataplane.tables.ports.all()?;
//! // Take the place of the programs of the process before; `pins.attachments()` lists them.
//! let attachment = dataplane.attach(Hook::FromUnderlay, host.underlay_ifindex, AttachMode::Auto)?;
//! if dataplane.verify(attachment)? != Health::Attached {
//!     dataplane.attach(attachment.hook, attachment.ifindex, AttachMode::Auto)?;
//! }
//! # Ok(())
//! # }
//! ```

mod attachment;
mod batch;
mod clsact;
mod counters;
mod epochs;
mod events;
mod flows;
mod generation;
mod grace;
mod hook;
mod identity;
mod layout;
mod load;
mod measure;
mod netlink;
mod object;
mod pins;
mod probe;
mod reaper;
mod rows;
mod sys;
mod tables;
mod test_run;
mod upgrade;

pub use attachment::{AttachError, AttachMode, Health, TearDownError, UnknownAttachMode};
pub use counters::{DropTotals, Drops, EventBudgets, Meters, RuleHits};
pub use epochs::Epochs;
pub use events::{DropEvents, Events, RuleEvents};
pub use flows::Flows;
pub use grace::grace_period;
pub use hook::{Hook, UnknownHook};
pub use identity::{Identity, IdentityError, IdentityMismatch};
pub use layout::Difference;
pub use load::{Dataplane, LoadError, Sizes};
pub use measure::{Measure, Measured, Measures};
pub use object::{OBJECT, PROVENANCE};
pub use pins::{Attachment, BadInstanceName, Form, InstanceName, PinError, Pins};
pub use probe::{Kernel, mount_bpffs};
pub use reaper::{ReapError, Reaper};
pub use rows::{Rows, TableError};
pub use tables::Tables;
pub use test_run::{FrameContext, TestBench, TestRunError, TestRunOutcome};
pub use upgrade::Upgraded;
