//! Other systems: which programs they are, what they can do, and how they are started.

use super::child::{Launch, Speaks};
use super::contest::{Settings, Side, Variant};
use super::workload::{Name, Workload};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What a side is asked to do.
#[derive(Clone, Debug)]
pub(super) enum Task {
    Train { workload: Workload, single: bool },
    Infer { batch: u64, folded: PathBuf, declared: PathBuf },
    Compile { workload: Workload },
}

/// `NAME=PROGRAM`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Peer {
    name: String,
    program: PathBuf,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Peer, String> {
        match text.split_once('=') {
            Some((name, program)) if !name.is_empty() && !program.is_empty() => {
                Ok(Peer { name: name.to_owned(), program: program.into() })
            }
            _ => Err("give a name and a program, as in `jax=path/to/python`".to_owned()),
        }
    }
}

/// The peers' Python programs, which this program carries in it, in a folder of their own.
pub(super) struct Scripts(PathBuf);

const SCRIPTS: [(&str, &str); 5] = [
    ("side.py", include_str!("../../../benches/peers/side.py")),
    ("train_jax.py", include_str!("../../../benches/peers/train_jax.py")),
    ("train_torch.py", include_str!("../../../benches/peers/train_torch.py")),
    ("train_keras.py", include_str!("../../../benches/peers/train_keras.py")),
    ("infer_onnx.py", include_str!("../../../benches/peers/infer_onnx.py")),
];

impl Scripts {
    pub(super) fn unpack() -> std::io::Result<Scripts> {
        let folder = std::env::temp_dir().join(format!("foldgrad-bench-{}", std::process::id()));
        // Fails if it is there: nothing of anybody's is overwritten.
        std::fs::create_dir(&folder)?;
        let scripts = Scripts(folder);
        for (name, text) in SCRIPTS {
            std::fs::write(scripts.0.join(name), text)?;
        }
        Ok(scripts)
    }

    /// A file of that name beside the scripts, which goes when they go.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The flags that every side is given for a task.
fn flags(task: &Task, threads: usize) -> Vec<String> {
    let mut flags: Vec<String> = match task {
        Task::Train { workload, single } => {
            let single = single.then(|| "--single".to_owned());
            ["train".to_owned()].into_iter().chain(workload.arguments()).chain(single).collect()
        }
        Task::Infer { batch, .. } => {
            ["infer".to_owned()].into_iter().chain(Workload::tutorial(*batch).arguments()).collect()
        }
        Task::Compile { workload } => ["compile".to_owned()].into_iter().chain(workload.arguments()).collect(),
    };
    flags.extend(["--threads".to_owned(), threads.to_string()]);
    flags
}

/// A build of this library, this one or another.
pub(super) fn own(name: &str, program: &Path, task: &Task, settings: &Settings) -> Side {
    let variant = |&threads: &usize| {
        let arguments = ["bench-side".to_owned()].into_iter().chain(flags(task, threads)).collect();
        variant(threads, "", program, arguments)
    };
    Side { name: name.to_owned(), variants: settings.threads.iter().map(variant).collect() }
}

fn variant(threads: usize, mode: &str, program: &Path, arguments: Vec<String>) -> Variant {
    let count = threads.to_string();
    let label = [mode, &format!("{count}t")].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let names = ["FOLDGRAD_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS", "NPROC"];
    let variables = names.into_iter().map(|name| (name.to_owned(), count.clone())).collect();
    let launch = Launch { program: program.to_owned(), arguments, variables, pinned: false, speaks: Speaks::Protocol };
    Variant { label, launch }
}

impl Peer {
    /// The sides that this peer has for the task; none where it can do no such thing.
    pub(super) fn sides(&self, task: &Task, scripts: &Scripts, settings: &Settings) -> Vec<Side> {
        let python = |script: &str, modes: &[&str], file: Option<&Path>| -> Vec<Variant> {
            let of_mode = |&mode: &&str| {
                let of_threads = move |&threads: &usize| {
                    let mut arguments = vec![scripts.path(script).display().to_string()];
                    arguments.extend(flags(task, threads));
                    arguments.extend(["--mode".to_owned(), mode.to_owned()]);
                    arguments.extend(file.iter().flat_map(|file| ["--file".to_owned(), file.display().to_string()]));
                    variant(threads, mode, &self.program, arguments)
                };
                settings.threads.iter().map(of_threads).collect::<Vec<_>>()
            };
            modes.iter().flat_map(of_mode).collect()
        };
        let side = |name: &str, variants| vec![Side { name: name.to_owned(), variants }];
        match (self.name.as_str(), task) {
            ("jax", Task::Train { single: true, .. }) => side("jax", python("train_jax.py", &["step"], None)),
            ("jax", Task::Train { workload, .. }) => {
                let modes: &[&str] = if workload.network == Name::Tutorial { &["scan"] } else { &["step", "scan"] };
                side("jax", python("train_jax.py", modes, None))
            }
            ("jax", Task::Compile { .. }) => side("jax", python("train_jax.py", &["step"], None)),
            ("torch", Task::Train { .. }) => side("torch", python("train_torch.py", &["eager"], None)),
            ("keras", Task::Train { single: true, .. }) => side("keras", python("train_keras.py", &["jit"], None)),
            ("keras", Task::Train { workload, .. }) if workload.network == Name::Tutorial => {
                side("keras", python("train_keras.py", &["jit", "graph"], None))
            }
            ("onnx", Task::Infer { folded, declared, .. }) => {
                let engine = |name: &str, modes: [&str; 2]| {
                    let mut variants = python("infer_onnx.py", &modes[..1], Some(folded));
                    variants.extend(python("infer_onnx.py", &modes[1..], Some(declared)));
                    Side { name: name.to_owned(), variants }
                };
                vec![
                    engine("onnxruntime", ["onnxruntime-folded", "onnxruntime-declared"]),
                    engine("openvino", ["openvino-folded", "openvino-declared"]),
                ]
            }
            ("burn", Task::Train { workload, single: false }) if workload.network == Name::Tutorial => {
                let of_threads = |&threads: &usize| {
                    let mut variant = variant(threads, "", &self.program, vec!["1".into(), workload.batch.to_string()]);
                    variant.launch.speaks = Speaks::Epoch;
                    variant
                };
                side("burn", settings.threads.iter().map(of_threads).collect())
            }
            ("rten" | "tract", Task::Infer { folded, .. }) => {
                let of_threads = |&threads: &usize| {
                    let mut arguments = flags(task, threads);
                    arguments.extend(["--file".to_owned(), folded.display().to_string()]);
                    variant(threads, "", &self.program, arguments)
                };
                side(&self.name, settings.threads.iter().map(of_threads).collect())
            }
            ("foldgrad", _) => vec![own("foldgrad (other build)", &self.program, task, settings)],
            ("jax" | "torch" | "keras" | "onnx" | "burn" | "rten" | "tract", _) => Vec::new(),
            (name, _) => {
                let of_threads = |&threads: &usize| variant(threads, "", &self.program, flags(task, threads));
                side(name, settings.threads.iter().map(of_threads).collect())
            }
        }
    }
}
