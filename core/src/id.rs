//! Identifiers: 96 random bits from the operating system, printed as 24 lower-case hex characters.
//!
//! The layout is that of a BSON ObjectId, so that every store and every service of the original system can hold one.

/// The text is not 24 lower-case hexadecimal characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 24 lower-case hexadecimal characters")]
pub struct ParseIdError;

#[expect(clippy::expect_used, reason = "no id may ever be guessable")]
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
    bytes
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 12]);

        impl $name {
            /// A fresh one, from the operating system's random numbers.
            ///
            /// # Panics
            /// When the operating system has no random numbers: nothing safe can be done then.
            #[must_use]
            pub fn random() -> Self {
                Self($crate::id::random_bytes())
            }

            /// From its twelve bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 12]) -> Self {
                Self(bytes)
            }

            /// Its twelve bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 12] {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::id::ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if text.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err($crate::id::ParseIdError);
                }
                let mut bytes = [0; 12];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| $crate::id::ParseIdError)?;
                Ok(Self(bytes))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use id;
