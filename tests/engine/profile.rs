//! Profiles: every step is timed and named, the work is what the sizes say, times add up, traces are well-formed.

use foldgrad::exec::{Ceilings, Executable, Options, Profile};
use foldgrad::ir::{Bindings, Graph, Symbol};
use foldgrad::plan::{Direction, Rate, Work};
use foldgrad::train::{Loss, Metric, Sgd, Trainer};
use foldgrad::zoo::{BatchNorm, tutorial};
use foldgrad::{Builder, DType, Tensor};
use serde_json::Value;
use std::collections::BTreeSet;

/// Weights of the four products, as the tutorial declares them.
const PRODUCTS: [[usize; 2]; 4] = [[784, 300], [300, 200], [200, 100], [100, 10]];

const RUNS: usize = 6;

fn trainer(batch_norm: BatchNorm) -> Trainer {
    let optimizer = Sgd::new(0.01).momentum(0.9).nesterov().decay(1e-6);
    let trainer = Trainer::new(tutorial(batch_norm).unwrap(), optimizer, Loss::SparseCategoricalCrossentropy);
    trainer.metric(Metric::Accuracy).compile().unwrap()
}

fn compiled(graph: &Graph, batch: usize, threads: usize) -> Executable {
    let options = Options::default().threads(threads);
    Executable::with(graph.clone(), &Bindings::from([(Symbol::new("batch"), batch)]), &options).unwrap()
}

fn profile(run: &mut Executable, trainer: &Trainer) -> Profile {
    let tensor = |port: &foldgrad::plan::Port| Tensor::full(port.dtype, port.shape.clone(), 0.5);
    let feeds: Vec<Tensor> = run.plan().feeds().iter().map(tensor).collect();
    let feeds: Vec<&Tensor> = feeds.iter().collect();
    let mut states: Vec<Tensor> =
        run.plan().states().iter().map(|port| trainer.value(&port.name).unwrap().clone()).collect();
    run.profile(&feeds, &mut states, RUNS).unwrap()
}

/// Multiply-adds of the products of a training step: forward and ∂W each use every weight once an example, ∂x all but
/// those of the first layer.
fn training_multiply_adds(batch: usize) -> u64 {
    let weights: Vec<usize> = PRODUCTS.iter().map(|[rows, columns]| rows * columns).collect();
    let all: usize = weights.iter().sum();
    assert_eq!(all, 316_200);
    (batch * (2 * all + all - weights[0])) as u64
}

fn ceilings() -> Ceilings {
    Ceilings { threads: 2, operations: 1e11, reading: vec![(1 << 14, 1e11), (1 << 20, 1e10)] }
}

#[test]
fn every_step_is_recorded_in_every_run() {
    let trainer = trainer(BatchNorm::Before);
    for threads in [1, 2] {
        let mut run = compiled(trainer.training_graph(), 32, threads);
        let profile = profile(&mut run, &trainer);
        assert_eq!((profile.runs, profile.timeline.len()), (RUNS, RUNS));
        assert_eq!((profile.steps.len(), profile.workers.len()), (run.plan().len(), threads));
        for run in &profile.timeline {
            let seen: BTreeSet<usize> = run.spans.iter().map(|span| span.step).collect();
            assert!(seen.into_iter().eq(0..profile.steps.len()), "{threads} threads");
            assert!(run.spans.iter().all(|span| run.from <= span.from && span.from <= span.to && span.to <= run.to));
        }
        // Spans of one worker do not overlap, so that what it spent with its parts adds up to the run.
        for worker in &profile.workers {
            let sum = worker.busy + worker.waiting + worker.rest;
            assert!((sum - profile.seconds).abs() <= 1e-3 * profile.seconds, "{worker:?} of {}", profile.seconds);
        }
        let busy: f64 = profile.workers.iter().map(|worker| worker.busy).sum();
        assert!((busy - profile.core_seconds()).abs() <= 1e-6 * busy);
        let phases: f64 = profile.phases.iter().map(|phase| phase.seconds).sum();
        assert!(phases > 0.0 && phases <= profile.seconds);
        assert!(profile.product_share() > 0.0 && profile.product_share() < 1.0);
        for step in &profile.steps {
            assert!(step.workers >= 1 && step.workers <= threads && step.slowest_seconds <= step.core_seconds * 1.001);
        }
    }
}

