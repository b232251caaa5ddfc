//! Programs at devices: one type of attachment, two forms.
//!
//! A tcx link is pinned, and a new program takes its place by an update of the link. A clsact filter has a fixed
//! place on the device, and a new program takes it over by replacing the filter; its program is pinned as the record
//! that it is there. Either way no packet passes without a program while programs are replaced, and all stays when
//! the process ends.

use std::{
    fmt, fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    str::FromStr,
};

use crate::{
    Dataplane, Hook, LoadError, clsact,
    hook::Direction,
    pins::{Attachment, Form, PinError, Pins},
    sys::{self, TcxDirection},
};

/// Which form to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttachMode {
    /// tcx if the kernel has it, otherwise clsact.
    #[default]
    Auto,
    /// tcx only.
    Tcx,
    /// clsact only.
    Clsact,
}

/// No such mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no way to attach programs; choose auto, tcx or clsact")]
pub struct UnknownAttachMode(pub String);

impl FromStr for AttachMode {
    type Err = UnknownAttachMode;

    fn from_str(name: &str) -> Result<Self, UnknownAttachMode> {
        match name {
            "auto" => Ok(Self::Auto),
            "tcx" => Ok(Self::Tcx),
            "clsact" => Ok(Self::Clsact),
            _ => Err(UnknownAttachMode(name.to_owned())),
        }
    }
}

impl fmt::Display for AttachMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        })
    }
}

