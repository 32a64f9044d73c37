// SPDX-License-Identifier: GPL-2.0

//! The lock-free parts of the series, with all orders of events that the memory model of C11
//! allows. Each module is a model of what the kernel does, with the orderings that it does it with
//! as parameters: with the kernel's the model has to hold, and with any one of them weaker it has to
//! fail, so that a model which sees nothing is noticed.
//!
//! What stands for C is no stronger than C is. Where C's barriers order more than a relaxed access,
//! but less than C11 can say, the model leaves out those orders of events which they exclude.
//!
//! `KERNEL=DIR cargo test --release`, where `DIR` is a kernel tree with the series: that the
//! orderings are the kernel's is looked up there.

#![cfg(test)]

mod callback;
mod names;
mod set_once;

use std::{env, fs, path::Path};

/// Checks that a function of the kernel is what is modelled: each of `parts` has to be in it, in
/// that order.
fn is_modelled(file: &str, function: &str, parts: &[&str]) {
    let kernel = env::var("KERNEL").expect("KERNEL is to be a kernel tree with the series");
    let source = fs::read_to_string(Path::new(&kernel).join(file)).expect("the file is there");
    let start =
        source.find(function).unwrap_or_else(|| panic!("{file} has no `{function}` any more"));
    let end = source[start..].find("\n    }\n").expect("functions end");
    let mut rest = &source[start..start + end];
    for part in parts {
        let at = rest
            .find(part)
            .unwrap_or_else(|| panic!("{file}: `{function}` has no `{part}` there any more"));
        rest = &rest[at + part.len()..];
    }
}

/// `Full` of the kernel orders all that comes before with all that comes after.
fn full<R>(full: bool, f: impl FnOnce() -> R) -> R {
    let fence = || {
        if full {
            loom::sync::atomic::fence(loom::sync::atomic::Ordering::SeqCst)
        }
    };
    fence();
    let result = f();
    fence();
    result
}
