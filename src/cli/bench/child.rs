//! A side as its parent sees it: a process that is asked to run and says how long that took.
//!
//! **Invariant.** The process ends with its [`Child`], whatever happened.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longer than any answer takes, the compilation of a large network by a slow peer included.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a peer said last on standard error is kept up to that many bytes.
const KEPT: usize = 4096;

/// How a side is started.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub variables: Vec<(String, String)>,
    /// On the first core only.
    pub pinned: bool,
    pub speaks: Speaks,
}

/// What a program understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// `run N` on standard input, `done …` on standard output.
    Protocol,
    /// Nothing: it trains for one epoch and ends, having printed a JSON object with `us_per_step`.
    Epoch,
}

/// An answer to `run`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Answer {
    pub seconds: f64,
    pub steps: u64,
    pub check: Option<f64>,
}

impl Launch {
    fn command(&self) -> Command {
        let mut command = if self.pinned {
            let mut command = Command::new("taskset");
            command.args(["-c", "0"]).arg(&self.program);
            command
        } else {
            Command::new(&self.program)
        };
        command.args(&self.arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

pub(super) struct Child {
    launch: Launch,
    process: Option<Process>,
    about: Value,
    started: Instant,
}

struct Process {
    process: std::process::Child,
    input: ChildStdin,
    lines: Receiver<String>,
    complaints: Arc<Mutex<Vec<u8>>>,
    listener: JoinHandle<()>,
}

impl Child {
    /// Starts the side and waits until it is ready.
    pub(super) fn start(launch: Launch) -> Result<Child, String> {
        let started = Instant::now();
        let mut child = Child { launch, process: None, about: Value::Null, started };
        if child.launch.speaks == Speaks::Protocol {
            let mut process = Process::start(&child.launch)?;
            let about = process.read("ready")?;
            child.about = serde_json::from_str(&about).unwrap_or(Value::Null);
            child.process = Some(process);
        } else if !child.launch.program.is_file() {
            return Err(format!("{}: there is no such program", child.launch.program.display()));
        }
        Ok(child)
    }

    /// What the side says of itself.
    pub(super) fn about(&self) -> &Value {
        &self.about
    }

    /// Since it was started.
    pub(super) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// At least that many steps.
    pub(super) fn run(&mut self, steps: u64) -> Result<Answer, String> {
        let Some(process) = &mut self.process else { return one_epoch(&self.launch) };
        let asked = writeln!(process.input, "run {steps}").and_then(|()| process.input.flush());
        // A side that has ended has left a better reason than a closed pipe.
        let reply = process.read("done");
        if let (Err(error), Ok(_)) = (&asked, &reply) {
            return Err(error.to_string());
        }
        let reply = reply?;
        let mut words = reply.split_whitespace();
        let seconds = words.next().and_then(|word| word.parse().ok()).filter(|seconds: &f64| *seconds > 0.0);
        let taken = words.next().and_then(|word| word.parse().ok()).filter(|steps: &u64| *steps > 0);
        let (Some(seconds), Some(taken)) = (seconds.filter(|seconds| seconds.is_finite()), taken) else {
            return Err(format!("`done {reply}` does not give seconds and steps, both above 0"));
        };
        Ok(Answer { seconds, steps: taken, check: words.next().and_then(|word| word.parse().ok()) })
    }

    /// The most memory it ever had, in bytes, where the system tells.
    pub(super) fn peak_memory(&self) -> Option<u64> {
        let id = self.process.as_ref()?.process.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
    }
}

impl Process {
    fn start(launch: &Launch) -> Result<Process, String> {
        let mut command = launch.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = launch.program.display();
        let mut process = command.spawn().map_err(|error| format!("{name} cannot be started: {error}"))?;
        let (Some(input), Some(output), Some(errors)) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            return Err(format!("{name} has no standard streams"));
        };
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&complaints);
        let listener = thread::spawn(move || keep_last(errors, &kept));
        Ok(Process { process, input, lines, complaints, listener })
    }

    /// What follows `word` on the next line that starts with it; other lines are chatter.
    fn read(&mut self, word: &str) -> Result<String, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = self.line(deadline)?;
            if let Some(message) = line.strip_prefix("failed ") {
                return Err(message.to_owned());
            }
            if let Some(rest) = line.strip_prefix(word).filter(|rest| rest.is_empty() || rest.starts_with(' ')) {
                return Ok(rest.trim().to_owned());
            }
        }
    }

    /// The next line, whatever it says.
    fn line(&mut self, deadline: Instant) -> Result<String, String> {
        self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).map_err(|error| match error {
            RecvTimeoutError::Timeout => format!("no answer in {} s", PATIENCE.as_secs()),
            RecvTimeoutError::Disconnected => self.obituary(),
        })
    }

    /// How the process ended, and its last words.
    fn obituary(&mut self) -> String {
        // The output is closed: it has ended, or is about to; one that lives on without output is no side any more.
        for _ in 0..300 {
            if matches!(self.process.try_wait(), Ok(Some(_))) && self.listener.is_finished() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let how = match self.process.try_wait() {
            Ok(Some(status)) => format!("it ended ({status})"),
            _ => "it closed its output".to_owned(),
        };
        let complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&complaints);
        match text.lines().rfind(|line| !line.trim().is_empty()) {
            Some(last) => format!("{how}: {}", last.trim()),
            None => how,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads to the end and keeps the last bytes.
fn keep_last(mut from: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut block = [0; 1024];
    while let Ok(count @ 1..) = from.read(&mut block) {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&block[..count]);
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }
}

/// Runs a program that trains for one epoch.
fn one_epoch(launch: &Launch) -> Result<Answer, String> {
    let mut process = Process::start(launch)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let line = process.line(deadline)?;
        let Ok(epoch) = serde_json::from_str::<Value>(&line) else { continue };
        let [seconds, each] = ["s", "us_per_step"].map(|key| epoch.get(key).and_then(Value::as_f64));
        if let (Some(seconds), Some(each)) = (seconds, each.filter(|&each| each > 0.0)) {
            let steps = (seconds * 1e6 / each).round().max(1.0);
            // Its examples are others than ours, and so is its loss.
            return Ok(Answer { seconds: each * 1e-6 * steps, steps: steps as u64, check: None });
        }
    }
}
