//! A test is written once, and runs over every store.

/// Makes a test for each store out of each function: what the function takes is made of the [`Kind`].
macro_rules! over_each_store {
    (|$kind:ident| $argument:expr; $($test:ident),+) => {
        mod redb {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let $kind = crate::support::stores::Kind::Redb;
                super::$test($argument).await;
            })+
        }

        mod mongodb {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let $kind = crate::support::stores::Kind::Mongodb;
                super::$test($argument).await;
            })+
        }
    };
}
pub(crate) use over_each_store;
