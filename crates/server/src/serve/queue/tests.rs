use engine::{Cancel, EngineError, IdleSignal, TextCursor, Token};

use super::super::admission::{Admission, AdmissionLimits};
use super::super::client::Client;
use super::super::job::OutputKind;
use super::super::model::Shape;
use super::super::text::Text;
use super::*;

/// A model that computes nothing.
struct NoModel;

impl Model for NoModel {
    fn shape(&self) -> Shape {
        Shape { dimension: 1, tokens_max: 1000, vocabulary: 2 }
    }
    fn next_ids(&self, _: &str, cursor: &mut TextCursor, ids: &mut Vec<u32>) -> Result<(), EngineError> {
        ids.push(1);
        cursor.finish();
        Ok(())
    }
    fn next_tokens(
        &self,
        _: &str,
        _: bool,
        _: &mut TextCursor,
        _: &mut Vec<Token>,
    ) -> Result<(), EngineError> {
        Err(EngineError::Cancelled)
    }
    fn token_name(&self, _: u32) -> Option<String> {
        None
    }
    fn step(&self, _: &[Vec<u32>], _: &Cancel, _: &IdleSignal) -> Result<Vec<Vec<f32>>, EngineError> {
        Err(EngineError::Cancelled)
    }
}

fn push(queue: &mut Queue, model: &Arc<dyn Model>, client: &str, input: PendingInput) -> Arc<Job> {
    push_kind(queue, model, client, OutputKind::Embeddings, input)
}

fn push_kind(
    queue: &mut Queue,
    model: &Arc<dyn Model>,
    client: &str,
    kind: OutputKind,
    input: PendingInput,
) -> Arc<Job> {
    let client = Client::from_name(client);
    let permit =
        Admission::new(AdmissionLimits { requests_max: 9, bytes_max: 9 }).admit(&client).ok().unwrap();
    let (job, _) = Job::new(client, Arc::clone(model), kind, 1, permit);
    queue.push(QueueEntry { job: Arc::clone(&job), input, since: Instant::now() });
    job
}

fn text(bytes: usize) -> PendingInput {
    PendingInput::Texts(TextWork::new(vec![Text::from(&*"x".repeat(bytes))]))
}

fn sequences(count: usize, tokens: usize) -> PendingInput {
    PendingInput::Sequences((0..count).map(|index| (index, vec![0; tokens])).collect())
}

fn step(queue: &mut Queue, tokens: usize) -> Batch {
    queue.take_batch(tokens).unwrap()
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
    let first = push(&mut queue, &model, "a", text(1));
    push(&mut queue, &model, "a", text(1));
    assert_eq!(queue.take_slice(LaneKind::Embeddings).len(), 2);
    push(&mut queue, &model, "a", sequences(1, 10));
    assert_eq!(step(&mut queue, 100).items.len(), 1);
    assert!(queue.take_batch(100).is_none());
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
    assert!(queue.take_batch(100).is_none() && queue.embeddings.is_empty());
}

/// A second model.
struct OtherModel;

impl Model for OtherModel {
    fn shape(&self) -> Shape {
        NoModel.shape()
    }
    fn next_ids(&self, _: &str, cursor: &mut TextCursor, ids: &mut Vec<u32>) -> Result<(), EngineError> {
        ids.push(1);
        cursor.finish();
        Ok(())
    }
    fn next_tokens(
        &self,
        _: &str,
        _: bool,
        _: &mut TextCursor,
        _: &mut Vec<Token>,
    ) -> Result<(), EngineError> {
        Err(EngineError::Cancelled)
    }
    fn token_name(&self, _: u32) -> Option<String> {
        None
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

#[test]
fn a_client_with_long_texts_takes_turns_with_others_at_the_tokenizer() {
    let (mut queue, model) = (Queue::default(), Arc::new(NoModel) as Arc<dyn Model>);
    for _ in 0..4 {
        push(&mut queue, &model, "long", text(100_000));
    }
    let short = push(&mut queue, &model, "short", text(10));
    let first = queue.take_slice(LaneKind::Embeddings);
    assert_eq!(first.len(), 1);
    let second = queue.take_slice(LaneKind::Embeddings);
    assert!(Arc::ptr_eq(&second[0].0, &short));
    // Texts that are not finished keep their position.
    for (job, work) in first {
        queue.put_back(&job, work);
    }
    assert!(queue.has_texts(LaneKind::Embeddings) && !queue.has_texts(LaneKind::TokenizeOnly));
    assert_eq!(queue.requests(), 5);
}

#[test]
fn requests_that_only_tokenize_do_not_delay_embeddings_of_the_same_client() {
    let (mut queue, model) = (Queue::default(), Arc::new(NoModel) as Arc<dyn Model>);
    for _ in 0..64 {
        push_kind(&mut queue, &model, "a", OutputKind::Tokens { special_tokens: true }, text(130_000));
    }
    let embedding = push(&mut queue, &model, "a", text(10));
    let slice = queue.take_slice(LaneKind::Embeddings);
    assert!(slice.len() == 1 && Arc::ptr_eq(&slice[0].0, &embedding));
    assert_eq!(queue.take_slice(LaneKind::TokenizeOnly).len(), 1);
}
