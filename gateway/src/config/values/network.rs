//! Senders that are allowed.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::text_value;

/// Addresses that begin with the same bits: `192.0.2.0/24`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NetworkError {
    #[error("expected an address or a network, such as \"192.0.2.7\" or \"192.0.2.0/24\"")]
    Syntax,
    #[error("expected at most /{0} behind the address")]
    Prefix(u8),
    #[error("expected no bits behind the network's\nthe network is \"{0}\"")]
    Host(Network),
}

impl Network {
    /// Whether an address is one of these; IPv4 in IPv6 (`::ffff:192.0.2.7`) counts as IPv4.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4()
            && first_of(address, self.prefix) == self.address
    }

    /// One of these addresses, by its number; they begin again where there are no more.
    pub(crate) fn host(&self, number: u32) -> IpAddr {
        let number = u128::from(number).wrapping_add(1);
        match self.address {
            IpAddr::V4(address) => {
                let hosts = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                let number = u32::try_from(number & u128::from(hosts)).unwrap_or(0);
                IpAddr::V4((u32::from(address) | number).into())
            }
            IpAddr::V6(address) => {
                let hosts = u128::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                IpAddr::V6((u128::from(address) | number & hosts).into())
            }
        }
    }
}

/// The address with only the first bits.
fn first_of(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((u128::from(address) & mask).into())
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Syntax)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| NetworkError::Syntax)?,
            None => longest,
        };
        if prefix > longest {
            return Err(NetworkError::Prefix(longest));
        }
        let network = Self { address: first_of(address, prefix), prefix };
        if network.address != address {
            return Err(NetworkError::Host(network));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

text_value!(Network, "network", "expected a network such as \"192.0.2.0/24\"", {
    "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_with_its_bits() {
        for (network, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.0/24", "::ffff:192.0.2.1", "::ffff:192.0.3.1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("0.0.0.0/0", "203.0.113.1", "2001:db8::1"),
            ("::/0", "2001:db8::1", "203.0.113.1"),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{inside} in {network}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{outside} not in {network}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (text, error) in [
            ("example.com", NetworkError::Syntax),
            ("192.0.2.0/x", NetworkError::Syntax),
            ("192.0.2.0/33", NetworkError::Prefix(32)),
            ("::/129", NetworkError::Prefix(128)),
            ("192.0.2.7/24", NetworkError::Host("192.0.2.0/24".parse().unwrap())),
        ] {
            assert_eq!(text.parse::<Network>(), Err(error), "{text}");
        }
    }
}
