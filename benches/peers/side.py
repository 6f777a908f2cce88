"""What every Python peer shares: flags, made-up examples, and the protocol.

A side says `ready {...}` and answers `run N` with `done SECONDS STEPS [CHECK]`, at least N steps; see ../README.md.
"""

import argparse
import json
import os
import sys
import time

# Standard output belongs to the protocol, whatever a library wants to say there.
_answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def arguments():
    """The flags of the command line; to be read before anything that starts threads is imported."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["train", "infer", "compile"])
    parser.add_argument("--network", default="tutorial")
    parser.add_argument("--inputs", type=int, default=784)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--width", type=int, default=300)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--examples", type=int, default=60_000)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mode", default="")
    parser.add_argument("--file")
    parser.add_argument("--single", action="store_true")
    return parser.parse_args()


def _words(np, seed, start, count):
    """Random words at positions start.. of the stream of that seed (splitmix64)."""
    position = np.arange(start + 1, start + count + 1, dtype=np.uint64)
    z = np.uint64(seed << 40) + position * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def pixels(count, inputs):
    """Bytes of the first examples: half the class's picture, half noise of their own."""
    import numpy as np

    words = -(-inputs // 8)

    def rows(seed, first, number):
        found = _words(np, seed, first * words, number * words).astype("<u8")
        return found.view(np.uint8).reshape(number, words * 8)[:, :inputs]

    classes = rows(1, 0, 10)
    kind = (_words(np, 3, 0, count) % np.uint64(10)).astype(np.int64)
    out = np.empty((count, inputs), np.uint8)
    # In pieces: the memory of this must not be what is measured.
    for at in range(0, count, 1000):
        end = min(at + 1000, count)
        out[at:end] = rows(2, at, end - at) // 2 + classes[kind[at:end]] // 2
    return out


def labels(count):
    """Classes of the first examples, one in eight of them wrong."""
    import numpy as np

    noise = _words(np, 4, 0, count)
    right = _words(np, 3, 0, count) % np.uint64(10)
    wrong = (noise >> np.uint64(32)) % np.uint64(10)
    return np.where(noise % np.uint64(8) == 0, wrong, right).astype(np.int32)


def scaled(rows):
    """Bytes as f32 numbers from 0 to 1, without copies that outlive this."""
    import numpy as np

    out = rows.astype(np.float32)
    out /= np.float32(255)
    return out


def layers(options):
    """(inputs, units) of each Dense of a network, in order."""
    if options.network == "tutorial":
        sizes = [784, 300, 200, 100, 10]
    elif options.network == "residual":
        sizes = [options.inputs] + [options.width] * (1 + 2 * options.depth) + [10]
    else:
        sizes = [options.inputs] + [options.width] * options.depth + [10]
    return list(zip(sizes, sizes[1:]))


def serve(about, run):
    """Answers until the input ends; `run(steps)` gives the steps taken and the check, and returns when they are done."""
    _say("ready " + json.dumps(about))
    for line in sys.stdin:
        started = time.perf_counter()
        steps, check = run(int(line.split()[1]))
        seconds = time.perf_counter() - started
        _say(f"done {seconds} {steps}" + ("" if check is None else f" {float(check)}"))


def _say(line):
    _answers.write(line + "\n")
    _answers.flush()
