// SPDX-License-Identifier: GPL-2.0

//! Uses VGEM, or the mock GPU, at random, and checks what comes of it.

mod gpu;
mod kernel;
mod model;
mod op;
mod search;
mod seq;
mod stress;
#[cfg(test)]
mod tests;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use kernel::Nodes;
use model::{Driver, Mutation};
use search::{Counts, Kind};

const USAGE: &str = "\
fuzz DRIVER all SECONDS SEED OUT
    a part of the time for each of the following
fuzz DRIVER sequences SECONDS SEED OUT
    sequences of operations, against a model
fuzz DRIVER expiring SECONDS SEED OUT [STEP]
    the same, with fences that expire, each STEP seeds after the one before
fuzz DRIVER stress SECONDS SEED OUT
    many threads and processes at once
fuzz DRIVER replay FILE...
    sequences that were found before
fuzz mockgpu all SECONDS SEED OUT
fuzz mockgpu replay FILE...
    the same for the mock GPU, against a model of its own

DRIVER is c or rust. Sequences that go wrong are written to the directory OUT. With
FUZZ_MUTATION=NAME the model is wrong, and that has to be found; NAME is one of:
";

/// Sequences that wait for time to pass run in so many processes at once.
const SLEEPERS: usize = 12;

/// What the line with the counts starts with, for the process that started this one.
const COUNTS: &str = "fuzz counts ";

fn main() -> ExitCode {
    match try_main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("fuzz: {error}");
            ExitCode::FAILURE
        }
    }
}

pub struct Options {
    pub driver: Driver,
    pub mutation: Option<Mutation>,
    pub nodes: Nodes,
}

fn try_main() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let usage = || {
        let names = Mutation::ALL.map(|mutation| format!("{mutation:?}"));
        format!("{USAGE}{}", names.join(" "))
    };
    let [driver, what, rest @ ..] = args.as_slice() else {
        return Err(usage());
    };
    if *driver == "mockgpu" {
        return gpu::main(&args[1..]).ok_or_else(usage)?;
    }
    let options = Options {
        driver: match *driver {
            "c" => Driver::C,
            "rust" => Driver::Rust,
            _ => return Err(usage()),
        },
        mutation: match std::env::var("FUZZ_MUTATION") {
            Ok(name) if !name.is_empty() => Some(
                *(Mutation::ALL.iter())
                    .find(|mutation| format!("{mutation:?}") == name)
                    .ok_or_else(usage)?,
            ),
            _ => None,
        },
        nodes: Nodes::find("vgem")?,
    };

    if *what == "replay" {
        for file in rest {
            search::replay(&options, Path::new(file))?;
        }
        println!("fuzz: {driver}: {} sequences found before: good", rest.len());
        return Ok(());
    }

    let [seconds, seed, out, step @ ..] = rest else {
        return Err(usage());
    };
    let time = Duration::from_secs(seconds.parse().map_err(|_| usage())?);
    let seed: u64 = seed.parse().map_err(|_| usage())?;
    let step: usize = match step {
        [] => 1,
        [step] => step.parse().map_err(|_| usage())?,
        _ => return Err(usage()),
    };
    let seeds = (seed..).step_by(step);
    let out = Path::new(out);
    let end = Instant::now() + time;

    let counts = match *what {
        "sequences" => search::search(&options, Kind::Sequence, end, seeds, out)?,
        "expiring" => search::search(&options, Kind::Expiring, end, seeds, out)?,
        "stress" => stress::stress(&options, end, seed)?,
        "all" => return all(driver, time, seed, out),
        _ => return Err(usage()),
    };
    let counts = serde_json::to_string(&counts).map_err(|error| error.to_string())?;
    println!("{COUNTS}{counts}");
    Ok(())
}

/// Runs each part in processes of its own: first sequences, then many threads.
fn all(driver: &str, time: Duration, seed: u64, out: &Path) -> Result<(), String> {
    let before = stress::Leaks::read();
    let first = time * 3 / 5;
    let start = |what: &str, time: Duration, seed: u64, step: usize| {
        let numbers = [time.as_secs(), seed].map(|number| number.to_string());
        Part::start(
            Command::new(std::env::current_exe().map_err(|error| error.to_string())?)
                .args([driver, what, &numbers[0], &numbers[1]])
                .arg(out)
                .arg(step.to_string()),
        )
    };

    let sequences = vec![start("sequences", first, seed, 1)?];
    let mut sleepers = Vec::new();
    for (_, seed) in (0..SLEEPERS).zip(seed..) {
        sleepers.push(start("expiring", first, seed, SLEEPERS)?);
    }
    let mut good = Part::end(driver, "sequences", sequences);
    if !good {
        // What is wrong is known, and they take long to find the same.
        for sleeper in &mut sleepers {
            let _ = sleeper.child.kill();
        }
    }
    good &= Part::end(driver, "expiring", sleepers);
    let threads = vec![start("stress", time - first, seed, 1)?];
    good &= Part::end(driver, "stress", threads);

    if !good {
        return Err(format!("{driver}: not all is as it has to be"));
    }

    // What a callback puts is freed a bit later.
    let mut tries = 0..50;
    while let Err(leak) = before.compare() {
        if tries.next().is_none() {
            return Err(leak);
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A process, and what it counts.
struct Part {
    child: Child,
    counts: JoinHandle<Option<Counts>>,
}

impl Part {
    fn start(command: &mut Command) -> Result<Self, String> {
        let mut child =
            (command.stdout(Stdio::piped()).spawn()).map_err(|error| error.to_string())?;
        let lines = BufReader::new(child.stdout.take().ok_or("there is no pipe")?).lines();
        let counts = thread::spawn(|| {
            let mut counts = None;
            for line in lines.map_while(Result::ok) {
                match line.strip_prefix(COUNTS) {
                    Some(json) => counts = serde_json::from_str(json).ok(),
                    None => println!("{line}"),
                }
            }
            counts
        });
        Ok(Self { child, counts })
    }

    /// Whether all parts went well.
    fn end(driver: &str, what: &str, parts: Vec<Self>) -> bool {
        let mut good = true;
        let mut sum = Counts::default();
        for mut part in parts {
            let status = part.child.wait();
            match part.counts.join() {
                Ok(Some(counts)) if status.is_ok_and(|status| status.success()) => sum += counts,
                _ => good = false,
            }
        }
        let bad = if good { "" } else { ", and failed" };
        println!("fuzz: {driver}: {what}: {sum}{bad}");
        good
    }
}
