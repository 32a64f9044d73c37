// SPDX-License-Identifier: GPL-2.0

//! Random sequences, and short ones that go wrong.

use std::{
    cell::{Cell, RefCell},
    fmt, fs,
    ops::AddAssign,
    path::Path,
    time::{Duration, Instant},
};

use proptest::{
    strategy::{BoxedStrategy, Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use serde::{Deserialize, Serialize};

use crate::{
    kernel::{open_files, Kernel},
    op::{self, Op},
    seq::{self, Stop},
    Options,
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sequence,
    Expiring,
}

impl Kind {
    fn strategy(self) -> BoxedStrategy<Vec<Op>> {
        match self {
            Self::Sequence => op::sequence(),
            Self::Expiring => op::expiring(),
        }
    }
}

/// What was done.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub struct Counts {
    pub runs: u64,
    pub calls: u64,
    pub slow: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.runs += more.runs;
        self.calls += more.calls;
        self.slow += more.slow;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} runs, {} calls", self.runs, self.calls)?;
        if self.slow != 0 {
            write!(f, ", {} runs too slow", self.slow)?;
        }
        Ok(())
    }
}

/// One sequence on the device; also whether it left something open.
fn run(options: &Options, ops: &[Op]) -> (Result<u64, Stop>, String) {
    let before = open_files();
    let mut kernel = match Kernel::new(&options.nodes) {
        Ok(kernel) => kernel,
        Err(error) => return (Err(Stop::Wrong(error.to_string())), String::new()),
    };
    let (mut result, trace) = seq::run(&mut kernel, options.driver, options.mutation, ops);
    drop(kernel);
    let after = open_files();
    if result.is_ok() && before != after {
        result =
            Err(Stop::Wrong(format!("{after} files are open at the end, {before} were before")));
    }
    (result, trace)
}

/// A runner whose choices depend on nothing but the seed.
pub fn runner(seed: u64, shrink: Shrink) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        max_shrink_iters: shrink.tries,
        max_shrink_time: shrink.milliseconds,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// How long to look for a shorter sequence.
#[derive(Clone, Copy)]
pub struct Shrink {
    pub tries: u32,
    /// Without end if 0.
    pub milliseconds: u32,
}

impl Shrink {
    pub const SHORT: Self = Self { tries: 4096, milliseconds: 60_000 };
    /// Each try takes as long as fences need to expire.
    const LONG: Self = Self { tries: 4096, milliseconds: 150_000 };
    #[cfg(test)]
    pub const FOR_EVER: Self = Self { tries: 4096, milliseconds: 0 };
    #[cfg(test)]
    pub const NEVER: Self = Self { tries: 0, milliseconds: 0 };
}

/// Runs sequences until time is up or one goes wrong, each with one of the seeds.
pub fn search(
    options: &Options,
    kind: Kind,
    end: Instant,
    mut seeds: impl Iterator<Item = u64>,
    out: &Path,
) -> Result<Counts, String> {
    let limit = match kind {
        Kind::Sequence => Shrink::SHORT,
        Kind::Expiring => Shrink::LONG,
    };
    let strategy = kind.strategy();
    let counts = Cell::new(Counts::default());
    let mut told = Instant::now();

    while let Some(seed) = seeds.next().filter(|_| Instant::now() < end) {
        let mut runner = runner(seed, limit);
        let tree = (strategy.new_tree(&mut runner)).map_err(|error| error.to_string())?;
        let found = shrink(&mut runner, tree, |ops| {
            let mut now = counts.get();
            now.runs += 1;
            let result = run(options, ops).0.map(|calls| now.calls += calls);
            now.slow += u64::from(matches!(result, Err(Stop::Slow)));
            counts.set(now);
            result
        });
        if let Some((why, ops)) = found {
            return Err(report(options, kind, seed, &why, &ops, out));
        }
        if told.elapsed().as_secs() >= 15 && kind == Kind::Sequence {
            println!("fuzz: {:?}: {}, seed {seed}", options.driver, counts.get());
            told = Instant::now();
        }
    }
    Ok(counts.get())
}

/// Tries a sequence, and if it goes wrong, shorter and simpler ones: returns the last that does, and
/// why.
pub fn shrink<T: Clone + fmt::Debug>(
    runner: &mut TestRunner,
    tree: impl ValueTree<Value = Vec<T>>,
    mut run: impl FnMut(&[T]) -> Result<(), Stop>,
) -> Option<(String, Vec<T>)> {
    let end = match runner.config().max_shrink_time {
        0 => None,
        limit => Some(Duration::from_millis(limit.into())),
    };
    let start = Instant::now();
    let run = RefCell::new(&mut run);
    let wrong = |ops: &[T]| match (run.borrow_mut())(ops) {
        Err(Stop::Wrong(why)) => Some(why),
        Ok(()) | Err(Stop::Slow) => None,
    };
    let found = runner.run_one(tree, |ops| match wrong(&ops) {
        Some(why) => Err(TestCaseError::fail(why)),
        None => Ok(()),
    });
    let Err(TestError::Fail(why, mut ops)) = found else {
        return None;
    };
    let mut why = why.to_string();

    // Proptest does not try again to remove what came before what it made simpler, nor two at once.
    'again: loop {
        for (first, second) in
            (0..ops.len()).flat_map(|first| (0..=first).map(move |second| (first, second)))
        {
            if end.is_some_and(|end| start.elapsed() >= end) {
                break 'again;
            }
            let mut fewer = ops.clone();
            fewer.remove(first);
            if second != first {
                fewer.remove(second);
            }
            if let Some(still) = wrong(&fewer) {
                (why, ops) = (still, fewer);
                continue 'again;
            }
        }
        break;
    }
    Some((why, ops))
}

/// Tells of a sequence that went wrong, and writes it where `replay` can read it.
fn report(options: &Options, kind: Kind, seed: u64, why: &str, ops: &[Op], out: &Path) -> String {
    let (again, trace) = run(options, ops);
    let again = match again {
        Ok(_) => "and not each time".into(),
        Err(stop) => stop.to_string(),
    };
    let kind = match kind {
        Kind::Sequence => "sequences",
        Kind::Expiring => "expiring",
    };
    let file = out.join(format!("{:?}-{kind}-{seed}.json", options.driver).to_lowercase());
    let saved = match fs::write(&file, to_text(ops)) {
        Ok(()) => file.display().to_string(),
        Err(error) => error.to_string(),
    };
    format!(
        "{kind}: seed {seed} goes wrong: {why}\n\
         The shortest sequence that was found, also in {saved}:\n{}\
         What it does:\n{trace}{again}",
        to_text(ops)
    )
}

pub fn to_text(ops: &[impl Serialize]) -> String {
    let lines: Vec<_> = (ops.iter())
        .map(|op| serde_json::to_string(op).expect("an operation is plain data"))
        .collect();
    format!("[{}]\n", lines.join(",\n"))
}

/// Runs a sequence from a file.
pub fn replay(options: &Options, file: &Path) -> Result<(), String> {
    let name = file.display();
    let text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
    let ops: Vec<Op> = serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
    match run(options, &ops) {
        (Ok(_), _) => Ok(()),
        (Err(why), trace) => Err(format!("{name} goes wrong: {why}\n{trace}")),
    }
}
