//! The target `walk`: what it holds is in `andromede_fuzz::walk`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _reached = andromede_fuzz::walk(data);
});
