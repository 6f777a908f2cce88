//! `foldgrad bench` as a person or a script meets it: the table, the JSON, and peers that work, die, lie or are missing.
//!
//! Peers are shell scripts here, and this program itself.
#![cfg(all(feature = "cli", unix))]

use crate::skip::skip_on_this_machine;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_foldgrad");

struct Place(TempDir);

/// What a run said.
struct Said {
    code: Option<i32>,
    table: String,
    errors: String,
}

impl Place {
    fn new() -> Place {
        Place(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A shell script that calls itself `name` as a peer.
    fn script(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        format!("{name}={}", path.display())
    }

    fn bench(&self, suite: &str, more: &[&str]) -> Said {
        let scratch = self.path("scratch");
        fs::create_dir_all(&scratch).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(["bench", suite, "--quick", "--rounds", "2", "--json", "report.json"]).args(more);
        command.current_dir(&self.0).env("TMPDIR", &scratch).env_remove("FASHION_MNIST_DIR").stdin(Stdio::null());
        let output = command.output().unwrap();
        assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0, "temporary files are left behind");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code(), table: text(output.stdout), errors: text(output.stderr) }
    }

    /// The table and the rows of a run that succeeds.
    #[track_caller]
    fn rows(&self, suite: &str, more: &[&str]) -> (String, Vec<Value>) {
        let Said { code, table, errors } = self.bench(suite, more);
        assert_eq!(code, Some(0), "{errors}");
        let report: Value = serde_json::from_slice(&fs::read(self.path("report.json")).unwrap()).unwrap();
        assert_eq!((&report["settings"]["rounds"], &report["settings"]["quick"]), (&2.into(), &true.into()));
        let rows = report["rows"].as_array().unwrap().clone();
        assert_eq!(table.lines().filter(|line| !line.is_empty()).count(), rows.len() + 2, "{table}");
        for row in &rows {
            assert_eq!(row["suite"], suite);
            assert!(table.contains(row["name"].as_str().unwrap()), "{table}");
        }
        (table, rows)
    }
}

/// The figures of a side are finite, above 0, and as many as there were rounds; the best is one of them.
#[track_caller]
fn check_figures(side: &Value) {
    let rounds: Vec<f64> = side["rounds"].as_array().unwrap().iter().map(|round| round.as_f64().unwrap()).collect();
    assert_eq!(rounds.len(), 2, "{side}");
    assert!(rounds.iter().all(|round| *round > 0.0 && round.is_finite()), "{side}");
    assert!(rounds.contains(&side["best"].as_f64().unwrap()), "{side}");
}

const ONE_MICROSECOND: &str = r#"echo 'ready {"version": "fake 1"}'
while read word steps; do echo "chatter"; echo "done 0.00000$steps $steps 0.5"; done"#;

#[test]
fn without_peers_our_side_is_measured() {
    let (table, rows) = Place::new().rows("training", &["--threads", "1"]);
    let level = foldgrad::exec::Options::default().instruction_set().in_use();
    assert!(table.starts_with(&format!("training, {level}\nmeasurement ")), "{table}");
    assert_eq!(rows.len(), 6, "three batch sizes, on all cores and on one");
    for row in &rows {
        check_figures(&row["ours"]);
        assert_eq!((&row["ours"]["unit"], &row["ours"]["side"]), (&"µs".into(), &"foldgrad 1t".into()));
        assert!(row["other"].is_null() && row["ratio"].is_null(), "{row}");
        let loss = row["ours"]["check"].as_f64().unwrap();
        assert!((1.0..6.0).contains(&loss), "the loss of ten classes, found {loss}");
    }
}

#[test]
fn a_peer_that_speaks_the_protocol_is_measured_in_turn() {
    let place = Place::new();
    let log = place.path("log");
    let script = format!("echo \"$@\" >> {0}\n{ONE_MICROSECOND}", log.display());
    let fake = place.script("fake", &script);
    let (table, rows) = place.rows("training", &["--peer", &fake, "--threads", "3"]);
    for (index, row) in rows.iter().enumerate() {
        let other = &row["other"];
        check_figures(other);
        let side = if index < 3 { "fake 3t" } else { "fake 1t" };
        assert_eq!((&other["side"], &other["about"]["version"]), (&side.into(), &"fake 1".into()));
        assert_eq!((&other["best"], &other["check"]), (&1.0.into(), &0.5.into()));
        let (ours, ratio) = (row["ours"]["best"].as_f64().unwrap(), row["ratio"].as_f64().unwrap());
        assert!((ratio * ours - 1.0).abs() < 1e-9, "{row}");
    }
    assert!(table.contains("1.00 µs [..1.00 µs]") && table.contains(" x as fast"), "{table}");
    let arguments = fs::read_to_string(log).unwrap();
    let first = arguments.lines().next().unwrap();
    assert!(first.starts_with("train --network tutorial --inputs 784 ") && first.ends_with(" --threads 3"), "{first}");
}

