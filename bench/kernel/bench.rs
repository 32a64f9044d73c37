// SPDX-License-Identifier: GPL-2.0

//! Runs the abstractions beside the C calls that they wrap, and says how long each takes.
//!
//! Under `qemu -icount shift=0,sleep=off` a nanosecond is an instruction.

use kernel::{
    dma_fence::{
        DmaFence,
        DmaFenceCtx,
        DmaFenceNames,
        UnarmedDmaFence,
        UnarmedDmaFenceCb, //
    },
    dma_resv::{
        DmaResv,
        Usage, //
    },
    error::to_result,
    impl_has_hr_timer,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        ArcBorrow,
        Completion, //
    },
    time::{
        hrtimer::{
            HrTimer,
            HrTimerCallback,
            HrTimerCallbackContext,
            HrTimerHandle,
            HrTimerPointer,
            HrTimerRestart,
            RelativeMode, //
        },
        Delta,
        Instant,
        Monotonic, //
    },
};

module! {
    type: Bench,
    name: "abstractions",
    authors: ["The rustgem project"],
    description: "Benchmark of Rust abstractions and the C calls that they wrap",
    license: "GPL v2",
}

/// How often each row is done in one measurement.
const TIMES: u32 = 10_000;

/// How many measurements of a row there are, of which the least counts: interrupts only add.
const RUNS: u32 = 7;

extern "C" {
    fn bench_c_settle();
    fn bench_c_mark(what: u32);
    fn bench_c_fence(n: u32) -> c_int;
    fn bench_c_callback_remove(n: u32) -> c_int;
    fn bench_c_callback_fire(n: u32) -> c_int;
    fn bench_c_merge(n: u32) -> c_int;
    fn bench_c_resv(n: u32) -> c_int;
    fn bench_c_timer(n: u32) -> c_int;
}

fn ctx() -> Result<DmaFenceCtx> {
    Ok(DmaFenceCtx::new(DmaFenceNames::new(c"bench", c"bench")?))
}

fn fence(n: u32) -> Result {
    let mut ctx = ctx()?;

    for _ in 0..n {
        ctx.arm(UnarmedDmaFence::new(GFP_KERNEL)?).signal(Ok(()));
    }

    Ok(())
}

fn callback_remove(n: u32) -> Result {
    let fence = ctx()?.arm(UnarmedDmaFence::new(GFP_KERNEL)?);
    let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
    let mut cb = UnarmedDmaFenceCb::new(done, GFP_KERNEL)?;

    for _ in 0..n {
        (cb, _) = cb.register(ARef::from(&*fence))?.remove();
    }

    fence.signal(Ok(()));
    Ok(())
}

fn callback_fire(n: u32) -> Result {
    let mut ctx = ctx()?;
    let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
    let mut cb = UnarmedDmaFenceCb::new(done, GFP_KERNEL)?;

    for _ in 0..n {
        let fence = ctx.arm(UnarmedDmaFence::new(GFP_KERNEL)?);
        let registered = cb.register(ARef::from(&*fence))?;
        fence.signal(Ok(()));
        (cb, _) = registered.remove();
    }

    Ok(())
}

fn merge(n: u32) -> Result {
    let mut fences = KVec::new();
    for _ in 0..16 {
        fences.push(ctx()?.arm(UnarmedDmaFence::new(GFP_KERNEL)?), GFP_KERNEL)?;
    }

    let mut shared = KVec::<&DmaFence>::new();
    for fence in &fences {
        shared.push(fence, GFP_KERNEL)?;
    }
    for _ in 0..n {
        DmaFence::merge(&shared)?;
    }
    drop(shared);

    for fence in fences {
        fence.signal(Ok(()));
    }
    Ok(())
}

fn resv(n: u32) -> Result {
    let fence = ctx()?.arm(UnarmedDmaFence::new(GFP_KERNEL)?);
    pin_init::stack_pin_init!(let resv = DmaResv::new());

    for _ in 0..n {
        resv.lock().reserve_one()?.add(&fence, Usage::Write);
    }

    fence.signal(Ok(()));
    Ok(())
}

#[pin_data]
struct Timer {
    #[pin]
    timer: HrTimer<Self>,
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Timer { mode: RelativeMode<Monotonic>, field: self.timer }
}

impl HrTimerCallback for Timer {
    type Pointer<'a> = Arc<Self>;

    fn run(_: ArcBorrow<'_, Self>, _: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        HrTimerRestart::NoRestart
    }
}

fn timer(n: u32) -> Result {
    let timer = Arc::pin_init(pin_init!(Timer { timer <- HrTimer::new() }), GFP_KERNEL)?;
    let mut handle = timer.start(Delta::from_secs(100));

    for _ in 0..n {
        handle.restart(Delta::from_secs(100));
        handle.cancel();
    }

    Ok(())
}

/// Something to measure, `n` times over.
struct Row {
    name: &'static str,
    c: unsafe extern "C" fn(n: u32) -> c_int,
    rust: fn(n: u32) -> Result,
}

const ROWS: &[Row] = &[
    Row {
        name: "fence: create, arm, signal, drop",
        c: bench_c_fence,
        rust: fence,
    },
    Row {
        name: "callback: add, remove",
        c: bench_c_callback_remove,
        rust: callback_remove,
    },
    Row {
        name: "callback: create fence, add, fire, drop",
        c: bench_c_callback_fire,
        rust: callback_fire,
    },
    Row {
        name: "merge: 16 fences",
        c: bench_c_merge,
        rust: merge,
    },
    Row {
        name: "resv: lock, reserve, add, unlock",
        c: bench_c_resv,
        rust: resv,
    },
    Row {
        name: "timer: start, cancel",
        c: bench_c_timer,
        rust: timer,
    },
];

/// Tells bench/plugin.c what to count: nothing, C, or Rust; or that a row ends, see bench/mark.h.
fn mark(what: u32) {
    // SAFETY: The function may be called with any number.
    unsafe { bench_c_mark(what) };
}

/// Returns the nanoseconds that [`TIMES`] take, which count as `what`.
fn measure(what: u32, f: impl Fn(u32) -> Result) -> Result<i64> {
    // What was measured before may have left work to others, such as memory to free.
    //
    // SAFETY: The function may be called where it is fine to sleep.
    unsafe { bench_c_settle() };

    let start = Instant::<Monotonic>::now();
    mark(what);
    f(TIMES)?;
    mark(0);
    Ok(start.elapsed().as_nanos())
}

struct Bench;

impl kernel::Module for Bench {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        for Row { name, c, rust } in ROWS {
            let mut least = [i64::MAX; 2];

            for _ in 0..RUNS {
                // SAFETY: The functions in calls.c may be called with any number.
                least[0] = least[0].min(measure(1, |n| to_result(unsafe { c(n) }))?);
                least[1] = least[1].min(measure(2, rust)?);
            }

            let times = i64::from(TIMES);
            let calls = TIMES * RUNS;

            for (driver, least) in ["c", "rust"].iter().zip(least) {
                mark(3);
                pr_info!(
                    "bench\t{driver}\t{name}\t1\t{}.{}\t{calls}\n",
                    least / times,
                    least % times * 10 / times
                );
            }
        }

        Ok(Self)
    }
}
