//! What is shipped: Debian packages, an image for containers, units and manifests.

mod deb;
mod image;
#[cfg(test)]
mod manifests;
mod programs;
#[cfg(test)]
mod units;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use self::programs::Programs;
use crate::workspace;

/// Where the programs come from, and where what is made of them goes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Folder of programs that are built already; without it they are built for release.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Folder of what is made.
    #[arg(long, value_name = "DIR", default_value = "target/packages")]
    out: PathBuf,
}

impl Arguments {
    fn programs(&self) -> Result<Programs> {
        self.programs.as_ref().map_or_else(Programs::build, |folder| Ok(Programs::of(folder)))
    }

    fn out(&self) -> Result<PathBuf> {
        let out = workspace::root().join(&self.out);
        std::fs::create_dir_all(&out)?;
        Ok(out)
    }
}

/// `./x deb`: writes the Debian packages.
pub(crate) fn deb(arguments: &Arguments) -> Result<()> {
    for package in deb::write(&arguments.programs()?, &arguments.out()?)? {
        println!("{}", package.display());
    }
    Ok(())
}

/// `./x image`: writes the image.
pub(crate) fn image(arguments: &Arguments) -> Result<()> {
    println!("{}", image::write(&arguments.programs()?, &arguments.out()?)?.display());
    Ok(())
}