/// Both sides do the same work, so they find the same loss.
#[test]
fn another_build_of_ours_can_be_the_peer() {
    let peer = format!("foldgrad={PROGRAM}");
    let (_, rows) = Place::new().rows("training", &["--peer", &peer, "--threads", "1"]);
    for row in &rows {
        check_figures(&row["other"]);
        assert_eq!(row["other"]["side"], "foldgrad (other build) 1t");
        assert_eq!(row["other"]["check"], row["ours"]["check"]);
        assert!(row["other"]["check"].is_number());
    }
}

#[test]
fn a_peer_that_fails_is_a_row_and_no_crash() {
    let place = Place::new();
    let dies = place.script("dies", "echo 'ready {}'; read line; echo 'out of luck' >&2; exit 3");
    let never = place.script("never", "echo 'no such module' >&2; exit 1");
    let refuses = place.script("refuses", "echo 'ready {}'; read line; echo 'failed it is Sunday'; sleep 100");
    let lies = place.script("lies", "echo 'ready {}'; while read line; do echo 'done -1 0'; done");
    let late = place.script("late", "echo 'ready {}'; for i in 1 2 3; do read line; echo 'done 1 1'; done; exit 4");
    let missing = format!("missing={}", place.path("nowhere").display());
    let peers = [&dies, &never, &refuses, &lies, &late, &missing];
    let mut arguments = vec!["--threads", "1"];
    arguments.extend(peers.iter().flat_map(|peer| ["--peer", peer.as_str()]));
    let started = std::time::Instant::now();
    let (table, rows) = place.rows("training", &arguments);
    assert!(started.elapsed().as_secs() < 90, "a child that sleeps is killed");
    for rows in rows.chunks(6) {
        let reason = |index: usize| rows[index]["other"]["failed"].as_str().unwrap();
        assert!(reason(0).contains("exit status: 3") && reason(0).contains("out of luck"), "{}", reason(0));
        assert!(reason(1).contains("exit status: 1") && reason(1).contains("no such module"), "{}", reason(1));
        assert_eq!(reason(2), "it is Sunday");
        assert!(reason(3).contains("done -1 0"), "{}", reason(3));
        assert!(reason(4).contains("exit status: 4"), "{}", reason(4));
        assert!(!reason(5).is_empty());
        for row in rows {
            check_figures(&row["ours"]);
            assert!(row["ratio"].is_null());
        }
    }
    assert!(table.contains("failed: it is Sunday") && rows[5]["other"]["failed"].to_string().contains("nowhere"));
}

/// A program that trains an epoch and prints a line about it, as burn's does.
#[test]
fn a_program_without_the_protocol_runs_an_epoch_a_round() {
    let place = Place::new();
    let epoch =
        r#"echo '{"peer": "burn"}'; echo '{"epoch": 1, "s": 1.2, "us_per_step": 600.0, "loss": 0.4}'; sleep 100"#;
    let burn = place.script("burn", epoch);
    let (_, rows) = place.rows("training", &["--peer", &burn, "--threads", "1"]);
    check_figures(&rows[0]["other"]);
    assert!((rows[0]["other"]["best"].as_f64().unwrap() - 600.0).abs() < 1e-6, "{}", rows[0]);
    assert!(rows[1..].iter().all(|row| row["other"].is_null()), "burn takes part at batch 32");
}

#[test]
fn inference_hands_the_exported_files_to_its_peers() {
    let place = Place::new();
    let log = place.path("log");
    let script = format!("for last; do :; done; wc -c < \"$last\" >> {0}\n{ONE_MICROSECOND}", log.display());
    let rten = place.script("rten", &script);
    let (_, rows) = place.rows("inference", &["--peer", &rten, "--threads", "1"]);
    assert_eq!(rows.len(), 5);
    for row in &rows {
        [&row["ours"], &row["other"]].into_iter().for_each(check_figures);
        let probability = row["ours"]["check"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&probability), "{row}");
        let first = rows[0]["ours"]["check"].as_f64().unwrap();
        assert!((probability - first).abs() < 1e-5, "one network, one first example: {probability}, {first}");
    }
    let sizes = fs::read_to_string(log).unwrap();
    let whole = |line: &str| line.trim().parse::<usize>().unwrap() > 4 * 316_200;
    assert!(sizes.lines().count() == 5 && sizes.lines().all(whole), "{sizes}");
}

#[test]
fn other_networks_train() {
    let (_, rows) = Place::new().rows("networks", &["--threads", "1"]);
    assert_eq!(rows.len(), 8, "four networks, two batch sizes");
    for row in &rows {
        check_figures(&row["ours"]);
        assert!((1.0..12.0).contains(&row["ours"]["check"].as_f64().unwrap()), "{row}");
    }
}