#[test]
fn every_product_has_the_name_of_its_layer() {
    for batch_norm in [BatchNorm::Before, BatchNorm::After, BatchNorm::Notebook, BatchNorm::None] {
        let trainer = trainer(batch_norm);
        for threads in [1, 2] {
            let run = compiled(trainer.training_graph(), 32, threads);
            let count = |layer: &str, direction| {
                let steps = run.plan().planned_steps().filter(|step| step.is_product());
                steps.filter(|s| s.label.layer() == Some(layer) && s.label.direction() == direction).count()
            };
            // ∂W everywhere, ∂x everywhere but in the first layer.
            for (layer, backward) in [("dense", 1), ("dense_1", 2), ("dense_2", 2), ("dense_3", 2)] {
                let found = (count(layer, Direction::Forward), count(layer, Direction::Backward));
                assert_eq!(found, (1, backward), "{layer}, {batch_norm:?}, {threads} threads");
            }
            assert_eq!(run.plan().planned_steps().filter(|step| step.is_product()).count(), 11);
        }
    }
}

#[test]
fn every_step_has_a_layer_and_every_state_one_step_that_writes_it() {
    let trainer = trainer(BatchNorm::Before);
    let run = compiled(trainer.training_graph(), 32, 2);
    let mut written: Vec<&str> = Vec::new();
    for step in run.plan().planned_steps() {
        let label = step.label;
        assert!(label.layer().is_some(), "{} {}", step.index, step.kernel());
        let is_update = label.directions.contains(&Direction::Update);
        assert!(label.overwrites.is_empty() || is_update, "{label:?}");
        written.extend(label.overwrites.iter().map(String::as_str));
        let layer = label.layer().unwrap_or_default();
        let expected = match step.kind() {
            "batch_norm_train" => Direction::Forward,
            "batch_norm_grad" => Direction::Backward,
            _ if layer == "sgd" => Direction::Update,
            _ if layer == "metric" => Direction::Forward,
            _ => continue,
        };
        assert_eq!(label.direction(), expected, "{label:?}");
    }
    written.sort_unstable();
    // 11 parameters with a velocity each, 6 running statistics, and the step counter; the learning rate stays.
    assert_eq!(written.len(), 29);
    written.dedup();
    assert_eq!(written.len(), 29);
    let of = |name: &str| run.plan().planned_steps().find(|step| step.label.target() == Some(name)).unwrap();
    assert_eq!(of("batch_normalization_1/gamma").label.to_string(), "sgd → batch_normalization_1/gamma");
    assert_eq!(of("batch_normalization/moving_mean").label.to_string(), "batch_normalization → moving_mean");
    let first = of("dense/kernel");
    assert_eq!((first.label.layer(), first.label.direction()), (Some("dense"), Direction::Backward));
    assert_eq!(first.label.layers, ["dense", "sgd"]);
}

#[test]
fn the_work_of_a_training_step_is_what_its_sizes_say() {
    let trainer = trainer(BatchNorm::Before);
    for (batch, threads) in [(32, 1), (32, 2), (8, 2), (256, 1)] {
        let run = compiled(trainer.training_graph(), batch, threads);
        let mut total = Work::default();
        run.plan().planned_steps().for_each(|step| total += step.work);
        assert_eq!(total.multiply_adds, training_multiply_adds(batch), "batch {batch}, {threads} threads");
        let products = run.plan().planned_steps().filter(|step| step.is_product() && !step.kernel().contains("map"));
        for step in products {
            // The last layer's bias is added to its tiles.
            let is_last = step.label.layer() == Some("dense_3") && step.label.direction() == Direction::Forward;
            let bias = if is_last { 10 * batch as u64 } else { 0 };
            assert_eq!(step.work.operations, 2 * step.work.multiply_adds + bias);
        }
        // Each parameter, its velocity and the images are read; parameter and velocity are written.
        let least = 4 * (4 * 316_200 + batch * 784) as u64;
        assert!(total.bytes > least && total.bytes < 4 * least, "{} bytes, at least {least}", total.bytes);
    }
    let inference = compiled(trainer.inference_graph(), 5, 1);
    let multiply_adds: u64 = inference.plan().planned_steps().map(|step| step.work.multiply_adds).sum();
    assert_eq!(multiply_adds, 5 * 316_200);
}

