//! Owns: the addresses of proxies on the way out, a company's for instance.
//! Guarantees: pure.

/// The address of a proxy as it is used: names are the proxy's to look up, whichever of `socks5` and `socks5h` was written.
pub fn address(written: &str) -> String {
    match written.strip_prefix("socks5://") {
        Some(rest) => format!("socks5h://{rest}"),
        None => written.to_owned(),
    }
}
