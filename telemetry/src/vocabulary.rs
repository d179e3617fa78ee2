//! The macro behind [`crate::event`]: a struct for each kind, [`crate::Event`] over them, and their JSON.
//!
//! Written out, every new kind would have to be added in five places that must agree.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Defines each event's struct with its fields and the open rest, and `Event` over them all.
macro_rules! events {
    ($(
        $(#[$doc:meta])*
        struct $name:ident = $kind:literal { $( $(#[$field_doc:meta])* $field:ident: $type:ty, )* }
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq)]
            pub struct $name {
                $( $(#[$field_doc])* pub $field: $type, )*
                /// Whatever else the line holds.
                pub fields: Fields,
            }

            impl $name {
                #[allow(unused_variables, reason = "an event may have no fields of its own")]
                fn write(&self, line: &mut $crate::vocabulary::JsonMap) {
                    $( $crate::vocabulary::put(line, stringify!($field), &self.$field); )*
                }

                /// Reads the event, or gives the line back where a field is missing or of another type.
                #[allow(unused_mut, reason = "an event may have no fields of its own")]
                fn read(mut line: $crate::vocabulary::JsonMap) -> Result<Self, $crate::vocabulary::JsonMap> {
                    $( let Some($field) = $crate::vocabulary::get(&line, stringify!($field)) else { return Err(line) }; )*
                    // One pass over the line: taking them out one by one would move the rest each time.
                    const OWN: &[&str] = &[$( stringify!($field) ),*];
                    line.retain(|name, _| !OWN.contains(&name.as_str()));
                    Ok(Self { $( $field, )* fields: line.into() })
                }
            }

            impl From<$name> for Event {
                fn from(event: $name) -> Self {
                    Self::$name(event)
                }
            }
        )*

        /// What a line says: `"kind":"step"` is [`Event::Step`] and so on.
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum Event {
            $( $(#[$doc])* $name($name), )*
            /// A kind this version does not know, or a known one without its fields; kept as it was.
            Unknown {
                /// The kind as written.
                kind: String,
                /// All its fields.
                fields: Fields,
            },
        }

        impl Event {
            /// The kind, as written in the log.
            pub fn kind(&self) -> &str {
                match self {
                    $( Self::$name(_) => $kind, )*
                    Self::Unknown { kind, .. } => kind,
                }
            }

            /// The fields that the event's struct does not name.
            pub fn fields(&self) -> &Fields {
                match self {
                    $( Self::$name(event) => &event.fields, )*
                    Self::Unknown { fields, .. } => fields,
                }
            }

            /// Adds the event's fields to a line. Two of one name are a mistake of ours.
            pub(crate) fn write(&self, line: &mut $crate::vocabulary::JsonMap) {
                match self {
                    $( Self::$name(event) => event.write(line), )*
                    Self::Unknown { .. } => {}
                }
                for (name, value) in self.fields().iter() {
                    let before = line.insert(name.to_owned(), value.clone());
                    assert!(before.is_none(), "event {:?} has field {name:?} twice", self.kind());
                }
            }

            /// Makes an event of a line's fields; never fails, see [`Event::Unknown`].
            pub(crate) fn read(kind: &str, fields: $crate::vocabulary::JsonMap) -> Self {
                let fields = match kind {
                    $( $kind => match $name::read(fields) {
                        Ok(event) => return Self::$name(event),
                        Err(fields) => fields,
                    }, )*
                    _ => fields,
                };
                Self::Unknown { kind: kind.to_owned(), fields: fields.into() }
            }
        }
    };
}
pub(crate) use events;

/// A line's fields in order.
pub(crate) type JsonMap = Map<String, Value>;

/// Sets a field; `None` leaves it out.
pub(crate) fn put(line: &mut JsonMap, name: &str, value: &impl Serialize) {
    let value = serde_json::to_value(value).expect("an event's fields are plain data");
    if !value.is_null() {
        line.insert(name.to_owned(), value);
    }
}

/// Reads a field; one that is missing is `null`, which an `Option` takes and nothing else.
pub(crate) fn get<'a, T: Deserialize<'a>>(line: &'a JsonMap, name: &str) -> Option<T> {
    T::deserialize(line.get(name).unwrap_or(&Value::Null)).ok()
}
