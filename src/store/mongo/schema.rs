//! Collections, validators and indexes, made at start by whichever replica comes first.
//!
//! The counters need no index but that of `_id`: it begins with the user, so a user's counters are one range of it.

use std::collections::HashMap;
use std::time::Duration;

use mongodb::IndexModel;
use mongodb::bson::{Document, doc};
use mongodb::options::{CommitQuorum, IndexOptions};

use super::super::{Cause, ErrorType, PrepareError, StoreError};
use super::connect::Connection;
use super::deadline::Deadline;
use super::documents::{CounterDocument, KeyDocument, LoginDocument, Stored, UserDocument};
use super::error::Effect;
use super::{NO_COLLECTION, Operations};
use crate::domain::CounterValue;

/// The server's code for a collection that somebody else made in the meantime.
const NAMESPACE_EXISTS: i32 = 48;

struct Schema {
    collection: &'static str,
    validator: Document,
    indexes: Vec<IndexModel>,
}

impl Operations {
    /// Makes what is missing. Everything here can be repeated, and done by several replicas at once.
    pub(super) async fn make_schema(&self, connection: &Connection) -> Result<(), PrepareError> {
        let present = self.validators(connection).await.map_err(refused)?;
        for schema in schemas() {
            self.make_collection(connection, &schema, present.get(schema.collection)).await.map_err(refused)?;
            self.make_indexes(connection, schema).await.map_err(refused)?;
        }
        Ok(())
    }

    /// Asks the servers whether they let us in and can keep the promises.
    pub(super) async fn check_servers(&self, connection: &Connection) -> Result<(), PrepareError> {
        self.ping_primary(connection).await.map_err(refused)?;
        let admin = connection.client.database("admin");
        let hello = self
            .call(("hello", NO_COLLECTION), Effect::None, self.deadline(), |_| admin.run_command(doc! { "hello": 1 }))
            .await
            .map_err(refused)?;
        topology(&hello)
    }

    /// The collections that are there, with their validators.
    async fn validators(&self, connection: &Connection) -> Result<HashMap<String, Document>, StoreError> {
        let names: Vec<&str> = schemas().iter().map(|schema| schema.collection).collect();
        let database = &connection.database;
        self.call(("listCollections", NO_COLLECTION), Effect::None, self.deadline(), |_| async move {
            let mut cursor = database.list_collections().filter(doc! { "name": { "$in": names } }).await?;
            let mut present = HashMap::new();
            while cursor.advance().await? {
                let collection = cursor.deserialize_current()?;
                present.insert(collection.name, collection.options.validator.unwrap_or_default());
            }
            Ok(present)
        })
        .await
    }

    async fn make_collection(
        &self,
        connection: &Connection,
        schema: &Schema,
        present: Option<&Document>,
    ) -> Result<(), StoreError> {
        match present {
            // A change of validator locks the collection for a moment, so it is not made without need.
            Some(validator) if *validator == schema.validator => Ok(()),
            Some(_) => self.define(connection, "collMod", schema).await,
            None => match self.define(connection, "create", schema).await {
                Err(error) if error.cause().and_then(|cause| cause.code) == Some(NAMESPACE_EXISTS) => {
                    self.define(connection, "collMod", schema).await
                }
                result => result,
            },
        }
    }

    async fn define(
        &self,
        connection: &Connection,
        operation: &'static str,
        schema: &Schema,
    ) -> Result<(), StoreError> {
        let deadline = self.deadline();
        let command = doc! {
            operation: schema.collection,
            "validator": schema.validator.clone(),
            "writeConcern": { "w": "majority", "wtimeout": deadline.remaining_millis() },
        };
        self.call((operation, schema.collection), Effect::None, deadline, |_| connection.database.run_command(command))
            .await
            .map(drop)
    }

    async fn make_indexes(&self, connection: &Connection, schema: Schema) -> Result<(), StoreError> {
        if schema.indexes.is_empty() {
            return Ok(());
        }
        let collection = connection.database.collection::<Document>(schema.collection);
        let deadline: Deadline = self.deadline();
        self.call(("createIndexes", schema.collection), Effect::None, deadline, |_| async move {
            // By default every member must take part, and one that is down would hold up the start.
            collection.create_indexes(schema.indexes).commit_quorum(CommitQuorum::Majority).await
        })
        .await
        .map(drop)
    }
}

/// Refuses a server that has neither transactions nor a majority.
fn topology(hello: &Document) -> Result<(), PrepareError> {
    if hello.contains_key("setName") || hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
        return Ok(());
    }
    if hello.get_bool("isreplicaset").unwrap_or(false) {
        let cause =
            Cause::new(ErrorType::NotInitiated, "the replica set has not been initiated: run rs.initiate() once");
        return Err(StoreError::Unavailable(cause).into());
    }
    Err(PrepareError::Refused(
        "The MongoDB server is not a member of a replica set, and without one it has neither transactions nor a \
         majority. Start it with `mongod --replSet rs0`, then run `rs.initiate()` once in mongosh; one member is enough."
            .into(),
    ))
}

