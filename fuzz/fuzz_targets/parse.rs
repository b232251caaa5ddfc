//! The target `parse`: what it holds is in `andromede_fuzz::parse`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _reached = andromede_fuzz::parse(data);
});
