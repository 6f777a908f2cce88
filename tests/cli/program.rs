//! The program as a person or a script meets it: what it prints where, its exit codes, and that runs repeat.
//!
//! Everything here is done offline on the built-in data, with few images.
#![cfg(feature = "cli")]

use foldgrad::ir;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Parameters of the tutorial network, running statistics included.
const PARAMETERS: u64 = 318_610;

const COMMANDS: [&str; 10] =
    ["train", "evaluate", "explain", "export", "unfuse", "summary", "graph", "bench", "plan", "profile"];

/// The program in a place of its own: no data by name, and nothing in the cache.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(TempDir::new().unwrap())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foldgrad"));
        command.args(args).current_dir(&self.0).env_remove("FASHION_MNIST_DIR").env("XDG_CACHE_HOME", self.0.path());
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }

    /// Standard output of a command that succeeds.
    #[track_caller]
    fn run(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Standard output of a short training.
    #[track_caller]
    fn train(&self, args: &[&str]) -> String {
        self.run(&[&["train", "--offline", "--epochs", "2", "--limit", "320"], args].concat())
    }

    fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.path().join(name)).unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn objects(stdout: &str) -> Vec<serde_json::Map<String, Value>> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[track_caller]
fn check_keys(object: &serde_json::Map<String, Value>, expected: &[&str]) {
    let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
    let mut expected = expected.to_vec();
    keys.sort_unstable();
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert!(object.values().all(|value| value.as_f64().is_some_and(f64::is_finite)), "{object:?}");
}

const EPOCH_KEYS: [&str; 7] = ["epoch", "s", "us_per_step", "loss", "accuracy", "val_loss", "val_accuracy"];
const TEST_KEYS: [&str; 4] = ["test_loss", "test_accuracy", "eval_s", "params"];

#[test]
fn json_is_one_object_an_epoch_one_for_the_test_and_one_for_the_export() {
    let place = Place::new();
    let found = objects(&place.train(&["--json", "--save", "weights"]));
    let [first, second, end, folded] = &found[..] else { panic!("two epochs, test and export, found {found:?}") };
    for (epoch, object) in [first, second].into_iter().enumerate() {
        check_keys(object, &EPOCH_KEYS);
        assert_eq!(object["epoch"], epoch + 1);
    }
    check_keys(end, &TEST_KEYS);
    assert_eq!(end["params"], PARAMETERS);
    assert!(second["loss"].as_f64() < first["loss"].as_f64(), "it learns: {found:?}");
    assert_eq!((&folded["onnx"], &folded["examples"]), (&"tutorial.onnx".into(), &folded["agreeing"]));
    assert!(folded["difference"].as_f64().unwrap() <= 1e-5, "{folded:?}");

    let again = objects(&place.run(&["evaluate", "weights", "--offline", "--json"]));
    let [again] = &again[..] else { panic!("one object, found {again:?}") };
    check_keys(again, &TEST_KEYS);
    for key in ["test_loss", "test_accuracy", "params"] {
        assert_eq!(again[key], end[key], "{key}");
    }
}

#[test]
fn people_read_a_summary_a_line_an_epoch_and_the_test_accuracy() {
    let place = Place::new();
    let stdout = place.train(&["--hold-out", "64", "--bn", "after", "--float", "f64", "--save", "weights"]);
    assert!(stdout.starts_with(&place.run(&["summary", "--bn", "after"])), "{stdout}");
    let lines: Vec<&str> = stdout.lines().skip_while(|line| !line.starts_with("epoch")).take(3).collect();
    let [first, second, test] = lines[..] else { panic!("{stdout}") };
    assert!(first.starts_with("epoch 1/2 ") && second.starts_with("epoch 2/2 "), "{stdout}");
    assert!(second.contains("  val_accuracy "), "{second}");
    // What is in brackets at the end are seconds.
    let figures = |line: &str| line.split("  (").next().map(str::to_owned);
    assert!(test.starts_with("test loss ") && test.contains("  test accuracy "), "{test}");
    let evaluated = place.run(&["evaluate", "weights", "--offline"]);
    assert_eq!(figures(evaluated.trim_end()), figures(test));
}