/// Why a program is not at its device.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The dataplane was loaded without a folder of pins.
    #[error("nothing can be attached without a folder of pins")]
    NotPinned,
    /// The pins cannot be used.
    #[error(transparent)]
    Pins(#[from] PinError),
    /// There is no such program.
    #[error(transparent)]
    Program(#[from] LoadError),
    /// The kernel refused.
    #[error("cannot {operation} {hook} at interface {ifindex} by {form}")]
    Os {
        /// What was tried.
        operation: &'static str,
        /// Where.
        hook: Hook,
        /// At which device.
        ifindex: u32,
        /// In which form.
        form: Form,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Whether an attachment does what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Our program runs, and before all others.
    Attached,
    /// Our program is there, but another runs before it and may let packets pass. Attaching again puts ours first.
    NotFirst,
    /// Another program is in our place. Attaching again puts ours there.
    Replaced {
        /// The kernel's number of that program.
        program: u32,
    },
    /// Nothing is there: somebody took it away, or the device is gone.
    Missing,
}

impl Attachment {
    fn error(self, operation: &'static str) -> impl FnOnce(io::Error) -> AttachError {
        let Self { hook, ifindex, form } = self;
        move |source| AttachError::Os { operation, hook, ifindex, form, source }
    }

    const fn tcx_direction(self) -> TcxDirection {
        match self.hook.direction() {
            Direction::Ingress => TcxDirection::Ingress,
            Direction::Egress => TcxDirection::Egress,
        }
    }

    /// Takes the program away from the device. It is no error if it, or the device, is gone already.
    pub fn detach(self, pins: &Pins) -> Result<(), AttachError> {
        let path = pins.attachment(self);
        match self.form {
            Form::Tcx => open_link(&path).and_then(|link| link.map_or(Ok(()), |link| sys::link_detach(link.as_fd()))),
            Form::Clsact => clsact::remove(self.ifindex, self.hook.direction()),
        }
        .and_then(|()| remove_pin(&path))
        .map_err(self.error("detach"))
    }
}

fn remove_pin(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// What could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("{} of the instance's pins could not be removed: {}", .0.len(), list(.0))]
pub struct TearDownError(pub Vec<AttachError>);

fn list(errors: &[AttachError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Pins {
    /// Detaches every program, removes every pin and the folder. It goes on after an error, and reports all of them.
    /// Workloads are not filtered any more after this: take their devices down before.
    pub fn tear_down(&self) -> Result<(), TearDownError> {
        let mut errors = Vec::new();
        match self.attachments() {
            Ok(attachments) => errors.extend(attachments.into_iter().filter_map(|each| each.detach(self).err())),
            Err(error) => errors.push(error.into()),
        }
        let os = |path: &Path| {
            let path = path.to_owned();
            move |source| AttachError::from(PinError::Os { what: "cannot remove", path, source })
        };
        match self.others() {
            Ok(others) => errors.extend(others.iter().filter_map(|path| remove_pin(path).map_err(os(path)).err())),
            Err(error) => errors.push(error.into()),
        }
        match fs::remove_dir(self.folder()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => errors.push(os(self.folder())(error)),
            _ => {}
        }
        if errors.is_empty() { Ok(()) } else { Err(TearDownError(errors)) }
    }
}

impl Dataplane {
    /// Puts the hook's program at a device, or in the place of the one that an earlier process put there.
    /// It stays until [`Attachment::detach`].
    pub fn attach(&self, hook: Hook, ifindex: u32, mode: AttachMode) -> Result<Attachment, AttachError> {
        let pins = self.pins.as_ref().ok_or(AttachError::NotPinned)?;
        let tcx = Attachment { hook, ifindex, form: Form::Tcx };
        let clsact = Attachment { hook, ifindex, form: Form::Clsact };
        let (chosen, other) = match mode {
            AttachMode::Tcx => (tcx, clsact),
            AttachMode::Clsact => (clsact, tcx),
            AttachMode::Auto => match sys::tcx_query(ifindex, tcx.tcx_direction()) {
                // A kernel without tcx does not know the attach type.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => (clsact, tcx),
                _ => (tcx, clsact),
            },
        };
        match chosen.form {
            Form::Tcx => self.attach_tcx(pins, chosen)?,
            Form::Clsact => self.attach_clsact(pins, chosen)?,
        }
        // Only now may what an earlier process attached in the other form go.
        if pins.attachment(other).exists() {
            other.detach(pins)?;
        }
        Ok(chosen)
    }

    fn attach_tcx(&self, pins: &Pins, attachment: Attachment) -> Result<(), AttachError> {
        let program = self.program(attachment.hook)?.fd();
        let path = pins.attachment(attachment);
        // A link whose device is gone is dead; its index may have been given to another device.
        let old = open_link(&path).map_err(attachment.error("adopt"))?.filter(|link| is_at(link, attachment));
        if let Some(old) = &old {
            if is_first(old, attachment) {
                return sys::link_update(old.as_fd(), program).map_err(attachment.error("replace"));
            }
            // The kernel does not take one program twice at one place, so ours must leave its old place before it
            // can go to the front. What drops everything stands in for that moment.
            let closed = drop_all().map_err(attachment.error("overtake"))?;
            sys::link_update(old.as_fd(), closed.as_fd()).map_err(attachment.error("overtake"))?;
        }
        let link = sys::link_create_tcx(program, attachment.ifindex, attachment.tcx_direction())
            .map_err(attachment.error("attach"))?;
        pins.replace(link.as_fd(), &path)?;
        old.map_or(Ok(()), |old| sys::link_detach(old.as_fd())).map_err(attachment.error("overtake"))
    }

    fn attach_clsact(&self, pins: &Pins, attachment: Attachment) -> Result<(), AttachError> {
        let program = self.program(attachment.hook)?.fd();
        // The record first: a filter without one would not be found again.
        pins.replace(program, &pins.attachment(attachment))?;
        clsact::set(attachment.ifindex, attachment.hook.direction(), program, attachment.hook.program())
            .map_err(attachment.error("attach"))
    }

    /// Asks the kernel whether the program of this process really runs there.
    pub fn verify(&self, attachment: Attachment) -> Result<Health, AttachError> {
        let pins = self.pins.as_ref().ok_or(AttachError::NotPinned)?;
        let ours = self.program(attachment.hook)?.id;
        let (program, first) = match attachment.form {
            Form::Tcx => {
                let link = open_link(&pins.attachment(attachment)).map_err(attachment.error("verify"))?;
                match link.filter(|link| is_at(link, attachment)) {
                    Some(link) => (Some(link.info.program), is_first(&link, attachment)),
                    None => (None, false),
                }
            }
            Form::Clsact => {
                let filters = clsact::list(attachment.ifindex, attachment.hook.direction())
                    .map_err(attachment.error("verify"))?;
                let place = filters.iter().position(|filter| filter.ours);
                (place.and_then(|place| filters.get(place)).and_then(|filter| filter.program), place == Some(0))
            }
        };
        Ok(match program {
            None => Health::Missing,
            Some(program) if program != ours => Health::Replaced { program },
            Some(_) if first => Health::Attached,
            Some(_) => Health::NotFirst,
        })
    }
}

/// A program that drops whatever it meets.
fn drop_all() -> io::Result<OwnedFd> {
    const TC_ACT_SHOT: i32 = 2;
    sys::program_load(&[sys::instruction(sys::SET, 0, TC_ACT_SHOT), sys::instruction(sys::EXIT, 0, 0)])
}

/// A pinned link, and what it is.
struct Link {
    fd: OwnedFd,
    info: sys::LinkInfo,
}

impl Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens a pinned tcx link; none if there is no such pin.
fn open_link(path: &Path) -> io::Result<Option<Link>> {
    match sys::open_pin(path) {
        Ok(fd) => sys::link_info(fd.as_fd()).map(|info| Some(Link { fd, info })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Is the link still at the device that its name says? The kernel clears the device of a link when it goes.
fn is_at(link: &Link, attachment: Attachment) -> bool {
    link.info.ifindex == attachment.ifindex && link.info.attach_type == attachment.tcx_direction() as u32
}

/// Is the link the first that runs there?
fn is_first(link: &Link, attachment: Attachment) -> bool {
    is_at(link, attachment)
        && sys::tcx_query(attachment.ifindex, attachment.tcx_direction())
            .is_ok_and(|links| links.first() == Some(&link.info.id))
}
