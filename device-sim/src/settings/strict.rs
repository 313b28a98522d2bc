//! Values become types without any guess: an integer is no text, a text no number, `1883.7` no port.
//!
//! A table with a `type` is a variant of an enum: `type` names it, the other keys are its fields.
//! The deserializer does that on the way, so no buffering hides a path or an unknown key. It knows
//! where it is, so every [`Fault`] carries its path, and keys that no type asks for are collected.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::de::{self, IntoDeserializer, Unexpected};

use super::fault::{Fault, FaultKind};
use super::tree::{KeyPath, Node};
use super::words::either;

/// The key that names the variant of a table.
pub const TAG: &str = "type";

/// Reads a `T` from `node`; the paths that no type asked for go to `unknown`.
pub fn deserialize<'de, T: de::Deserialize<'de>>(
    node: &'de Node,
    unknown: &RefCell<BTreeSet<KeyPath>>,
) -> Result<T, Fault> {
    let path = KeyPath::default();
    T::deserialize(Strict { node, path: path.clone(), unknown })
        .map_err(|fault| fault.within(&path))
}

/// The deserializer of one value.
struct Strict<'de, 'u> {
    node: &'de Node,
    path: KeyPath,
    unknown: &'u RefCell<BTreeSet<KeyPath>>,
}

impl<'de, 'u> Strict<'de, 'u> {
    fn at(&self, node: &'de Node, path: KeyPath) -> Self {
        Self { node, path, unknown: self.unknown }
    }

    /// This value has another type than `expected` says.
    fn wrong_type(&self, expected: impl Into<String>) -> Fault {
        let unexpected = match self.node {
            Node::Boolean(value) => Unexpected::Bool(*value),
            Node::Integer(value) => Unexpected::Signed(*value),
            Node::Float(value) => Unexpected::Float(*value),
            Node::Text(value) => Unexpected::Str(value),
            Node::Array(_) => Unexpected::Seq,
            Node::Table(_) => Unexpected::Map,
        };
        Fault::mismatch("invalid type", unexpected, expected.into()).within(&self.path)
    }

    fn visit_table<V: de::Visitor<'de>>(self, visitor: V, tagged: bool) -> Result<V::Value, Fault> {
        let Node::Table(table) = self.node else {
            return Err(self.wrong_type(format!("expected a table: [{}]", self.path)));
        };
        let path = self.path.clone();
        let entries = table.iter();
        let map = TableAccess { entries, value: None, table: self, tagged };
        visitor.visit_map(map).map_err(|fault| fault.within(&path))
    }
}

macro_rules! integers {
    ($($method:ident: $type:ty),+) => {
        $(fn $method<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            let expected = || format!("expected an integer from {} to {}", <$type>::MIN, <$type>::MAX);
            match self.node {
                Node::Integer(value) if <$type>::try_from(*value).is_ok() => visitor.visit_i64(*value),
                Node::Integer(value) => {
                    Err(Fault::mismatch("invalid value", Unexpected::Signed(*value), expected()))
                }
                _ => Err(self.wrong_type(expected())),
            }
        })+
    };
}

impl<'de> de::Deserializer<'de> for Strict<'de, '_> {
    type Error = Fault;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node {
            Node::Boolean(value) => visitor.visit_bool(*value),
            Node::Integer(value) => visitor.visit_i64(*value),
            Node::Float(value) => visitor.visit_f64(*value),
            Node::Text(value) => visitor.visit_borrowed_str(value),
            Node::Array(_) => self.deserialize_seq(visitor),
            Node::Table(_) => self.visit_table(visitor, false),
        }
    }

    fn deserialize_bool<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Node::Boolean(value) = self.node else {
            return Err(self.wrong_type("expected true or false"));
        };
        visitor.visit_bool(*value)
    }

    integers!(
        deserialize_u8: u8, deserialize_u16: u16, deserialize_u32: u32, deserialize_u64: u64,
        deserialize_i8: i8, deserialize_i16: i16, deserialize_i32: i32, deserialize_i64: i64
    );

    fn deserialize_f64<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if !matches!(self.node, Node::Float(_) | Node::Integer(_)) {
            return Err(self.wrong_type("expected a number"));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_f32<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_string<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Node::Text(value) = self.node else {
            return Err(self.wrong_type("expected text in quotes"));
        };
        visitor.visit_borrowed_str(value)
    }

    fn deserialize_option<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Node::Array(array) = self.node else {
            return Err(self.wrong_type("expected an array, such as [\"a\", \"b\"]"));
        };
        visitor.visit_seq(ArrayAccess { elements: array.iter(), array: self })
    }

    fn deserialize_map<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit_table(visitor, false)
    }

    fn deserialize_struct<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.visit_table(visitor, false)
    }

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let path = self.path.clone();
        let (choice, at) = match self.node {
            Node::Text(choice) => (choice, path.clone()),
            Node::Table(table) => match table.get(TAG) {
                Some(Node::Text(choice)) => (choice, path.key(TAG)),
                Some(other) => {
                    let tag = self.at(other, path.key(TAG));
                    return Err(tag.wrong_type(format!("expected {}", either(variants))));
                }
                None => return Err(Fault::new(FaultKind::Missing(TAG.to_owned())).within(&path)),
            },
            Node::Boolean(_) | Node::Integer(_) | Node::Float(_) | Node::Array(_) => {
                return Err(self.wrong_type(format!("expected {}", either(variants))));
            }
        };
        if !variants.contains(&choice.as_str()) {
            let fault = <Fault as de::Error>::unknown_variant(choice, variants);
            return Err(fault.within(&at));
        }
        visitor.visit_enum(Choice { choice, content: self }).map_err(|fault| fault.within(&path))
    }

    fn deserialize_ignored_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.unknown.borrow_mut().insert(self.path);
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char str bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

