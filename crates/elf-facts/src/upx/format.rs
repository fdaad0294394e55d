//! Numbers of executable formats and compression methods.

/// 64-bit Linux on x86.
pub const LINUX_AMD64: u8 = 22;
/// 64-bit Linux on ARM.
pub const LINUX_ARM64: u8 = 42;

/// Name of a compression method.
pub fn method_name(method: u8) -> String {
    let name = match method {
        0 => "stored",
        2 => "NRV2B",
        5 => "NRV2D",
        8 => "NRV2E",
        14 => "LZMA",
        other => return format!("method {other}"),
    };
    name.into()
}
