//! A command that arrives after its own retry.

use crate::support::eventually;
use crate::support::mongod::ReplicaSet;
use crate::support::proxy::Mode;
use crate::support::service::Service;
use crate::support::stores::Store;

/// The server remembers of a retryable write only what it wrote. A first attempt that comes after the retry found no counter takes
/// a number of the counter that was made since: whoever made the call must know that this can be.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_found_no_counter_says_nothing_of_the_first_attempt() {
    let set = ReplicaSet::start_behind_proxies(1).await;
    let store = Store::in_mongodb(&set.uri());
    let (service, other) = tokio::join!(Service::on(&store, &[]), Service::on(&store, &[]));
    let user = service.client().await.register().await;
    let elsewhere = user.at(&other.client().await);

    set.set_proxy(0, Mode::HoldTake);
    user.post("/v1/next").send().await.problem(503, "outcome_unknown");
    assert_eq!(set.held_take(0), (true, false), "the driver made a second attempt");
    assert_eq!(elsewhere.next().await, 1);

    set.set_proxy(0, Mode::Pass);
    eventually("the server has answered the first attempt", async || set.held_take(0).1.then_some(())).await;
    assert_eq!(elsewhere.next().await, 3, "the first attempt took a number");
}