/// Bytes and operations of single kernels, counted by hand.
#[test]
fn bytes_and_operations_are_counted_once() {
    let work = |build: &dyn Fn(&Builder)| {
        let g = Builder::new();
        build(&g);
        let run = Executable::new(g.finish().unwrap(), &Bindings::default()).unwrap();
        let mut steps: Vec<(String, Work)> =
            run.plan().planned_steps().map(|step| (step.kernel(), step.work)).collect();
        assert_eq!(steps.len(), 1, "{steps:?}");
        steps.remove(0)
    };
    let of = |multiply_adds, operations, bytes, double| Work { multiply_adds, operations, bytes, double };
    let product = work(&|g| {
        let (a, b) = (g.input("a", DType::F64, [3, 5]), g.input("b", DType::F64, [5, 7]));
        g.output("c", a.dot(b));
    });
    assert_eq!(product, ("gemm 3×5×7".to_owned(), of(105, 210, 8 * (15 + 35 + 21), true)));
    let map = work(&|g| {
        let (x, b) = (g.input("x", DType::F32, [6, 10]), g.input("b", DType::F32, [10]));
        g.output("y", (x * x + b).relu());
    });
    assert_eq!(map, ("map 60·2".to_owned(), of(0, 180, 4 * (60 + 10 + 60), false)));
    let sum = work(&|g| g.output("y", g.input("x", DType::F32, [6, 10]).sum(&[0])));
    assert_eq!(sum, ("reduce 1×6×10".to_owned(), of(0, 60, 4 * 70, false)));
    let copy = work(&|g| g.output("y", g.input("x", DType::I32, [6, 10]).transpose(&[1, 0])));
    assert_eq!(copy, ("copy 10×6".to_owned(), of(0, 0, 2 * 4 * 60, false)));
}

#[test]
fn the_roofline_is_the_slower_of_arithmetic_and_bytes() {
    let ceilings = ceilings();
    let work = |operations, bytes| Work { multiply_adds: 0, operations, bytes, double: false };
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9 * expected, "{found}, {expected}");
    near(ceilings.least_seconds(&work(1_000_000, 100), 1), 1e-5);
    near(ceilings.least_seconds(&Work { double: true, ..work(1_000_000, 100) }, 1), 2e-5);
    near(ceilings.least_seconds(&work(1, 1 << 20), 1), f64::from(1 << 20) / 1e10);
    // Half of it is nearer to each of two cores.
    near(ceilings.least_seconds(&work(1, 1 << 20), 2), f64::from(1 << 20) / 1e11);
    assert!(ceilings.is_bound_by_arithmetic(&work(1_000_000, 100), 1));
    assert!(!ceilings.is_bound_by_arithmetic(&work(100, 1_000_000), 1));
    let measured = Ceilings::measure(&Options::default().threads(1));
    assert!(measured.operations > 1e9 && measured.reading.iter().all(|&(_, rate)| rate > 1e8), "{measured:?}");
    assert!(measured.reading.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 >= pair[1].1), "{measured:?}");
}

