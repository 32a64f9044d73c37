// SPDX-License-Identifier: GPL-2.0

//! Tests of the model, which need no device.

use proptest::strategy::{Strategy, ValueTree};

use super::*;

/// A device whose jobs end as soon as they can.
struct Simulation(Model);

impl Device for Simulation {
    fn call(&mut self, call: &Call) -> Reply {
        let before = self.0.clone();
        let may = self.0.apply(call);
        let reply = match call {
            Call::Status { .. } | Call::Finish { .. } => may[may.len() - 1],
            _ => may[0],
        };
        if matches!((call, reply), (Call::Submit(_), Reply::Fails(_))) {
            self.0 = before;
        }
        reply
    }
}

fn simulate(mutation: Option<Mutation>, ops: &[Op]) -> Run {
    run(&mut Simulation(Model::new(None)), mutation, ops)
}

/// The shortest sequence that shows that the model is wrong.
fn shortest(mutation: Option<Mutation>) -> Option<(String, Vec<Op>)> {
    (0..300).find_map(|seed| {
        let mut runner = runner(seed, Shrink::FOR_EVER);
        let tree = sequence().new_tree(&mut runner).expect("no choice is refused");
        search::shrink(&mut runner, tree, |ops| {
            simulate(mutation, ops).wrong.map_or(Ok(()), |why| Err(Stop::Wrong(why)))
        })
    })
}

#[test]
fn the_model_agrees_with_itself() {
    assert_eq!(shortest(None), None);
}

#[test]
fn a_wrong_model_is_found_and_the_sequence_is_short() {
    for mutation in Mutation::ALL {
        let (why, ops) = shortest(Some(mutation)).unwrap_or_else(|| panic!("{mutation:?}"));
        println!("{mutation:?}: {why}\n  {ops:?}");
        assert!(ops.len() <= 10, "{mutation:?}: {ops:?}");
    }
}

/// The sequences in `regressions/mockgpu/` are good, and one of them is not for each wrong model.
#[test]
fn the_sequences_that_are_kept_find_every_wrong_model() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions/mockgpu");
    let sequences: Vec<Vec<Op>> = fs::read_dir(directory)
        .expect("there is such a directory")
        .map(|entry| fs::read_to_string(entry.expect("an entry").path()).expect("a text"))
        .map(|text| serde_json::from_str(&text).expect("a sequence"))
        .collect();
    let wrong = |mutation| sequences.iter().any(|ops| simulate(mutation, ops).wrong.is_some());
    assert!(!wrong(None));
    for mutation in Mutation::ALL {
        assert!(wrong(Some(mutation)), "{mutation:?}");
    }
}

/// Sequences do what they are for: jobs succeed, fail, wait for gates, and find no room.
#[test]
fn sequences_reach_everything() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let mut runner = runner(seed, Shrink::NEVER);
        let tree = sequence().new_tree(&mut runner).expect("no choice is refused");
        let run = simulate(None, &tree.current());
        assert_eq!(run.wrong, None);
        for line in run.trace.lines() {
            let (call, reply) = line.split_once(" -> ").expect("a call and a reply");
            let name = call.trim().split([' ', '(']).next().unwrap_or_default();
            seen.insert(format!("{name} {reply}"));
        }
    }
    for what in [
        "Submit Done",
        "Submit Fails(EINVAL)",
        "Submit Fails(ENOENT)",
        "Submit Fails(EFAULT)",
        "Submit Fails(EBUSY)",
        "Wait Done",
        "Wait Fails(ETIMEDOUT)",
        "Wait Fails(ENOENT)",
        "WaitSyncObj Done",
        "WaitSyncObj Fails(ETIME)",
        "WaitSyncObj Fails(EINVAL)",
        "Status Status(0)",
        "Status Status(1)",
        "Status Status(-62)",
        "Status Status(-125)",
        "Close Done",
        "Finish Status(1)",
    ] {
        assert!(seen.contains(what), "{what} is not in {seen:?}");
    }
}