/// Of what is refused for lack of rights, a repetition changes nothing.
fn refused(error: StoreError) -> PrepareError {
    match error.kind() {
        ErrorType::Authentication => PrepareError::Refused(
            "MongoDB refused the user or the password of the connection string (is authSource right?).".into(),
        ),
        ErrorType::Unauthorized => PrepareError::Refused(
            "The MongoDB user lacks rights: it needs the roles readWrite and dbAdmin on the database.".into(),
        ),
        _ => PrepareError::NotYet(error),
    }
}

fn schemas() -> Vec<Schema> {
    vec![users(), counters(), keys(), logins()]
}

fn users() -> Schema {
    Schema {
        collection: UserDocument::COLLECTION,
        validator: json_schema(
            &["_id", "token_generation", "counters", "incremental_id", "created_at"],
            doc! {
                "_id": { "bsonType": "string" },
                "email": { "bsonType": "string", "maxLength": 254 },
                "password_hash": { "bsonType": "string" },
                "token": { "bsonType": "string" },
                "token_generation": whole_number(),
                "counters": whole_number(),
                "incremental_id": { "bsonType": "string" },
                "created_at": { "bsonType": "date" },
                "identities": {
                    "bsonType": "array",
                    "items": {
                        "bsonType": "object",
                        "required": ["provider", "subject"],
                        "properties": {
                            "issuer": { "bsonType": "string" },
                            "provider": { "bsonType": "string" },
                            "subject": { "bsonType": "string" },
                        },
                    },
                },
            },
        ),
        indexes: vec![
            unique("email_of_password_user", doc! { "email": 1 }, "password_hash"),
            unique("issuer_and_subject", doc! { "identities.issuer": 1, "identities.subject": 1 }, "identities.issuer"),
        ],
    }
}

fn counters() -> Schema {
    let top = i64::try_from(CounterValue::MAX.get()).unwrap_or(i64::MAX);
    Schema {
        collection: CounterDocument::COLLECTION,
        validator: json_schema(
            &["_id", "user", "name", "value", "version", "updated_at"],
            doc! {
                "_id": { "bsonType": "string" },
                "user": { "bsonType": "string" },
                "name": { "bsonType": "string" },
                "value": { "bsonType": "long", "minimum": 0_i64, "maximum": top },
                "version": whole_number(),
                "updated_at": { "bsonType": "date" },
            },
        ),
        indexes: Vec::new(),
    }
}

fn keys() -> Schema {
    Schema {
        collection: KeyDocument::COLLECTION,
        validator: json_schema(
            &["_id", "fingerprint", "outcome", "expires_at"],
            doc! {
                "_id": { "bsonType": "string" },
                "fingerprint": { "bsonType": "string" },
                "outcome": { "bsonType": "object" },
                "expires_at": { "bsonType": "date" },
            },
        ),
        indexes: vec![expiry()],
    }
}

fn logins() -> Schema {
    Schema {
        collection: LoginDocument::COLLECTION,
        validator: json_schema(
            &["_id", "issuer", "provider", "subject", "tries", "expires_at"],
            doc! {
                "_id": { "bsonType": "string" },
                "issuer": { "bsonType": "string" },
                "provider": { "bsonType": "string" },
                "subject": { "bsonType": "string" },
                "email": { "bsonType": "string", "maxLength": 254 },
                "tries": whole_number(),
                "expires_at": { "bsonType": "date" },
            },
        ),
        indexes: vec![expiry()],
    }
}

/// The server removes a document when its time has come, within a minute or so.
fn expiry() -> IndexModel {
    let options = IndexOptions::builder().name("expiry".to_owned()).expire_after(Duration::ZERO).build();
    IndexModel::builder().keys(doc! { "expires_at": 1 }).options(options).build()
}

fn json_schema(required: &[&str], properties: Document) -> Document {
    doc! { "$jsonSchema": { "bsonType": "object", "required": required, "properties": properties } }
}

fn whole_number() -> Document {
    doc! { "bsonType": "long", "minimum": 0_i64 }
}

/// A unique index over the documents that have a certain field.
fn unique(name: &str, keys: Document, field: &str) -> IndexModel {
    let options = IndexOptions::builder()
        .name(name.to_owned())
        .unique(true)
        .partial_filter_expression(doc! { field: { "$exists": true } })
        .build();
    IndexModel::builder().keys(keys).options(options).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_replica_set_or_a_router_will_do() {
        assert_eq!(topology(&doc! { "setName": "rs0" }), Ok(()));
        assert_eq!(topology(&doc! { "msg": "isdbgrid" }), Ok(()));
        let standalone = topology(&doc! { "isWritablePrimary": true }).unwrap_err();
        assert!(matches!(&standalone, PrepareError::Refused(text) if text.contains("rs.initiate()")));
        let uninitiated = topology(&doc! { "isreplicaset": true }).unwrap_err();
        assert!(matches!(uninitiated, PrepareError::NotYet(_)));
    }

    #[test]
    fn wrong_credentials_and_missing_rights_are_refused_for_good() {
        for kind in [ErrorType::Authentication, ErrorType::Unauthorized] {
            let error = StoreError::Unavailable(Cause::new(kind, ""));
            assert!(matches!(refused(error), PrepareError::Refused(_)));
        }
        assert!(matches!(refused(StoreError::Unavailable(Cause::timeout())), PrepareError::NotYet(_)));
    }
}
