//! Which hosts a caller may name: those that lead out, not those that lead in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Hosts that may be named although they are not public, unless settings say otherwise.
pub const DEFAULT_TRUSTED: &[&str] = &["localhost", "127.0.0.1", "::1", "host.docker.internal"];

/// Endings of names that lead into private networks.
const PRIVATE_ENDINGS: &[&str] = &[
    "local",
    "localdomain",
    "internal",
    "intranet",
    "lan",
    "home",
    "corp",
    "test",
    "invalid",
    "onion",
    "localhost",
];

/// Names under which clouds offer their machines' secrets.
const METADATA: &[&str] = &[
    "metadata",
    "metadata.google.internal",
    "metadata.azure.com",
    "instance-data",
    "instance-data.ec2.internal",
];

/// Why a host was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Not a URL.
    #[error("`{0}` is not a URL; write for example `https://llm.example.com/v1`")]
    NotAUrl(String),
    /// Neither http nor https.
    #[error("the scheme `{0}` cannot be called; write `https://…`")]
    Scheme(String),
    /// A user or password in the URL.
    #[error("the URL holds a user or password; send the credential as a header")]
    UserInfo,
    /// Characters that hide where the URL leads.
    #[error("the URL holds control characters or letters outside ASCII")]
    Characters,
    /// Nothing can be added to it.
    #[error("the URL has a query or a fragment; write only the part that operations' paths are added to")]
    NotABase,
    /// An address as a number, in octal, in hexadecimal or shortened.
    #[error(
        "`{0}` is a way of writing an address that hides where it leads; write it with four decimal numbers"
    )]
    Spelling(String),
    /// A name that no public host has.
    #[error("`{0}` is not a public host; an operator can allow it in `http.trusted_custom_hosts`")]
    NotPublic(String),
}

/// Whether a URL's host is on the list.
pub fn is_trusted(url: &str, trusted: &[String]) -> bool {
    Url::parse(url).ok().and_then(|u| u.host_str().map(bare)).is_some_and(|host| listed(&host, trusted))
}

/// Checks a URL that a caller wants called instead of the provider's own.
///
/// Names are looked at here and addresses again after resolution ([`is_public`]).
pub fn check_custom_host(text: &str, trusted: &[String]) -> Result<(), HostError> {
    if text.chars().any(|c| c.is_control() || !c.is_ascii() || c.is_whitespace()) {
        return Err(HostError::Characters);
    }
    let url = Url::parse(text).map_err(|_| HostError::NotAUrl(text.chars().take(100).collect()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(HostError::Scheme(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(HostError::UserInfo);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(HostError::NotABase);
    }
    let host = url.host().ok_or_else(|| HostError::NotAUrl(text.to_owned()))?;
    // The parser has turned every spelling into an address, so that only the text still tells.
    if let Host::Ipv4(ip) = host
        && written_host(text) != ip.to_string()
    {
        return Err(HostError::Spelling(written_host(text).to_owned()));
    }
    if listed(&bare(&host.to_string()), trusted) {
        return Ok(());
    }
    let public = match &host {
        Host::Ipv4(ip) => is_public(IpAddr::V4(*ip)),
        Host::Ipv6(ip) => is_public(IpAddr::V6(*ip)),
        Host::Domain(name) => is_public_name(name),
    };
    if public { Ok(()) } else { Err(HostError::NotPublic(host.to_string())) }
}

/// The host of a URL without user or password, as it was written.
fn written_host(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = after_scheme.split(['/', '\\']).next().unwrap_or_default();
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase()
}

fn listed(host: &str, trusted: &[String]) -> bool {
    trusted.iter().any(|t| t.eq_ignore_ascii_case(host))
}

fn is_public_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let labels: Vec<&str> = name.split('.').collect();
    let last = labels.last().copied().unwrap_or_default();
    labels.len() >= 2
        && labels.len() <= 10
        && !labels.contains(&"")
        // Portkey's own gateway would send the request round in circles.
        && !name.contains("api.portkey")
        && !METADATA.contains(&name.as_str())
        && !PRIVATE_ENDINGS.contains(&last)
        && !last.bytes().all(|b| b.is_ascii_digit())
}

/// Whether an address leads to the public internet.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped().or_else(|| embedded_v4(ip)) {
            Some(v4) => is_public_v4(v4),
            None => is_public_v6(ip),
        },
    }
}

