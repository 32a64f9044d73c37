// SPDX-License-Identifier: GPL-2.0

//! Uses VGEM at random, and checks what comes of it.

mod kernel;
mod model;
mod op;
mod search;
mod seq;
mod stress;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use kernel::Nodes;
use model::{Driver, Mutation};
use search::{Counts, Kind};

const USAGE: &str = "\
fuzz DRIVER all SECONDS SEED OUT        a part of the time for each of the following
fuzz DRIVER sequences SECONDS SEED OUT  sequences of operations, against a model
fuzz DRIVER expiring SECONDS SEED OUT   the same, with fences that expire
fuzz DRIVER stress SECONDS SEED OUT     many threads and processes at once
fuzz DRIVER replay FILE...              sequences that were found before

DRIVER is c or rust. Sequences that go wrong are written to the directory OUT. With
FUZZ_MUTATION=NAME the model is wrong, and that has to be found; NAME is one of:
";

/// Sequences that wait for time to pass run in so many processes at once.
const SLEEPERS: u64 = 12;

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
        nodes: Nodes::find()?,
    };

    if *what == "replay" {
        for file in rest {
            search::replay(&options, Path::new(file))?;
        }
        println!(
            "fuzz: {driver}: {} sequences found before: good",
            rest.len()
        );
        return Ok(());
    }

    let [seconds, seed, out] = rest else {
        return Err(usage());
    };
    let time = Duration::from_secs(seconds.parse().map_err(|_| usage())?);
    let seed: u64 = seed.parse().map_err(|_| usage())?;
    let out = PathBuf::from(out);
    let end = Instant::now() + time;

    match *what {
        "sequences" => search::search(&options, Kind::Sequence, end, seed, &out),
        "expiring" => search::search(&options, Kind::Expiring, end, seed, &out),
        "stress" => stress::stress(&options, end, seed),
        "all" => all(driver, time, seed, &out),
        _ => Err(usage()),
    }
    .map(|counts| println!("fuzz: {driver}: {what}: {counts}"))
}

/// Runs each part in processes of its own: first sequences, then many threads.
fn all(driver: &str, time: Duration, seed: u64, out: &Path) -> Result<Counts, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let part = |what: &str, seconds: u64, seed: u64| {
        Command::new(&program)
            .args([driver, what, &seconds.to_string(), &seed.to_string()])
            .arg(out)
            .spawn()
            .map_err(|error| error.to_string())
    };
    let before = stress::Leaks::read();

    let seconds = time.as_secs() * 3 / 5;
    let mut parts = vec![part("sequences", seconds, seed)?];
    for sleeper in 1..=SLEEPERS {
        // Far from the seeds of the others.
        parts.push(part("expiring", seconds, seed + (sleeper << 40))?);
    }
    let mut bad = 0;
    for mut part in parts {
        bad += u64::from(!part.wait().is_ok_and(|status| status.success()));
    }
    let mut last = part("stress", time.as_secs() - seconds, seed)?;
    bad += u64::from(!last.wait().is_ok_and(|status| status.success()));

    // What a callback puts is freed a bit later.
    let mut left = Err(String::new());
    for _ in 0..50 {
        left = before.compare();
        if left.is_ok() {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    left?;
    if bad != 0 {
        return Err(format!("{bad} parts failed"));
    }
    Ok(Counts::default())
}
