//! The build script as the linker of the packet programs.

use std::process::ExitCode;

#[cfg(not(feature = "linker"))]
pub(crate) fn main() -> ExitCode {
    eprintln!("linker: built without the feature `linker`");
    ExitCode::FAILURE
}

#[cfg(feature = "linker")]
pub(crate) fn main() -> ExitCode {
    match Job::read(std::env::args().skip(1)).and_then(Job::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("linker: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(feature = "linker")]
use job::Job;

#[cfg(feature = "linker")]
mod job {
    use std::{ffi::CString, fs, path::PathBuf};

    use bpf_linker::{Cpu, Linker, LinkerInput, LinkerOptions, OptLevel, OutputType};

    /// What rustc asks for: the part of bpf-linker's command line that it uses.
    pub(super) struct Job {
        options: LinkerOptions,
        inputs: Vec<PathBuf>,
        exports: Vec<String>,
        output: Option<PathBuf>,
    }

    impl Job {
        pub(super) fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
            let mut job = Self { options: options(), inputs: Vec::new(), exports: Vec::new(), output: None };
            while let Some(argument) = arguments.next() {
                let (name, value) = match argument.split_once('=') {
                    Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
                    _ => (argument.as_str(), None),
                };
                if !name.starts_with('-') {
                    job.inputs.push(name.into());
                } else if !job.flag(name) {
                    let value = value.or_else(|| arguments.next()).ok_or_else(|| format!("{name} has no value"))?;
                    job.option(name, value)?;
                }
            }
            Ok(job)
        }

        /// Takes an argument without a value; false if it is not one.
        fn flag(&mut self, name: &str) -> bool {
            match name {
                "--btf" => self.options.btf = true,
                "--disable-expand-memcpy-in-order" => self.options.disable_expand_memcpy_in_order = true,
                "--debug" => {}
                "-O0" => self.options.optimize = OptLevel::No,
                "-O1" => self.options.optimize = OptLevel::Less,
                "-O2" => self.options.optimize = OptLevel::Default,
                "-O3" => self.options.optimize = OptLevel::Aggressive,
                "-Os" => self.options.optimize = OptLevel::Size,
                "-Oz" => self.options.optimize = OptLevel::SizeMin,
                _ => return false,
            }
            true
        }

        /// Takes an argument with a value.
        fn option(&mut self, name: &str, value: String) -> Result<(), String> {
            match name {
                "--export-symbols" => {
                    let list = fs::read_to_string(&value).map_err(|e| format!("{value}: {e}"))?;
                    self.exports.extend(list.lines().map(str::to_owned));
                }
                "--export" => self.exports.extend(value.split(',').map(str::to_owned)),
                "--cpu" => self.options.cpu = value.parse().map_err(|_| format!("{value} is no BPF processor"))?,
                "--cpu-features" => {
                    self.options.cpu_features = CString::new(value).map_err(|e| format!("--cpu-features: {e}"))?;
                }
                "-o" | "--output" => self.output = Some(value.into()),
                "-L" => {}
                _ => return Err(format!("unknown argument {name}")),
            }
            Ok(())
        }

        pub(super) fn run(self) -> Result<(), String> {
            let output = self.output.ok_or("no -o")?;
            let linker = Linker::new(self.options);
            let inputs = self.inputs.iter().map(|input| LinkerInput::new_from_file(input));
            let exports = self.exports.iter().map(String::as_str);
            linker.link_to_file(inputs, output, OutputType::Object, exports).map_err(|e| e.to_string())?;
            if linker.has_errors() { Err("LLVM reported an error".into()) } else { Ok(()) }
        }
    }

    fn options() -> LinkerOptions {
        LinkerOptions {
            target: None,
            cpu: Cpu::Generic,
            cpu_features: CString::default(),
            optimize: OptLevel::Default,
            unroll_loops: false,
            ignore_inline_never: false,
            llvm_args: Vec::new(),
            disable_expand_memcpy_in_order: false,
            disable_memory_builtins: false,
            btf: false,
            allow_bpf_trap: false,
        }
    }
}
