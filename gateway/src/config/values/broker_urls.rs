//! The addresses of a broker that has several.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Error as _, SeqAccess, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Because, BrokerUrl, TextValue as _};

/// The most addresses.
const MAX_URLS: usize = 16;

/// One address or several of the same broker, written as a text or an array of texts.
///
/// They are all different, and either all have TLS or none has: a fail-over must not send in the
/// clear what is to be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokerUrls {
    first: BrokerUrl,
    others: Vec<BrokerUrl>,
}

impl BrokerUrls {
    /// How many there are: 1 or more.
    pub(crate) fn len(&self) -> usize {
        1 + self.others.len()
    }

    /// The address at `index`, counted around.
    pub(crate) fn at(&self, index: usize) -> &BrokerUrl {
        let other = (index % self.len()).checked_sub(1);
        other.and_then(|other| self.others.get(other)).unwrap_or(&self.first)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &BrokerUrl> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Whether they have TLS.
    pub(crate) const fn is_secure(&self) -> bool {
        self.first.scheme().is_secure()
    }
}

impl From<BrokerUrl> for BrokerUrls {
    fn from(first: BrokerUrl) -> Self {
        Self { first, others: Vec::new() }
    }
}

impl<'de> Deserialize<'de> for BrokerUrls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UrlsVisitor)
    }
}

struct UrlsVisitor;

impl<'de> de::Visitor<'de> for UrlsVisitor {
    type Value = BrokerUrls;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(BrokerUrl::EXPECTED)?;
        f.write_str(", or an array of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<BrokerUrls, E> {
        text.parse::<BrokerUrl>()
            .map(BrokerUrls::from)
            .map_err(|error| E::invalid_value(Unexpected::Str(text), &Because(error.to_string())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<BrokerUrls, A::Error> {
        let refuse = |expected: String| A::Error::invalid_length(0, &Because(expected));
        let Some(first) = seq.next_element::<BrokerUrl>()? else {
            return Err(refuse("expected at least one address".to_owned()));
        };
        let mut urls = BrokerUrls::from(first);
        while let Some(url) = seq.next_element::<BrokerUrl>()? {
            if urls.len() == MAX_URLS {
                return Err(refuse(format!("expected at most {MAX_URLS} addresses")));
            }
            if urls.iter().any(|other| *other == url) {
                return Err(refuse(format!("expected each address once: {url} is there twice")));
            }
            if url.scheme().is_secure() != urls.is_secure() {
                return Err(refuse(
                    "expected all addresses with TLS (mqtts, wss) or none\n\
                     a fail-over must not send in the clear what TLS was to hide"
                        .to_owned(),
                ));
            }
            urls.others.push(url);
        }
        Ok(urls)
    }
}

impl Serialize for BrokerUrls {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.others.is_empty() {
            true => self.first.serialize(serializer),
            false => serializer.collect_seq(self.iter()),
        }
    }
}

impl JsonSchema for BrokerUrls {
    fn schema_name() -> Cow<'static, str> {
        "urls".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let url = BrokerUrl::json_schema(generator);
        json_schema!({
            "anyOf": [
                url,
                { "type": "array", "items": url, "minItems": 1, "maxItems": MAX_URLS },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer as _;
    use serde::de::value::{Error, SeqDeserializer};

    use super::*;

    fn urls(texts: &[&str]) -> Result<BrokerUrls, Error> {
        let texts = texts.iter().map(|text| (*text).into_deserializer());
        BrokerUrls::deserialize(SeqDeserializer::<_, Error>::new(texts))
    }

    #[test]
    fn addresses_are_counted_around() {
        let urls = urls(&["mqtt://a", "mqtt://b", "ws://c"]).unwrap();
        let hosts: Vec<_> = (0..5).map(|index| urls.at(index).host()).collect();
        assert_eq!(hosts, ["a", "b", "c", "a", "b"]);
        assert!(!urls.is_secure());
    }

    #[test]
    fn a_list_is_not_empty_has_no_address_twice_and_does_not_fall_back_to_plain_text() {
        for (texts, expected) in [
            (&[][..], "at least one"),
            (&["mqtt://a", "mqtt://A:1883"], "mqtt://a:1883 is there twice"),
            (&["mqtts://a", "mqtt://a"], "all addresses with TLS"),
            (&["ws://a", "wss://b"], "all addresses with TLS"),
        ] {
            let error = urls(texts).unwrap_err().to_string();
            assert!(error.contains(expected), "{texts:?}: {error}");
        }
        let many: Vec<_> = (0..=MAX_URLS).map(|n| format!("mqtt://h{n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(urls(&many[1..]).is_ok());
        assert!(urls(&many).unwrap_err().to_string().contains("at most 16"));
    }
}
