use engine::{Cancel, EngineError, IdleSignal, TokenWithOffsets};

use super::super::admission::{Admission, Limits};
use super::super::job::Wants;
use super::super::model::Shape;
use super::*;

struct Nothing;

impl Model for Nothing {
    fn shape(&self) -> Shape {
        Shape { dimension: 1, tokens_max: 1000, vocabulary: 2 }
    }
    fn tokenize(&self, _: &[String], _: &Cancel) -> Result<Vec<Vec<u32>>, EngineError> {
        Err(EngineError::Cancelled)
    }
    fn pieces(&self, _: &[String], _: bool, _: &Cancel) -> Result<Vec<Vec<TokenWithOffsets>>, EngineError> {
        Err(EngineError::Cancelled)
    }
    fn step(&self, _: &[Vec<u32>], _: &Cancel, _: &IdleSignal) -> Result<Vec<Vec<f32>>, EngineError> {
        Err(EngineError::Cancelled)
    }
}

fn push(queue: &mut Queue, model: &Arc<dyn Model>, client: &str, rest: Rest) -> Arc<Job> {
    let client = Client::from_name(client);
    let permit = Admission::new(Limits { requests_max: 9, bytes_max: 9 }).admit(&client, 1).ok().unwrap();
    let (job, _) = Job::new(client.clone(), Arc::clone(model), Wants::Vectors, 1, permit);
    queue.push(&client, Entry { job: Arc::clone(&job), rest, since: Instant::now() });
    job
}

fn sequences(count: usize, tokens: usize) -> Rest {
    Rest::Sequences((0..count).map(|index| (index, vec![0; tokens])).collect())
}

fn step(queue: &mut Queue, tokens: usize) -> Batch {
    match queue.take(tokens, true) {
        Some(Work::Step(batch)) => batch,
        _ => panic!("no batch"),
    }
}

fn of(batch: &Batch, client: &str) -> usize {
    batch.items.iter().filter(|item| item.job.client == Client::from_name(client)).count()
}

#[test]
fn a_small_client_is_in_the_next_batch_whatever_a_large_one_has_queued() {
    let (mut queue, model) = (Queue::default(), Arc::new(Nothing) as Arc<dyn Model>);
    push(&mut queue, &model, "large", sequences(1000, 100));
    push(&mut queue, &model, "large", sequences(1000, 100));
    push(&mut queue, &model, "small", sequences(1, 100));
    let batch = step(&mut queue, 1000);
    assert_eq!((of(&batch, "small"), of(&batch, "large")), (1, 9));
}

#[test]
fn two_large_clients_share_a_batch_evenly() {
    let (mut queue, model) = (Queue::default(), Arc::new(Nothing) as Arc<dyn Model>);
    for client in ["a", "b"] {
        push(&mut queue, &model, client, sequences(100, 64));
    }
    let batch = step(&mut queue, 1024);
    assert_eq!((of(&batch, "a"), of(&batch, "b")), (8, 8));
}

#[test]
fn texts_keep_their_place_while_they_are_tokenized_and_later_requests_pass() {
    let (mut queue, model) = (Queue::default(), Arc::new(Nothing) as Arc<dyn Model>);
    let first = push(&mut queue, &model, "a", Rest::Texts(vec!["x".into()]));
    push(&mut queue, &model, "a", Rest::Texts(vec!["y".into()]));
    let Some(Work::Tokenize(texts)) = queue.take(100, true) else { panic!("no texts") };
    assert_eq!(texts.len(), 2);
    push(&mut queue, &model, "a", sequences(1, 10));
    assert_eq!(step(&mut queue, 100).items.len(), 1);
    assert!(queue.take(100, true).is_none());
    assert!(queue.tokenized(&first, vec![vec![0]]));
    assert!(Arc::ptr_eq(&step(&mut queue, 100).items[0].job, &first));
    assert!(!queue.tokenized(&first, vec![vec![0]]));
    assert_eq!(queue.requests(), 1);
}

#[test]
fn a_batch_is_of_one_model_and_within_its_tokens_but_never_empty() {
    let mut queue = Queue::default();
    let models = [Arc::new(Nothing) as Arc<dyn Model>, Arc::new(Nothing2) as Arc<dyn Model>];
    push(&mut queue, &models[0], "a", sequences(2, 60));
    push(&mut queue, &models[1], "b", sequences(1, 500));
    let batch = step(&mut queue, 100);
    assert_eq!((batch.items.len(), of(&batch, "a")), (1, 1));
    assert_eq!(of(&step(&mut queue, 100), "b"), 1);
    assert_eq!(of(&step(&mut queue, 100), "a"), 1);
    assert!(queue.take(100, true).is_none() && queue.turns.is_empty());
}

/// A model of another kind.
struct Nothing2;

impl Model for Nothing2 {
    fn shape(&self) -> Shape {
        Nothing.shape()
    }
    fn tokenize(&self, texts: &[String], cancel: &Cancel) -> Result<Vec<Vec<u32>>, EngineError> {
        Nothing.tokenize(texts, cancel)
    }
    fn pieces(&self, _: &[String], _: bool, _: &Cancel) -> Result<Vec<Vec<TokenWithOffsets>>, EngineError> {
        Err(EngineError::Cancelled)
    }
    fn step(
        &self,
        batch: &[Vec<u32>],
        cancel: &Cancel,
        idle: &IdleSignal,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        Nothing.step(batch, cancel, idle)
    }
}

#[test]
fn entries_of_gone_callers_are_taken_out() {
    let (mut queue, model) = (Queue::default(), Arc::new(Nothing) as Arc<dyn Model>);
    let gone = push(&mut queue, &model, "a", sequences(5, 5));
    push(&mut queue, &model, "a", sequences(1, 5));
    gone.cancel.cancel();
    assert_eq!(queue.remove_cancelled().len(), 1);
    assert_eq!((queue.requests(), queue.tokens(100)), (1, 5));
}