/// Training ends with the folded file and its explanation; `explain` tells it again, and `unfuse` leads back.
#[test]
fn training_ends_with_an_export_that_explains_itself_and_leads_back() {
    let place = Place::new();
    for bn in ["before", "after", "notebook"] {
        let stdout = place.train(&["--bn", bn, "--bias", "--save", "weights", "--export", "net.onnx"]);
        let explained = place.run(&["explain", "net.onnx"]);
        assert!(stdout.contains(explained.trim_end()), "{stdout}");
        for layer in ["flatten", "dense", "batch_normalization", "activation", "dense_3"] {
            assert_eq!(
                explained.lines().filter(|line| line.starts_with(&format!("{layer} "))).count(),
                1,
                "{explained}"
            );
        }
        assert!(stdout.contains("\nproved equal: ") && stdout.contains(" test images: "), "{stdout}");
        assert!(stdout.contains("dense/bias is not trained") == (bn != "after"), "{stdout}");
        let weights = |file: &str| foldgrad::interchange::safetensors::load(place.0.path().join(file)).unwrap().0;
        place.run(&["unfuse", "net.onnx", "--save", "back"]);
        let (trained, back) = (weights("weights"), weights("back"));
        assert!(
            back.len() >= 20 && back.iter().all(|(name, tensor)| trained[name] == *tensor),
            "{:?}",
            back.into_keys().collect::<Vec<_>>()
        );
        // What was given back can be measured and exported again.
        place.run(&["evaluate", "back", "--offline"]);
        place.run(&["export", "back", "--to", "again.onnx"]);
        assert_eq!(place.run(&["explain", "again.onnx"]), explained);
        let declared = place.run(&["export", "weights", "--to", "declared.onnx", "--as-declared"]);
        assert!(declared.starts_with("declared.onnx: "), "{declared}");
    }
}

#[test]
fn passes_can_be_left_out_and_watched() {
    let place = Place::new();
    place.train(&["--save", "weights", "--no-export"]);
    assert!(!place.0.path().join("tutorial.onnx").exists());
    let whole = place.run(&["export", "weights"]);
    assert!(place.0.path().join("tutorial.onnx").exists());
    assert_eq!(whole.matches("gone: folded into").count(), 3, "{whole}");
    let one = place.run(&["export", "weights", "--stop-after", "1"]);
    assert_eq!(one.matches("gone: folded into").count(), 1, "{one}");
    let but_one = ["--without", "affine_into_product_before@0", "--without", "fold_scales"];
    let two = place.run(&[&["export", "weights"], &but_one[..]].concat());
    assert_eq!(two.matches("gone: folded into").count(), 2, "{two}");
    let dumped = place.run(&["export", "weights", "--dump"]);
    assert!(dumped.contains("; after fold\ngraph {") && dumped.contains(" rewrites, work "), "{dumped}");
    let unknown = place.output(&["export", "weights", "--without", "flod"]);
    assert!(text(&unknown.stderr).contains("no pass or rule `flod`"), "{}", text(&unknown.stderr));
    let declared = place.run(&["explain", "--bn", "after", "--equations"]);
    assert!(declared.contains("affine_into_product_behind: (s⊙x + t)·W"), "{declared}");
}

#[test]
fn the_built_in_data_are_announced_on_standard_error() {
    let output = Place::new().output(&["train", "--offline", "--epochs", "1", "--limit", "64", "--json"]);
    let notice = text(&output.stderr);
    assert!(notice.contains("THIS IS NOT FASHION-MNIST"), "{notice}");
    assert!(!text(&output.stdout).contains("FASHION"));
}

#[test]
fn equal_seeds_write_equal_files() {
    let place = Place::new();
    for (file, seed) in [("one", "7"), ("same", "7"), ("other", "8")] {
        place.train(&["--seed", seed, "--save", file]);
    }
    assert!(place.file("one") == place.file("same"), "two runs of seed 7 differ");
    assert!(place.file("one") != place.file("other"), "runs of seeds 7 and 8 are the same");
}

#[test]
fn summaries_count_the_parameters() {
    let place = Place::new();
    for (placement, total) in [("before", "318,610"), ("after", "318,610"), ("none", "316,810")] {
        let summary = place.run(&["summary", "--bn", placement]);
        assert!(summary.contains(&format!("\n Total params: {total} (")), "{placement}: {summary}");
    }
    assert_eq!(place.run(&["summary"]), place.run(&["summary", "--bn", "before"]));
}

#[test]
fn graphs_are_text_that_parses_back() {
    let place = Place::new();
    // In training: 11 parameters with a velocity each, 6 running statistics, and the step counter.
    for (stage, updates) in [("forward", 6), ("inference", 0), ("folded", 0), ("evaluation", 0), ("training", 29)] {
        for placement in ["before", "after", "none"] {
            let printed = place.run(&["graph", "--stage", stage, "--bn", placement]);
            let graph = ir::parse(&printed).unwrap_or_else(|mistake| panic!("{stage}: {mistake}"));
            ir::verify(&graph).unwrap();
            assert_eq!(ir::print(&graph), printed, "{stage}");
            if placement == "before" {
                assert_eq!(graph.updates().count(), updates, "{stage}");
            }
            let with_origins = place.run(&["graph", "--stage", stage, "--bn", placement, "--origins"]);
            assert_eq!(ir::print(&ir::parse(&with_origins).unwrap()), printed, "{stage} with origins");
        }
        let dot = place.run(&["graph", "--stage", stage, "--format", "dot"]);
        assert!(dot.starts_with("digraph") && dot.trim_end().ends_with('}'), "{stage}: {dot}");
    }
    assert_eq!(place.run(&["graph"]), place.run(&["graph", "--stage", "forward", "--format", "text"]));
}

