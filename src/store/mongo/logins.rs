//! Identities at providers of sign-ins, and logins that wait for their one-time code.

use mongodb::action::Action;
use mongodb::bson::{Document, doc};
use mongodb::options::ReturnDocument;

use super::super::{ErrorType, Login, LoginHash, LoginUse, MAX_TRIES, StoreError, Unlinked};
use super::Operations;
use super::deadline::Deadline;
use super::documents::{LoginDocument, Stored, date};
use super::error::Effect;
use crate::domain::{Identity, ProviderName, Timestamp, UserId};

/// The account that this identity opens. Both in one element: an account may have several.
pub(super) fn opened_by(identity: &Identity) -> Document {
    // The second condition says what the unique index says, or else the index would not be used.
    let element = doc! { "issuer": &identity.issuer, "subject": identity.subject.as_str() };
    doc! { "identities": { "$elemMatch": element }, "identities.issuer": { "$exists": true } }
}

impl Operations {
    pub(super) async fn link(&self, id: UserId, identity: &Identity, deadline: Deadline) -> Result<bool, StoreError> {
        let (provider, subject) = (identity.provider.as_str(), identity.subject.as_str());
        let element = doc! { "issuer": &identity.issuer, "provider": provider, "subject": subject };
        let change = doc! { "$addToSet": { "identities": element } };
        match self.update_generation(id, change, deadline).await {
            Err(error) if error.kind() == ErrorType::DuplicateKey => Err(StoreError::IdentityTaken),
            result => result.map(|generation| generation.is_some()),
        }
    }

    pub(super) async fn unlink(
        &self,
        id: UserId,
        provider: &ProviderName,
        deadline: Deadline,
    ) -> Result<Unlinked, StoreError> {
        let provider_text = provider.as_str();
        let filter = doc! {
            "_id": id.to_string(),
            "identities.provider": provider_text,
            "$or": [
                { "password_hash": { "$exists": true } },
                { "identities": { "$elemMatch": { "provider": { "$ne": provider_text } } } },
            ],
        };
        let change = doc! { "$pull": { "identities": { "provider": provider_text } } };
        if self.update_one_generation(filter, change, deadline).await?.is_some() {
            return Ok(Unlinked::Done);
        }
        let user = self.find_user(doc! { "_id": id.to_string() }, deadline).await?;
        Ok(Unlinked::refused(user.as_ref(), provider))
    }

    pub(super) async fn insert_login(
        &self,
        code: &LoginHash,
        login: &Login,
        deadline: Deadline,
    ) -> Result<(), StoreError> {
        let logins = self.connection()?.collection::<LoginDocument>();
        let document = LoginDocument::of(code, login);
        self.call(("insert", LoginDocument::COLLECTION), Effect::Write, deadline, |comment| async move {
            logins.insert_one(document).optional(comment, |insert, comment| insert.comment(comment)).await
        })
        .await
        .map(drop)
    }

    pub(super) async fn use_login(
        &self,
        code: &LoginHash,
        usage: LoginUse,
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<Option<Login>, StoreError> {
        let logins = self.connection()?.collection::<LoginDocument>();
        let mut good = doc! { "_id": &code.0, "expires_at": { "$gt": date(now) } };
        if usage != LoginUse::Take {
            // Whoever takes has looked or tried before.
            good.insert("tries", doc! { "$lt": i64::from(MAX_TRIES) });
        }
        let max_time = deadline.remaining();
        let found = match usage {
            LoginUse::Look => {
                self.call(("find", LoginDocument::COLLECTION), Effect::None, deadline, |comment| {
                    logins.find_one(good).max_time(max_time).optional(comment, |find, comment| find.comment(comment))
                })
                .await?
            }
            LoginUse::Try => {
                self.call(("findAndModify", LoginDocument::COLLECTION), Effect::Write, deadline, |comment| {
                    logins
                        .find_one_and_update(good, doc! { "$inc": { "tries": 1_i64 } })
                        .return_document(ReturnDocument::After)
                        .max_time(max_time)
                        .optional(comment, |update, comment| update.comment(comment))
                })
                .await?
            }
            LoginUse::Take => {
                self.call(("findAndModify", LoginDocument::COLLECTION), Effect::Write, deadline, |comment| {
                    logins
                        .find_one_and_delete(good)
                        .max_time(max_time)
                        .optional(comment, |delete, comment| delete.comment(comment))
                })
                .await?
            }
        };
        Ok(found.map(LoginDocument::into_login))
    }
}
