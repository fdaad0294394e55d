//! One pool of job tokens for everything that compiles. make and cargo each hold one token for themselves and take more
//! from the same pool, so together they never run more than `--jobs` compilers, and a core that one of them leaves idle
//! is taken by the other.

use std::process::Command;

use anyhow::Context;

pub struct Jobs {
    count: usize,
    client: jobserver::Client,
}

/// The right to run one process; given back on drop.
pub struct Token(#[expect(dead_code, reason = "held for its drop")] jobserver::Acquired);

impl Jobs {
    pub fn new(count: usize) -> anyhow::Result<Self> {
        Ok(Self { count, client: jobserver::Client::new(count).context("making the pool of job tokens")? })
    }

    /// All tokens of the pool.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Waits for a token; a child that is a client of the pool counts itself as one job.
    pub fn token(&self) -> anyhow::Result<Token> {
        Ok(Token(self.client.acquire().context("taking a job token")?))
    }

    pub fn share_with_make(&self, command: &mut Command) {
        self.client.configure_make(command);
    }

    pub fn share_with_cargo(&self, command: &mut Command) {
        self.client.configure(command);
    }
}