#[test]
fn the_scale_is_the_machines_own_peak() {
    let (table, rows) = Place::new().rows("scale", &["--threads", "1"]);
    let units: Vec<&str> = rows.iter().map(|row| row["ours"]["unit"].as_str().unwrap()).collect();
    assert_eq!(units, ["GFLOP/s", "GFLOP/s", "GFLOP/s", "GB/s", "GB/s"]);
    rows.iter().for_each(|row| check_figures(&row["ours"]));
    let peak = rows[0]["ours"]["best"].as_f64().unwrap();
    for row in &rows[1..3] {
        let share = row["ours"]["best"].as_f64().unwrap() / peak;
        assert!((row["ratio"].as_f64().unwrap() - share).abs() < 1e-9 && row["target"] == 0.85, "{row}");
    }
    assert!(table.contains(" % of it") && table.contains("85 %"), "{table}");
}

#[test]
fn a_busy_machine_is_held_against_an_idle_one() {
    let (table, rows) = Place::new().rows("busy", &["--threads", "2"]);
    assert!((1..=2).contains(&rows.len()));
    for row in &rows {
        [&row["ours"], &row["other"]].into_iter().for_each(check_figures);
        let quotient = row["ours"]["best"].as_f64().unwrap() / row["other"]["best"].as_f64().unwrap();
        assert!((row["ratio"].as_f64().unwrap() - quotient).abs() < 1e-9, "{row}");
    }
    assert!(table.contains("cores busy") && table.contains("idle"), "{table}");
    assert_eq!(spinning(), 0, "spinning programs are left behind");
}

/// Programs of this build that spin. Only one test starts some, and it looks when they should be gone.
fn spinning() -> usize {
    let spins = |folder: &Path| {
        let line = fs::read(folder.join("cmdline")).unwrap_or_default();
        let text = String::from_utf8_lossy(&line);
        text.starts_with(PROGRAM) && text.contains("bench-side\0spin")
    };
    let Ok(processes) = fs::read_dir("/proc") else {
        skip_on_this_machine("programs that are left behind are looked for in /proc, which this system does not have");
        return 0;
    };
    processes.flatten().filter(|entry| spins(&entry.path())).count()
}

#[test]
fn a_fresh_process_shows_memory_and_time_of_its_first_step() {
    let (_, rows) = Place::new().rows("memory", &["--threads", "1"]);
    let [time, memory] = &rows[..] else { panic!("two rows, found {rows:?}") };
    check_figures(&time["ours"]);
    if Path::new("/proc/self/status").exists() {
        check_figures(&memory["ours"]);
        let megabytes = memory["ours"]["best"].as_f64().unwrap();
        assert!((3.0..200.0).contains(&megabytes), "{megabytes} MB");
    } else {
        skip_on_this_machine("memory is read from /proc, which this system does not have");
    }
}

#[test]
fn compilation_is_timed() {
    let (table, rows) = Place::new().rows("compile", &[]);
    assert_eq!(rows.len(), 2);
    rows.iter().for_each(|row| check_figures(&row["ours"]));
    let nodes = rows[1]["ours"]["check"].as_f64().unwrap();
    assert!((800.0..1300.0).contains(&nodes), "about the thousand nodes asked for, found {nodes}: {table}");
}

#[test]
fn wrong_uses_are_refused() {
    let place = Place::new();
    for (suite, arguments, code, expected) in [
        ("training", &["--peer", "jax"][..], 2, "a name and a program"),
        ("training", &["--peer", "=python"], 2, "a name and a program"),
        ("speed", &[], 2, "possible values"),
        ("training", &["--rounds", "0"], 2, "--rounds"),
        ("training", &["--seconds=-1"], 2, "--seconds"),
        ("training", &["--threads", "0"], 2, "--threads"),
    ] {
        let said = place.bench(suite, arguments);
        assert!(said.code == Some(code) && said.table.is_empty(), "{arguments:?}: {}", said.errors);
        assert!(said.errors.contains(expected), "{arguments:?}: {}", said.errors);
    }
    let mut command = Command::new(PROGRAM);
    let output = command.args(["bench", "training", "--quick", "--json", "no/such/file"]).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && errors.contains("--json no/such/file"), "{errors}");
}

#[test]
fn a_side_refuses_what_it_does_not_understand() {
    use std::io::Write;
    let mut command = Command::new(PROGRAM);
    command.args(["bench-side", "compile", "--nodes", "160"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"run 1\nhello\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("ready {") && lines[1].starts_with("done "), "{text}");
    assert!(lines[2].starts_with("failed `hello` is no request"), "{text}");
    assert_eq!(output.status.code(), Some(1));
}
