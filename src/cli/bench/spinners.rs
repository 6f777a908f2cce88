//! Programs that do nothing as fast as they can, to see what is left for others.

use super::super::CommandError;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// So long a spinner needs to get going, and the scheduler to notice.
const SETTLING: Duration = Duration::from_millis(200);

/// Processes that spin as long as this lives.
pub(super) struct Spinners(Vec<Child>);

impl Spinners {
    pub(super) fn start(program: &Path, count: usize) -> Result<Spinners, String> {
        let mut spinners = Spinners(Vec::new());
        for _ in 0..count {
            let mut command = Command::new(program);
            command.args(["bench-side", "spin"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            spinners.0.push(command.spawn().map_err(|error| format!("a spinning program cannot be started: {error}"))?);
        }
        if count > 0 {
            thread::sleep(SETTLING);
        }
        Ok(spinners)
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Errors mean that it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Spins until standard input ends, as it does when the parent dies.
pub(super) fn spin() -> Result<(), CommandError> {
    static DONE: AtomicBool = AtomicBool::new(false);
    thread::spawn(|| {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(1)) {}
        DONE.store(true, Ordering::Relaxed);
    });
    let mut number = 1u64;
    while !DONE.load(Ordering::Relaxed) {
        for _ in 0..1000 {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
    }
    Ok(())
}