/// Addresses that carry an IPv4 address to a translator: NAT64 (64:ff9b::/96) and 6to4 (2002::/16).
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// Special-purpose ranges: IANA's IPv4 special-purpose address registry.
fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_broadcast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19)))
}

/// Global unicast addresses are those in 2000::/3, without protocol assignments (Teredo) and documentation. The rest,
/// as in 64:ff9b:1::/48 (a network's own NAT64) and fec0::/10, leads inside or nowhere.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_hosts_may_be_named() {
        for url in ["https://llm.example.com/v1", "http://93.184.216.34:8080", "https://[2606:4700::1111]/v1"]
        {
            assert_eq!(check_custom_host(url, &[]), Ok(()), "{url}");
        }
    }

    #[test]
    fn hosts_that_lead_inside_are_refused_however_they_are_written() {
        for url in [
            "http://127.0.0.1",
            "http://localhost:8080",
            "http://10.0.0.1",
            "http://192.168.1.1",
            "http://172.16.0.1",
            "http://169.254.169.254/latest",
            "http://100.64.0.1",
            "http://0.0.0.0",
            "http://[::1]",
            "http://[fd00::1]",
            "http://[fe80::1]",
            "http://[::ffff:10.0.0.1]",
            "http://metadata.google.internal",
            "http://metadata",
            "http://db.corp",
            "http://printer.local",
            "http://224.0.0.1",
            "http://[64:ff9b::7f00:1]",
            "http://[2002:7f00:1::]",
            "http://a.b.c.d.e.f.g.h.i.j.k.com",
            "http://[64:ff9b:1::a00:1]",
            "http://[fec0::1]",
            "http://[2001::1]",
            "http://[100::1]",
            "https://api.portkey.ai",
            "https://a..example.com",
        ] {
            assert!(matches!(check_custom_host(url, &[]), Err(HostError::NotPublic(_))), "{url}");
        }
        assert_eq!(check_custom_host("ftp://a.example.com", &[]), Err(HostError::Scheme("ftp".into())));
        assert_eq!(check_custom_host("https://u:p@a.example.com", &[]), Err(HostError::UserInfo));
        assert_eq!(check_custom_host("https://exämple.com", &[]), Err(HostError::Characters));
        for url in ["https://a.example.com/v1?x=1", "https://a.example.com/v1#x"] {
            assert_eq!(check_custom_host(url, &[]), Err(HostError::NotABase), "{url}");
        }
        assert!(matches!(check_custom_host("nonsense", &[]), Err(HostError::NotAUrl(_))));
    }

    #[test]
    fn addresses_are_written_in_one_way_only() {
        let trusted = ["127.0.0.1".to_owned()];
        for host in ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.0.0.1", "%31%32%37.0.0.1"] {
            for url in [format!("http://{host}"), format!("http://{host}:80/127.0.0.1")] {
                assert_eq!(
                    check_custom_host(&url, &trusted),
                    Err(HostError::Spelling(host.to_owned())),
                    "{url}"
                );
            }
        }
        for url in
            ["http://127.0.0.1", "http://127.0.0.1:80", "http://127.0.0.1/v1", "http://127.0.0.1:80/v1:2"]
        {
            assert_eq!(check_custom_host(url, &trusted), Ok(()), "{url}");
        }
    }

    #[test]
    fn operators_may_trust_hosts() {
        let trusted: Vec<String> = DEFAULT_TRUSTED.iter().map(|t| (*t).to_owned()).collect();
        for url in ["http://localhost:11434", "http://127.0.0.1:1", "http://[::1]:1"] {
            assert_eq!(check_custom_host(url, &trusted), Ok(()), "{url}");
            assert!(is_trusted(url, &trusted), "{url}");
        }
        assert!(check_custom_host("http://127.0.0.2", &trusted).is_err());
    }
}
