//! Training, inference, other networks and compilation: seconds a step, ours beside theirs.

use super::super::contest::Settings;
use super::super::peers::Task;
use super::super::report::Row;
use super::super::side::trained_tutorial;
use super::super::workload::{Name, Workload};
use super::{Bench, CommandError, can_pin};
use crate::interchange::onnx;
use std::collections::BTreeMap;

impl Bench<'_> {
    /// The tutorial network at three batch sizes, with the best thread count of each side, then bound to one core.
    ///
    /// Only at batch 32 do all peers take part: the slower ones would take most of the time to say the same again.
    pub(in super::super) fn training(&self) -> Result<Vec<Row>, CommandError> {
        let one = Settings { threads: vec![1], ..self.settings.clone() };
        let pinned = can_pin();
        let mut rows = Vec::new();
        for on_one_core in [false, true] {
            let bench = Bench { settings: if on_one_core { &one } else { self.settings }, ..*self };
            for batch in [32, 128, 512] {
                let task = Task::Train { workload: self.sized(Workload::tutorial(batch)), single: false };
                let mut sides = bench.sides(&task);
                if batch != 32 || on_one_core {
                    sides.retain(|side| !["torch", "keras", "burn"].contains(&side.name.as_str()));
                }
                let place = match (on_one_core, pinned) {
                    (false, _) => "",
                    (true, true) => ", one core",
                    (true, false) => ", one thread (no taskset to bind it to a core)",
                };
                for variant in sides.iter_mut().flat_map(|side| &mut side.variants) {
                    variant.launch.pinned = on_one_core && pinned;
                }
                rows.extend(bench.compare(&format!("tutorial, batch {batch}{place}"), &sides)?);
            }
        }
        Ok(rows)
    }

    /// The folded tutorial network; peers read it from the file that we export.
    pub(in super::super) fn inference(&self) -> Result<Vec<Row>, CommandError> {
        let (folded, declared) = (self.scripts.path("folded.onnx"), self.scripts.path("declared.onnx"));
        let trainer = trained_tutorial()?;
        trainer.export(&folded, &trainer.fold()?, &BTreeMap::new())?;
        onnx::save(&declared, trainer.inference_graph(), &trainer.model_weights(), &onnx::ExportOptions::new())?;
        let mut rows = Vec::new();
        for batch in [1, 32, 256, 1024, 10_000] {
            let task = Task::Infer { batch, folded: folded.clone(), declared: declared.clone() };
            rows.extend(self.compare(&format!("folded tutorial, batch {batch}"), &self.sides(&task))?);
        }
        Ok(rows)
    }

    /// Networks that ask for other things than the tutorial's.
    pub(in super::super) fn networks(&self) -> Result<Vec<Row>, CommandError> {
        let mut rows = Vec::new();
        for (network, depth, width) in
            [(Name::Deep, 20, 512), (Name::Residual, 8, 256), (Name::SelfNormalising, 8, 256), (Name::Plain, 2, 4096)]
        {
            for batch in [32, 128] {
                // An epoch is the least that a side runs, so it is to be short.
                let steps = if network == Name::Plain { 4 } else { 16 };
                let workload = Workload {
                    network,
                    depth,
                    width,
                    examples: steps * batch,
                    learning_rate: 0.001,
                    ..Workload::tutorial(batch)
                };
                let sides = self.sides(&Task::Train { workload: self.sized(workload), single: false });
                let name = match network {
                    Name::Deep => "20 x 512, batch norm behind GELU",
                    Name::Residual => "8 residual blocks of 256, layer norm by hand",
                    Name::SelfNormalising => "8 x 256, SELU",
                    Name::Plain | Name::Tutorial => "2 x 4096, ReLU",
                };
                rows.extend(self.compare(&format!("{name}, batch {batch}"), &sides)?);
            }
        }
        Ok(rows)
    }

    /// The tutorial network's training step, and a chain of 100,000 nodes, which no peer is asked for.
    pub(in super::super) fn compile(&self) -> Result<Vec<Row>, CommandError> {
        let one = Settings { threads: self.settings.threads[..1].to_vec(), ..self.settings.clone() };
        let bench = Bench { settings: &one, ..*self };
        let workload = Workload::tutorial(32);
        let sides = bench.sides(&Task::Compile { workload });
        let mut rows = bench.compare("tutorial's training step, declaration to plan", &sides)?;
        let nodes = if self.settings.quick { 1000 } else { 100_000 };
        let mut chain = sides;
        chain.truncate(1);
        for variant in chain.iter_mut().flat_map(|side| &mut side.variants) {
            variant.launch.arguments.extend(["--nodes".to_owned(), nodes.to_string()]);
        }
        rows.extend(bench.compare(&format!("chain of {nodes} nodes, declaration to plan"), &chain)?);
        Ok(rows)
    }
}
