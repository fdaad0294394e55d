use engine::{Cancel, EngineError, IdleSignal, TokenWithOffsets};

use super::super::admission::{Admission, Limits};
use super::super::job::OutputKind;
use super::super::model::Shape;
use super::*;

/// A model that computes nothing.
struct NoModel;

impl Model for NoModel {
    fn shape(&self) -> Shape {
        Shape { dimension: 1, tokens_max: 1000, vocabulary: 2 }
    }
    fn tokenize(&self, _: &[String], _: &Cancel) -> Result<Vec<Vec<u32>>, EngineError> {
        Err(EngineError::Cancelled)
    }
    fn tokens_with_offsets(
        &self,
        _: &[String],
        _: bool,
        _: &Cancel,
    ) -> Result<Vec<Vec<TokenWithOffsets>>, EngineError> {
        Err(EngineError::Cancelled)
    }
    fn step(&self, _: &[Vec<u32>], _: &Cancel, _: &IdleSignal) -> Result<Vec<Vec<f32>>, EngineError> {
        Err(EngineError::Cancelled)
    }
}

fn push(queue: &mut Queue, model: &Arc<dyn Model>, client: &str, input: PendingInput) -> Arc<Job> {
    let client = Client::from_name(client);
    let permit = Admission::new(Limits { requests_max: 9, bytes_max: 9 }).admit(&client).ok().unwrap();
    let (job, _) = Job::new(client.clone(), Arc::clone(model), OutputKind::Embeddings, 1, permit);
    queue.push(&client, Entry { job: Arc::clone(&job), input, since: Instant::now() });
    job
}

fn sequences(count: usize, tokens: usize) -> PendingInput {
    PendingInput::Sequences((0..count).map(|index| (index, vec![0; tokens])).collect())
}

fn step(queue: &mut Queue, tokens: usize) -> Batch {
    match queue.take(tokens, true) {
        Some(Work::Compute(batch)) => batch,
        _ => panic!("no batch"),
    }
}

fn count_of(batch: &Batch, client: &str) -> usize {
    batch.items.iter().filter(|item| item.job.client == Client::from_name(client)).count()
}

#[test]
fn a_large_backlog_of_one_client_does_not_delay_another_client() {
    let (mut queue, model) = (Queue::default(), Arc::new(NoModel) as Arc<dyn Model>);
    push(&mut queue, &model, "large", sequences(1000, 100));
    push(&mut queue, &model, "large", sequences(1000, 100));
    push(&mut queue, &model, "small", sequences(1, 100));
    let batch = step(&mut queue, 1000);
    assert_eq!((count_of(&batch, "small"), count_of(&batch, "large")), (1, 9));
}

#[test]
fn two_large_clients_share_a_batch_evenly() {
    let (mut queue, model) = (Queue::default(), Arc::new(NoModel) as Arc<dyn Model>);
    for client in ["a", "b"] {
        push(&mut queue, &model, client, sequences(100, 64));
    }
    let batch = step(&mut queue, 1024);
    assert_eq!((count_of(&batch, "a"), count_of(&batch, "b")), (8, 8));
}

#[test]
fn tokenizing_keeps_the_position_and_does_not_block_later_requests() {
    let (mut queue, model) = (Queue::default(), Arc::new(NoModel) as Arc<dyn Model>);
    let first = push(&mut queue, &model, "a", PendingInput::Texts(vec!["x".into()]));
    push(&mut queue, &model, "a", PendingInput::Texts(vec!["y".into()]));
    let Some(Work::Tokenize(texts)) = queue.take(100, true) else { panic!("no texts") };
    assert_eq!(texts.len(), 2);
    push(&mut queue, &model, "a", sequences(1, 10));
    assert_eq!(step(&mut queue, 100).items.len(), 1);
    assert!(queue.take(100, true).is_none());
    assert!(queue.set_sequences(&first, vec![vec![0]]));
    assert!(Arc::ptr_eq(&step(&mut queue, 100).items[0].job, &first));
    assert!(!queue.set_sequences(&first, vec![vec![0]]));
    assert_eq!(queue.requests(), 1);
}

#[test]
fn a_batch_has_one_model_a_bounded_size_and_at_least_one_sequence() {
    let mut queue = Queue::default();
    let models = [Arc::new(NoModel) as Arc<dyn Model>, Arc::new(OtherModel) as Arc<dyn Model>];
    push(&mut queue, &models[0], "a", sequences(2, 60));
    push(&mut queue, &models[1], "b", sequences(1, 500));
    let batch = step(&mut queue, 100);
    assert_eq!((batch.items.len(), count_of(&batch, "a")), (1, 1));
    assert_eq!(count_of(&step(&mut queue, 100), "b"), 1);
    assert_eq!(count_of(&step(&mut queue, 100), "a"), 1);
    assert!(queue.take(100, true).is_none() && queue.turns.is_empty());
}

/// A second model.
struct OtherModel;

impl Model for OtherModel {
    fn shape(&self) -> Shape {
        NoModel.shape()
    }
    fn tokenize(&self, texts: &[String], cancel: &Cancel) -> Result<Vec<Vec<u32>>, EngineError> {
        NoModel.tokenize(texts, cancel)
    }
    fn tokens_with_offsets(
        &self,
        _: &[String],
        _: bool,
        _: &Cancel,
    ) -> Result<Vec<Vec<TokenWithOffsets>>, EngineError> {
        Err(EngineError::Cancelled)
    }
    fn step(
        &self,
        batch: &[Vec<u32>],
        cancel: &Cancel,
        idle: &IdleSignal,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        NoModel.step(batch, cancel, idle)
    }
}

#[test]
fn removes_cancelled_entries() {
    let (mut queue, model) = (Queue::default(), Arc::new(NoModel) as Arc<dyn Model>);
    let cancelled = push(&mut queue, &model, "a", sequences(5, 5));
    push(&mut queue, &model, "a", sequences(1, 5));
    cancelled.cancel.cancel();
    assert_eq!(queue.remove_cancelled().len(), 1);
    assert_eq!((queue.requests(), queue.tokens(100)), (1, 5));
}
