//! Shutdown does not wait for calls that would never end.

use crate::harness::{Mock, chat, post, streamed};

#[tokio::test]
async fn idle_and_hanging_connections_do_not_hold_up_a_shutdown() {
    let mock = Mock::start().await;
    let (mut idle, mut hanging, mut stuck) = (mock.client().await, mock.client().await, mock.client().await);
    idle.open(post("/v1/chat/completions", &chat("mock"))).await.expect("an answer");
    let stream = post("/v1/chat/completions", &streamed("mock?chunks=9&hang=stream&log"));
    let body = stuck.open(stream).await.expect("headers").into_body();
    let hang = hanging.open(post("/v1/chat/completions", &chat("mock?hang=headers")));
    let stop = async {
        mock.events_until("chunk 2").await;
        mock.stop().await;
    };
    let (hang, ()) = tokio::join!(hang, stop);
    assert!(hang.is_err(), "the hanging call is cut");
    assert!(http_body_util::BodyExt::collect(body).await.is_err(), "the stuck stream is cut");
}
