//! What anybody would write without the service: MongoDB's driver and a majority write for each number.

use mongodb::bson::{Document, doc};
use mongodb::options::{Acknowledgment, ClientOptions, WriteConcern};
use mongodb::{Client, Collection};

use super::{Case, Subject};
use crate::closed_loop::Caller;
use crate::usage::Usage;

pub(crate) const NAME: &str = "raw driver";

pub(crate) struct Driver {
    collection: Collection<Document>,
    mongods: Vec<u32>,
}

impl Driver {
    pub(crate) async fn connect(uri: &str, mongods: &[u32]) -> Self {
        let mut options = ClientOptions::parse(uri).await.unwrap();
        options.write_concern = Some(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build());
        options.max_pool_size = Some(256);
        let collection = Client::with_options(options).unwrap().database("raw").collection("counters");
        Self { collection, mongods: mongods.to_vec() }
    }
}

impl Subject for Driver {
    type Caller = DriverCaller;

    fn name(&self) -> &'static str {
        NAME
    }

    async fn caller(&self, case: Case, client: usize) -> DriverCaller {
        DriverCaller { collection: self.collection.clone(), case, client }
    }

    fn usage(&self) -> Usage {
        Usage::of(&[], &self.mongods)
    }
}

pub(crate) struct DriverCaller {
    collection: Collection<Document>,
    case: Case,
    client: usize,
}

impl Caller for DriverCaller {
    async fn call(&mut self, number: usize) {
        let id = i64::try_from(self.case.counter(self.client, number)).unwrap();
        let change = doc! { "$inc": { "value": 1_i64 } };
        loop {
            let update = self.collection.find_one_and_update(doc! { "_id": id }, change.clone()).upsert(true);
            match update.await {
                Ok(_) => return,
                // Two clients made the counter at once.
                Err(error) if format!("{:?}", error.kind).contains("11000") => {}
                Err(error) => panic!("the raw driver: {error:?}"),
            }
        }
    }
}
