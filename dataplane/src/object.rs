//! The compiled packet programs, as the build script embedded them.

/// The loader reads the object in place, as words.
#[repr(C, align(32))]
struct Aligned<T: ?Sized>(T);

static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/dataplane")));

/// The compiled packet programs, an ELF object.
pub static OBJECT: &[u8] = &ALIGNED.0;

/// One line that says which compiler and linker made [`OBJECT`].
pub static PROVENANCE: &str = env!("BPF_PROVENANCE");
