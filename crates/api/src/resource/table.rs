//! What one line of the table of kinds becomes.

/// Makes of a table of kinds: [`Kind`](super::Kind), [`Object`](super::Object), one type of resource per kind, and
/// the names of each.
macro_rules! kinds {
    ($(
        $(#[$doc:meta])*
        $kind:ident($spec:ty) as $all:ident: $group:ident, $name:tt, $plural:literal, [$($short:literal),*];
    )*) => {
        /// What kinds of object there are. In this order they can be applied one after the other without a reference
        /// that does not resolve yet.
        #[derive(
            Debug,
            Clone,
            Copy,
            PartialEq,
            Eq,
            PartialOrd,
            Ord,
            Hash,
            serde::Serialize,
            serde::Deserialize,
            utoipa::ToSchema,
        )]
        pub enum Kind {$(
            $(#[$doc])*
            #[serde(rename = $name)]
            $kind,
        )*}

        impl Kind {
            /// Every kind.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$kind),*];

            /// Its names.
            const fn names(self) -> &'static $crate::resource::kind::Names {
                match self {$(
                    Self::$kind => &$crate::resource::kind::Names {
                        name: $name,
                        plural: $plural,
                        short: &[$($short),*],
                        group: $crate::resource::kind::Group::$group,
                    },
                )*}
            }

            /// The heads of what [`Object::cells`] says of it.
            pub fn columns(self) -> Vec<&'static str> {
                match self {$(Self::$kind => $crate::resource::object::columns::<$spec>(),)*}
            }

            /// The schemas of every kind and of what they are made of.
            fn schemas(into: &mut $crate::resource::schema::Schemas) {
                $($crate::resource::schema::with::<$kind>(into);)*
            }
        }

        $(
            $(#[$doc])*
            pub type $kind = Resource<$spec>;

            impl Spec for $spec {
                const KIND: Kind = Kind::$kind;

                fn of(object: &Object) -> Option<&Resource<Self>> {
                    if let Object::$kind(resource) = object { Some(resource) } else { None }
                }
            }

            impl From<$kind> for Object {
                fn from(resource: $kind) -> Self {
                    Self::$kind(resource)
                }
            }
        )*

        /// One object of any kind.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Object {$(
            $(#[$doc])*
            $kind($kind),
        )*}

        impl Object {
            fn of_kind(
                kind: Kind,
                fields: serde_json::Map<String, serde_json::Value>,
            ) -> Result<Self, lanes::Problem> {
                Ok(match kind {$(Kind::$kind => Self::$kind($crate::resource::object::typed(fields)?),)*})
            }

            fn any(&self) -> &dyn $crate::resource::object::AnyResource {
                match self {$(Self::$kind(resource) => resource,)*}
            }

            fn any_mut(&mut self) -> &mut dyn $crate::resource::object::AnyResource {
                match self {$(Self::$kind(resource) => resource,)*}
            }
        }

        impl serde::Serialize for Object {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {$(Self::$kind(resource) => resource.serialize(serializer),)*}
            }
        }

        impl Set {$(
            $(#[$doc])*
            pub fn $all(&self) -> impl Iterator<Item = &$kind> {
                self.all()
            }
        )*}
    };
}

pub(super) use kinds;