#[test]
fn the_plan_is_for_the_batch_asked_for() {
    let place = Place::new();
    let plan = place.run(&["graph", "--stage", "plan", "--batch", "48"]);
    assert!(plan.starts_with("plan: ") && plan.contains("[48,784]x[784,300]"), "{plan}");
    assert!(place.run(&["graph", "--stage", "plan"]).contains("[32,784]x[784,300]"));
}

#[test]
fn plans_are_printed_with_what_they_cost() {
    let place = Place::new();
    let batch = ["plan", "--batch", "48", "--threads", "2"];
    let whole = place.run(&batch);
    assert!(whole.starts_with("training step, batch 48\nplan: ") && whole.contains("[48,784]x[784,300]"), "{whole}");
    let brief = place.run(&[&batch[..], &["--brief", "--bn", "none"]].concat());
    assert!(brief.lines().all(|line| line.chars().count() <= 100) && !brief.contains("@0"), "{brief}");
    assert!(brief.contains("\nbarrier               400        400          -  ns until"), "{brief}");
    let step = brief.lines().find(|line| line.contains("gemm 48×784×300")).unwrap();
    assert!(step.contains(" dense ") && step.contains(" yes "), "{step}");
    let expected = |text: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with("     = a run")).unwrap();
        line.split_whitespace().nth(3).unwrap().parse().unwrap()
    };
    // Slower products, as a user says, make a longer run; one thread is never given a split.
    let costs = ["--brief", "--bn", "none", "--costs", "multiply_adds=11", "call=0"];
    let slow = place.run(&[&batch[..], &costs].concat());
    assert!(slow.contains("\nmultiply_adds        11.0        110          -  f32"), "{slow}");
    assert!(expected(&slow) > 2.0 * expected(&brief), "{slow}");
    let alone = place.run(&["plan", "--brief", "--threads", "1", "--stage", "folded"]);
    assert!(!alone.contains(" yes ") && alone.contains("folded inference, batch 32"), "{alone}");
    let measured = place.run(&["plan", "--brief", "--threads", "1", "--measure", "--calibrate"]);
    assert!(measured.contains("µs  measured  ratio\n"), "{measured}");
    let costs: Vec<&str> = measured.lines().skip(2).take(6).collect();
    for line in costs {
        let fields: Vec<&str> = line.split_whitespace().collect();
        assert!(fields[1] == fields[3] && fields[1].parse::<f64>().unwrap() > 0.0, "{line}");
    }
    let run: Vec<&str> = measured.lines().last().unwrap().split_whitespace().collect();
    assert!(run.len() == 6 && run[4].parse::<f64>().unwrap() > 0.0, "{run:?}");
}

#[test]
fn profiles_are_a_table_a_trace_and_an_object() {
    let place = Place::new();
    let profile = ["profile", "--steps", "3", "--batch", "8"];
    for stage in ["training", "inference", "folded"] {
        let table = place.run(&[&profile[..], &["--stage", stage, "--threads", "2"]].concat());
        assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
        let starts = |start: &str| table.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(
            (starts("layer "), starts("kind "), starts("worker "), starts("ceilings of a core: ")),
            (1, 1, 1, 1)
        );
        assert_eq!((starts("dense_3 "), starts("sgd ")), (1, usize::from(stage == "training")), "{table}");
    }
    let files = ["--trace", "trace.json", "--trace-steps", "2", "--json", "profile.json", "--bn", "after", "--bias"];
    place.run(&[&profile[..], &files].concat());
    let trace: Value = serde_json::from_slice(&place.file("trace.json")).unwrap();
    let runs = trace.as_array().unwrap().iter().filter(|event| event["name"] == "run").count();
    assert_eq!(runs, 2);
    let object: Value = serde_json::from_slice(&place.file("profile.json")).unwrap();
    assert_eq!((&object["runs"], object["multiply_adds"].as_u64()), (&3.into(), Some(8 * 713_400)));
    let printed = place.run(&[&profile[..], &["--json", "-"]].concat());
    assert_eq!(objects(&printed).len(), 1, "nothing else");
}

