//! Whoever panics in a run, the caller hears of it, nobody is left behind in it, and the next run has its helpers.

use super::*;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread::{self, ThreadId};

/// A panic of these tests, which prints nothing.
fn trip(who: &'static str) -> ! {
    resume_unwind(Box::new(who))
}

/// Fails a test that hangs.
pub(in crate::exec) fn without_hanging(body: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let body = thread::spawn(move || {
        let outcome = catch_unwind(AssertUnwindSafe(body));
        // Nobody listens any more once a minute has gone.
        let _ = done.send(());
        outcome.unwrap_or_else(|panic| resume_unwind(panic));
    });
    assert!(wait.recv_timeout(Duration::from_secs(300)).is_ok(), "it hangs");
    body.join().unwrap();
}

/// Lets helpers come: until one has set the flag, or for a little while.
fn give_time(flag: &AtomicBool) {
    let since = Instant::now();
    while !flag.load(Ordering::SeqCst) && since.elapsed() < Duration::from_millis(2) {
        thread::yield_now();
    }
}

/// One run in which the caller, whoever helps, or both panic; gives what the caller hears, and whether a helper came.
fn round(workers: usize, caller: bool, helpers: bool) -> (Option<&'static str>, bool) {
    let here: ThreadId = thread::current().id();
    let (came, inside) = (AtomicBool::new(false), AtomicUsize::new(0));
    let body = || {
        struct Inside<'a>(&'a AtomicUsize);
        impl Drop for Inside<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        inside.fetch_add(1, Ordering::SeqCst);
        let _inside = Inside(&inside);
        if thread::current().id() == here {
            give_time(&came);
            if caller {
                trip("caller");
            }
        } else {
            came.store(true, Ordering::SeqCst);
            if helpers {
                trip("helper");
            }
            // A helper that is still at work when the caller panics is waited for.
            thread::sleep(Duration::from_micros(100));
        }
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| on_workers(workers, body)));
    assert_eq!(inside.load(Ordering::SeqCst), 0, "someone was left behind");
    let heard = outcome.err().map(|panic| *panic.downcast::<&'static str>().unwrap());
    (heard, came.load(Ordering::SeqCst))
}

#[test]
fn the_caller_hears_of_every_panic_and_helpers_live_on() {
    without_hanging(|| {
        let mut helped = 0;
        for workers in [1, 2, 3, 8] {
            for _ in 0..50 {
                for (caller, helpers) in [(false, false), (true, false), (false, true), (true, true)] {
                    let (heard, came) = round(workers, caller, helpers);
                    let expected = match (caller, helpers && came) {
                        // What the caller itself panics with is what goes up from it.
                        (true, _) => Some("caller"),
                        (false, true) => Some("helper"),
                        (false, false) => None,
                    };
                    assert_eq!(heard, expected, "{workers} workers, caller {caller}, helpers {helpers}, came {came}");
                    helped += usize::from(came);
                    assert!(workers > 1 || !came);
                }
            }
        }
        assert!(helped > 0, "no helper ever came");
    });
}

#[test]
fn a_panic_within_a_run_in_a_run_goes_up_through_both() {
    without_hanging(|| {
        for _ in 0..50 {
            let outer = catch_unwind(|| on_workers(3, || on_workers(3, || trip("inner"))));
            assert_eq!(outer.unwrap_err().downcast_ref::<&str>(), Some(&"inner"));
        }
    });
}

#[test]
fn no_number_of_workers_starts_threads_without_end() {
    without_hanging(|| {
        let calls = AtomicUsize::new(0);
        for workers in [0, 1, 100_000, usize::MAX] {
            on_workers(workers, || _ = calls.fetch_add(1, Ordering::SeqCst));
        }
        assert!((4..=4 * MOST_THREADS).contains(&calls.load(Ordering::SeqCst)));
        // Another test's run may hold the helpers; then there are none to count.
        if let Some(helpers) = try_lock(&TEAM.helpers) {
            assert!(*helpers < MOST_THREADS);
        }
    });
}
