//! OpenAPI schemas of what is not derived: objects with `apiVersion` and `kind`, and words-or-lists.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr, Schema,
        schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, OneOfBuilder, Type},
    },
};

use super::{
    ConditionValue, Fallback, GatewaySpec, Kind, LanewayGatewaySpec, Metadata, Object, Resource,
    Spec, Status,
};

pub(super) type Schemas = Vec<(String, RefOr<Schema>)>;

fn word(only: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some([only]))
}

pub(super) fn with<T: ToSchema>(schemas: &mut Schemas) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

impl<S: Spec> PartialSchema for Resource<S> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .property("apiVersion", word(S::KIND.api_version()))
            .required("apiVersion")
            .property("kind", word(S::KIND.name()))
            .required("kind")
            .property("metadata", Ref::from_schema_name(Metadata::name()))
            .required("metadata")
            .property("spec", Ref::from_schema_name(S::name()))
            .required("spec")
            .property("status", Ref::from_schema_name(Status::name()))
            .into()
    }
}

impl<S: Spec> ToSchema for Resource<S> {
    fn name() -> Cow<'static, str> {
        S::KIND.name().into()
    }

    fn schemas(schemas: &mut Schemas) {
        with::<Metadata>(schemas);
        with::<S>(schemas);
        with::<Status>(schemas);
    }
}

impl PartialSchema for Object {
    fn schema() -> RefOr<Schema> {
        let one_of = Kind::ALL.into_iter().fold(OneOfBuilder::new(), |one_of, kind| {
            one_of.item(Ref::from_schema_name(kind.name()))
        });
        RefOr::T(Schema::OneOf(one_of.build()))
    }
}

impl ToSchema for Object {
    fn name() -> Cow<'static, str> {
        "Object".into()
    }

    fn schemas(schemas: &mut Schemas) {
        Kind::schemas(schemas);
    }
}

impl PartialSchema for GatewaySpec {
    fn schema() -> RefOr<Schema> {
        let foreign = ObjectBuilder::new()
            .property("gatewayClassName", ObjectBuilder::new().schema_type(Type::String))
            .required("gatewayClassName");
        let any_of = AnyOfBuilder::new()
            .item(Ref::from_schema_name(LanewayGatewaySpec::name()))
            .item(foreign)
            .description(Some(
                "What a gateway is to be; of a class other than `laneway`, anything.",
            ));
        RefOr::T(Schema::AnyOf(any_of.build()))
    }
}

impl ToSchema for GatewaySpec {
    fn name() -> Cow<'static, str> {
        "GatewaySpec".into()
    }

    fn schemas(schemas: &mut Schemas) {
        with::<LanewayGatewaySpec>(schemas);
    }
}

impl PartialSchema for Fallback {
    fn schema() -> RefOr<Schema> {
        let tags = ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::String));
        let one_of = OneOfBuilder::new().item(tags).item(word("none")).description(Some(
            "Tags of lanes of the same group to try before base, or the word `none`.",
        ));
        RefOr::T(Schema::OneOf(one_of.build()))
    }
}

impl ToSchema for Fallback {
    fn name() -> Cow<'static, str> {
        "Fallback".into()
    }
}

impl PartialSchema for ConditionValue {
    fn schema() -> RefOr<Schema> {
        let one_of = OneOfBuilder::new()
            .item(ObjectBuilder::new().schema_type(Type::String))
            .item(ObjectBuilder::new().schema_type(Type::Number))
            .description(Some("A string; a number 0 to 100 for `percentage`."));
        RefOr::T(Schema::OneOf(one_of.build()))
    }
}

impl ToSchema for ConditionValue {
    fn name() -> Cow<'static, str> {
        "ConditionValue".into()
    }
}
