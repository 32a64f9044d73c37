// SPDX-License-Identifier: GPL-2.0

//! One sequence of operations, on the device and on the model.

use std::{fmt, fmt::Write};

use crate::{
    model::{Call, Driver, Key, Model, Mutation, Reply, Time},
    op::Op,
};

/// What a model is compared with.
pub trait Device {
    fn now(&mut self) -> Time;

    fn call(&mut self, call: &Call) -> Reply;

    /// Whether a wait is over.
    fn woken(&mut self, wait: Key) -> bool;

    /// How late the machine was at most when it was to sleep.
    fn stalled(&self) -> Time;
}

/// Why a sequence ended before its end.
#[derive(Debug)]
pub enum Stop {
    /// It was so slow that nothing can be said.
    Slow,
    Wrong(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slow => f.write_str("too slow"),
            Self::Wrong(why) => f.write_str(why),
        }
    }
}

struct Run<'a, D> {
    model: Model,
    device: &'a mut D,
    calls: u64,
    trace: String,
}

/// Runs a sequence, closes everything, and returns the number of calls that were made.
///
/// `trace` then has what was done.
pub fn run(
    device: &mut impl Device,
    driver: Driver,
    mutation: Option<Mutation>,
    ops: &[Op],
) -> (Result<u64, Stop>, String) {
    let mut run =
        Run { model: Model::new(driver, mutation), device, calls: 0, trace: String::new() };
    let result = run.all(ops);
    (result.map(|()| run.calls), run.trace)
}

impl<D: Device> Run<'_, D> {
    fn all(&mut self, ops: &[Op]) -> Result<(), Stop> {
        for op in ops {
            if let Some(call) = self.model.call(*op) {
                self.step(&call)?;
            }
        }
        for call in self.model.left() {
            self.step(&call)?;
        }
        if !self.model.waiting().is_empty() {
            return Err(Stop::Wrong("a wait is not over at the end".into()));
        }
        Ok(())
    }

    fn step(&mut self, call: &Call) -> Result<(), Stop> {
        // Nothing is done while a fence may or may not have expired.
        loop {
            let now = self.device.now();
            if self.model.is_unclear(now) {
                return Err(Stop::Slow);
            }
            let Some(until) = self.model.unclear_until(now) else {
                break;
            };
            self.check(&Call::Sleep { until })?;
        }
        self.check(call)?;

        for wait in self.model.over() {
            self.check(&Call::Join { wait })?;
        }
        for wait in self.model.waiting() {
            if self.device.woken(wait) {
                return Err(Stop::Wrong(format!("wait {wait} is over too early")));
            }
        }
        Ok(())
    }

    fn check(&mut self, call: &Call) -> Result<(), Stop> {
        let before = self.device.now();
        let expected = self.model.apply(call, before);
        let actual = self.device.call(call);
        let after = self.device.now();
        self.model.done(after);
        self.calls += 1;

        let _ = writeln!(self.trace, "  {call:?} -> {actual:?}");
        if self.model.is_unclear(after) {
            return Err(Stop::Slow);
        }
        if !expected.allows(&actual, self.device.stalled()) {
            return Err(Stop::Wrong(format!("{call:?} returned {actual:?}, and not {expected:?}")));
        }
        Ok(())
    }
}