#[test]
fn traces_are_well_formed() {
    let trainer = trainer(BatchNorm::Before);
    for threads in [1, 2] {
        let mut run = compiled(trainer.training_graph(), 32, threads);
        let profile = profile(&mut run, &trainer);
        let text = profile.trace_events(3).to_string();
        let parsed: Value = serde_json::from_str(&text).unwrap();
        let events = parsed.as_array().unwrap();
        let names: Vec<&Value> = events.iter().filter(|event| event["name"] == "thread_name").collect();
        assert_eq!(names.len(), threads);
        assert!(names.iter().enumerate().all(|(at, event)| event["ph"] == "M" && event["tid"] == at));
        let number = |event: &Value, key: &str| event[key].as_f64().unwrap();
        for tid in 0..threads {
            let own: Vec<&Value> = events.iter().filter(|event| event["ph"] == "X" && event["tid"] == tid).collect();
            let mut open: Vec<f64> = Vec::new();
            let mut last = 0.0;
            for event in own {
                let (from, length) = (number(event, "ts"), number(event, "dur"));
                assert!(event["pid"] == 1 && from >= last && length >= 0.0, "{event}");
                assert!(event["name"].is_string() && event["cat"].is_string() && event["args"].is_object(), "{event}");
                last = from;
                // An event ends before the next begins, or not before what is inside of it; to a nanosecond.
                open.retain(|&end| end > from + 1e-3);
                assert!(open.iter().all(|&end| from + length <= end + 2e-3), "{event} crosses the end of another");
                // Nothing is inside of a kernel or a wait, and only the caller's line shows the runs around them.
                assert!(open.len() <= usize::from(tid == 0), "{event} lies in a kernel or a wait");
                open.push(from + length);
            }
        }
        let kernels = events.iter().filter(|event| event["args"]["step"].is_u64());
        let per_run = kernels.clone().filter(|event| event["args"]["step"] == 0).count();
        assert!(per_run >= 3 && (threads > 1 || per_run == 3), "{per_run}");
        assert_eq!(events.iter().filter(|event| event["name"] == "run").count(), 3);
        let product = kernels.clone().find(|event| event["name"] == "gemm 32×784×300").unwrap();
        assert_eq!((&product["cat"], &product["args"]["direction"]), (&"dense".into(), &"forward".into()));
        let steps: BTreeSet<u64> = kernels.map(|event| event["args"]["step"].as_u64().unwrap()).collect();
        assert_eq!(steps.len(), profile.steps.len());
    }
}

#[test]
fn tables_fit_and_their_totals_add_up() {
    let trainer = trainer(BatchNorm::Before);
    let mut run = compiled(trainer.training_graph(), 32, 2);
    let profile = profile(&mut run, &trainer);
    let table = profile.table(&ceilings());
    let widest = table.lines().max_by_key(|line| line.chars().count()).unwrap();
    assert!(widest.chars().count() <= 100, "{widest}");
    let json = profile.to_json(&ceilings());
    let sum = |list: &str, keys: &[&str]| -> f64 {
        let rows = json[list].as_array().unwrap();
        rows.iter().flat_map(|row| keys.iter().map(|&key| row[key].as_f64().unwrap())).sum()
    };
    let whole = json["core_s"].as_f64().unwrap();
    let directions = ["forward_core_s", "backward_core_s", "update_core_s"];
    for found in [sum("steps", &["core_s"]), sum("layers", &directions), sum("kinds", &directions)] {
        assert!((found - whole).abs() < 1e-6 * whole, "{found} of {whole}");
    }
    assert_eq!(json["multiply_adds"], training_multiply_adds(32));
    for layer in ["dense", "batch_normalization_2", "loss", "sgd"] {
        assert!(table.lines().any(|line| line.starts_with(&format!("{layer} "))), "{layer}: {table}");
    }
    assert!(table.contains("batch_normalization + activation"), "a joined activation is named: {table}");
    let plan = run.plan().to_string();
    assert_eq!(plan.matches("+ relu").count(), 3, "ReLU is part of batch norm: {plan}");
    assert_eq!(plan.matches("of gated").count(), 3, "and so is its gradient: {plan}");
}

#[test]
fn a_plan_tells_what_it_expects() {
    let trainer = trainer(BatchNorm::Before);
    let run = compiled(trainer.training_graph(), 32, 2);
    let plan = run.plan();
    let phases: Vec<_> = plan.planned_phases().collect();
    assert!(phases.iter().flat_map(|phase| phase.steps.clone()).eq(0..plan.len()));
    for phase in &phases {
        let steps: f64 = plan.planned_steps().filter(|step| step.phase == phase.index).map(|step| step.estimate).sum();
        let wait = if phase.shares > 1 { plan.costs().rate(Rate::Barrier) } else { 0.0 };
        assert!((phase.estimate - steps - wait).abs() < 1e-6, "{phase:?}");
    }
    let sum: f64 = phases.iter().map(|phase| phase.estimate).sum();
    assert!((plan.estimate() - sum).abs() < 1e-6);
    // Half the rate takes longer.
    let costs = plan.costs().with(Rate::MultiplyAdds, 50.0).unwrap();
    let options = Options::default().threads(2).costs(costs);
    let bindings = Bindings::from([(Symbol::new("batch"), 32)]);
    let slower = Executable::with(trainer.training_graph().clone(), &bindings, &options).unwrap();
    assert!(slower.plan().estimate() > plan.estimate());
    assert!(plan.touched_bytes() > 4 * 2 * 316_200);
}
