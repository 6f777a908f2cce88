//! A process of its own, since the time of all its threads is measured: threads that wait for work cost nothing; after runs,
//! a process that does nothing uses no processor time.

#[path = "common/skip.rs"]
mod skip;

use foldgrad::exec::{Executable, Options};
use foldgrad::ir::Bindings;
use foldgrad::{Builder, DType, Tensor};
use skip::skip_on_this_machine;
use std::time::{Duration, Instant};

/// Processor time of all threads of this process, in milliseconds: fields 14 and 15 of its line, in hundredths.
fn processor_milliseconds() -> u64 {
    let line = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name in parentheses may hold spaces.
    let fields: Vec<&str> = line.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
    (ticks(11) + ticks(12)) * 10
}

#[test]
fn nothing_runs_between_runs() {
    if !cfg!(target_os = "linux") {
        return skip_on_this_machine("processor time is read from /proc, which this system does not have");
    }
    let g = Builder::new();
    let (x, w) = (g.input("x", DType::F32, [256, 512]), g.parameter("w", DType::F32, [512, 512]));
    g.output("y", x.dot(w).tanh());
    let options = Options::default().threads(4);
    let mut run = Executable::with(g.finish().unwrap(), &Bindings::new(), &options).unwrap();
    run.record(true);
    let x = Tensor::full(DType::F32, [256, 512], 0.5);
    let mut states = [Tensor::full(DType::F32, [512, 512], 0.01)];
    // Until every helper has been there, so that each has something to sleep after, and the clock has ticked.
    let (started, mut seen) = (Instant::now(), [false; 4]);
    while seen.contains(&false) || started.elapsed() < Duration::from_millis(200) {
        run.run(&[&x], &mut states).unwrap();
        run.take_spans().iter().for_each(|span| seen[span.worker] = true);
        assert!(started.elapsed() < Duration::from_secs(60), "helpers that came: {seen:?}");
    }
    // Only a clock that runs can show that nothing else does.
    let busy = processor_milliseconds();
    assert!(busy >= 50, "{busy} ms of work were counted");
    let before = processor_milliseconds();
    std::thread::sleep(Duration::from_millis(300));
    let used = processor_milliseconds() - before;
    println!("{used} ms in 300 ms of idleness, after {busy} ms of work");
    assert!(used < 20, "{used} ms of processor time in 300 ms of idleness");
}
