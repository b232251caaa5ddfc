//! The target `bundle`: what it holds is in `andromede_fuzz::bundle`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _kinds = andromede_fuzz::bundle(data);
});
