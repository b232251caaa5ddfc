//! Old commits go once a checkpoint stands for them, and nothing else changes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::{sync::Arc, time::Duration};

use andromede_controller::{
    access::Principal,
    change::Change,
    checkpoint::Retention,
    fold::fold,
    history,
    publish::{Cursor, Publisher},
    registry::Registry,
    store::{Store, StoreError},
    writer::Writer,
};
use andromede_model::{Model, Resource};
use andromede_proto::v1::{self, WatchRequest};
use support::{
    Controller,
    bundle::{empty_tenant, host, port},
};
use tonic::Code;

fn resources(messages: Vec<v1::Resource>) -> Vec<Resource> {
    messages.into_iter().map(|message| message.try_into().unwrap()).collect()
}

#[tokio::test]
async fn the_state_is_the_same_from_a_checkpoint_and_the_log_is_short() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path()).unwrap());
    let (model, index) = fold(&store).unwrap();
    let publisher = Arc::new(Publisher::new(model, index));
    let retention = Retention { every: 50, keep: 20, keep_for: Duration::ZERO };
    let (writer, end) =
        Writer::start(Arc::clone(&store), Arc::clone(&publisher), Arc::<Registry>::default(), retention).unwrap();
    let first = resources([empty_tenant("a"), vec![host(1), host(2)]].concat());
    let change = |written| Change { written, ..Change::new(Principal::anonymous(), "Apply") };
    writer.write(change(first)).await.unwrap();
    for number in 0..300_u32 {
        let write = resources(vec![port("a", (number % 200 + 2) as u8, Some((number % 2 + 1) as u8))]);
        writer.write(change(write)).await.unwrap();
    }
    drop(writer);
    end.await.unwrap().unwrap();
    let model = publisher.model();
    drop(store);

    let store = Store::open(folder.path()).unwrap();
    let checkpoint = store.checkpoint().unwrap().expect("a checkpoint");
    assert!((50..=301).contains(&checkpoint));
    assert!(matches!(store.read(0, 1), Err(StoreError::Trimmed { .. })));
    assert!(store.read(checkpoint - 20, 1).is_ok());
    // The history begins where the log does.
    let oldest = store.first().unwrap() - 1;
    assert_eq!(history::at(&store, oldest).unwrap().revision(), oldest);
    assert!(matches!(history::at(&store, oldest - 1), Err(StoreError::Trimmed { .. })));
    let span = history::Span::read(&store, model.revision(), oldest).unwrap();
    assert_eq!((span.from, span.to.revision()), (Model::clone(&model), oldest));
    let (folded, index) = fold(&store).unwrap();
    assert_eq!(folded, *model);
    let publisher = Publisher::new(folded, index);
    let name = "hosts/h1".parse().unwrap();
    let update = publisher.next(&name, &mut Cursor::default()).unwrap();
    let views: Vec<_> = update.snapshots.iter().map(|snapshot| snapshot.view().unwrap()).collect();
    assert_eq!(views, [model.view(&"tenants/a/networks/n".parse().unwrap()).unwrap()]);
    drop(store);

    let controller = Controller::plaintext(folder.path()).await;
    let mut watch = controller
        .fabric()
        .await
        .watch(WatchRequest { after_revision: 1, ..WatchRequest::default() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(watch.message().await.unwrap_err().code(), Code::OutOfRange);
    let mut watch = controller
        .fabric()
        .await
        .watch(WatchRequest { after_revision: 0, ..WatchRequest::default() })
        .await
        .unwrap()
        .into_inner();
    assert!(watch.message().await.unwrap().unwrap().snapshot);
    controller.stop().await;
}
