//! Everything that knows a processor. A second processor is a twin file with the same exports.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod x86_64;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod zeros_x86_64;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use {x86_64::*, zeros_x86_64::is_zero};

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
compile_error!(
    "Stillframe runs on x86-64 Linux only, for now: other targets need a twin of arch/x86_64.rs"
);