#[test]
fn help_and_version_are_no_errors() {
    let place = Place::new();
    for command in COMMANDS {
        assert!(place.run(&[command, "--help"]).contains(&format!("Usage: foldgrad {command}")));
        assert!(place.run(&["--help"]).contains(&format!("\n  {command} ")));
    }
    assert_eq!(place.run(&["--version"]), concat!("foldgrad ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn a_command_that_cannot_be_understood_exits_with_2() {
    let place = Place::new();
    for args in [
        &[][..],
        &["fold"],
        &["train", "--epochs", "0"],
        &["train", "--epochs", "many"],
        &["train", "--batch", "0"],
        &["train", "--limit", "0"],
        &["train", "--momentum", "1.5"],
        &["train", "--bn", "sideways"],
        &["train", "--float", "f16"],
        &["train", "--seed", "-1"],
        &["train", "extra"],
        &["evaluate"],
        &["export"],
        &["unfuse", "tutorial.onnx"],
        &["train", "--no-export", "--export", "file"],
        &["summary", "--json"],
        &["graph", "--stage", "none"],
        &["graph", "--format", "svg"],
        &["plan", "--batch", "0"],
        &["plan", "--costs", "barrier"],
        &["plan", "--costs", "barier=3"],
        &["plan", "--costs", "multiply_adds=0"],
        &["plan", "--costs", "call=-1"],
        &["profile", "--stage", "plan"],
        &["profile", "--threads", "0"],
        &["profile", "--threads", "65"],
        &["profile", "--steps", "0"],
        &["profile", "--trace-steps", "3"],
    ] {
        let output = place.output(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty() && text(&output.stderr).contains("--help"), "{args:?}");
    }
}

#[test]
fn what_goes_wrong_is_one_error_and_no_panic() {
    let place = Place::new();
    std::fs::write(place.0.path().join("damaged"), b"\xff\xff\xff\xff\xff\xff\xff\x7f{}").unwrap();
    for (args, expected) in [
        (&["evaluate", "missing"][..], "missing"),
        (&["evaluate", "damaged"], "damaged"),
        (&["evaluate", "."], "not a regular file"),
        (&["train", "--data", "nowhere"], "nowhere"),
        (&["train", "--offline", "--limit", "320", "--hold-out", "500"], "500"),
        (&["train", "--offline", "--limit", "320", "--learning-rate", "1e30"], "a lower learning rate may help"),
        (&["train", "--offline", "--limit", "33"], "choose another --batch"),
        (&["train", "--offline", "--limit", "64", "--epochs", "1", "--save", "no/such/file"], "no/such/file"),
        (
            &["train", "--offline", "--limit", "64", "--epochs", "1", "--export", "no/such.onnx"],
            "--export no/such.onnx",
        ),
        (&["explain", "missing.onnx"], "missing.onnx"),
        (&["profile", "--steps", "1", "--trace", "no/such.json"], "--trace no/such.json"),
        (&["profile", "--steps", "1", "--json", "no/such.json"], "--json no/such.json"),
        (&["unfuse", "damaged", "--save", "weights"], "damaged"),
    ] {
        let output = place.output(args);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {message}");
        let error = message.find("error").map(|at| &message[at..]).unwrap_or_default();
        assert!(error.contains(expected) && !message.contains("panicked"), "{args:?}: {message}");
    }
    let safetensors_of_another_tool = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let header = (safetensors_of_another_tool.len() as u64).to_le_bytes();
    let foreign = [&header[..], safetensors_of_another_tool, &[0; 4]].concat();
    std::fs::write(place.0.path().join("foreign"), foreign).unwrap();
    let output = place.output(&["evaluate", "foreign"]);
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("foldgrad train --save"));
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let place = Place::new();
    let train = ["train", "--offline", "--epochs", "1", "--limit", "320"];
    for args in [&["graph", "--stage", "training"][..], &["summary"], &train, &[&train[..], &["--json"]].concat()] {
        let mut child = place.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let message = text(&output.stderr);
        assert!(output.status.success() && !message.contains("panicked"), "{args:?}: {} {message}", output.status);
    }
}

#[test]
fn an_unfinished_run_leaves_no_file() {
    let place = Place::new();
    let path = "weights";
    std::fs::write(place.0.path().join(path), "an older file").unwrap();
    let diverging = ["train", "--offline", "--limit", "320", "--learning-rate", "1e30", "--save", path];
    assert_eq!(place.output(&diverging).status.code(), Some(1));
    assert_eq!(place.file(path), b"an older file");
    assert!(std::fs::read_dir(&place.0).unwrap().all(|entry| entry.unwrap().path().ends_with(Path::new(path))));
}