/// The entries of a table; those of a variant come without its tag.
struct TableAccess<'de, 'u> {
    entries: std::collections::btree_map::Iter<'de, String, Node>,
    value: Option<(&'de str, &'de Node)>,
    table: Strict<'de, 'u>,
    tagged: bool,
}

impl<'de> de::MapAccess<'de> for TableAccess<'de, '_> {
    type Error = Fault;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let tagged = self.tagged;
        let Some((key, value)) = self.entries.find(|(key, _)| !(tagged && *key == TAG)) else {
            return Ok(None);
        };
        self.value = Some((key, value));
        seed.deserialize(key.as_str().into_deserializer()).map(Some).map_err(|fault: Fault| {
            let fault = match fault.kind {
                FaultKind::Mismatch { expected, .. } => Fault::new(FaultKind::Key(expected)),
                FaultKind::Unknown => fault,
                FaultKind::Variant { .. }
                | FaultKind::Key(_)
                | FaultKind::Missing(_)
                | FaultKind::Other(_) => return fault,
            };
            fault.within(&self.table.path.key(key))
        })
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (key, node) =
            self.value.take().ok_or_else(|| <Fault as de::Error>::custom("a value without key"))?;
        let path = self.table.path.key(key);
        seed.deserialize(self.table.at(node, path.clone())).map_err(|fault| fault.within(&path))
    }
}

struct ArrayAccess<'de, 'u> {
    elements: std::slice::Iter<'de, (usize, Node)>,
    array: Strict<'de, 'u>,
}

impl<'de> de::SeqAccess<'de> for ArrayAccess<'de, '_> {
    type Error = Fault;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let Some((index, node)) = self.elements.next() else { return Ok(None) };
        let path = self.array.path.index(*index);
        let element = self.array.at(node, path.clone());
        seed.deserialize(element).map(Some).map_err(|fault| fault.within(&path))
    }
}

/// A variant: its name, and the value that it was named in.
struct Choice<'de, 'u> {
    choice: &'de str,
    content: Strict<'de, 'u>,
}

impl<'de, 'u> de::EnumAccess<'de> for Choice<'de, 'u> {
    type Error = Fault;
    type Variant = Content<'de, 'u>;

    fn variant_seed<V: de::DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Content<'de, 'u>), Fault> {
        let variant = seed.deserialize(self.choice.into_deserializer())?;
        Ok((variant, Content { choice: self.choice, value: self.content }))
    }
}

/// What a variant holds.
struct Content<'de, 'u> {
    choice: &'de str,
    value: Strict<'de, 'u>,
}

impl<'de> de::VariantAccess<'de> for Content<'de, '_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        if !matches!(self.value.node, Node::Text(_)) {
            return Err(self.value.wrong_type("expected text in quotes"));
        }
        Ok(())
    }

    fn newtype_variant_seed<T: de::DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        if !matches!(self.value.node, Node::Table(_)) {
            let choice = self.choice;
            let expected = format!("expected a table, such as {{ {TAG} = \"{choice}\" }}");
            return Err(self.value.wrong_type(expected));
        }
        seed.deserialize(Fields(self.value))
    }

    fn tuple_variant<V: de::Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Fault> {
        Err(self.value.wrong_type("expected a variant of named fields"))
    }

    fn struct_variant<V: de::Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.value.visit_table(visitor, true)
    }
}

/// The fields of a variant: its table without the tag.
struct Fields<'de, 'u>(Strict<'de, 'u>);

impl<'de> de::Deserializer<'de> for Fields<'de, '_> {
    type Error = Fault;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.0.visit_table(visitor, true)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
