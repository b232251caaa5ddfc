//! The packet path: wire formats, the stages, and the walk that strings them together.
#![no_std]
