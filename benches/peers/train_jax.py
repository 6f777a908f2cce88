"""Training in JAX: one compiled step a call (`--mode step`), or an epoch in one compiled scan (`--mode scan`)."""

import os

import side

options = side.arguments()
if options.threads == 1:
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"

import functools

import jax
import jax.numpy as jnp
import numpy as np

rng = np.random.default_rng(0)
BATCH = options.batch


def kernel(inputs, units):
    if options.network == "self-normalising":
        return (rng.standard_normal((inputs, units)) / np.sqrt(inputs)).astype(np.float32)
    if options.network == "plain":
        return (rng.standard_normal((inputs, units)) * np.sqrt(2 / inputs)).astype(np.float32)
    limit = np.sqrt(6 / (inputs + units))
    return rng.uniform(-limit, limit, (inputs, units)).astype(np.float32)


def declare():
    """Parameters and running statistics of the network."""
    sizes = side.layers(options)
    last = len(sizes) - 1
    normed = options.network in ("tutorial", "deep")
    parameters, statistics = [], []
    for index, (inputs, units) in enumerate(sizes):
        layer = {"kernel": kernel(inputs, units)}
        if not normed or index == last:
            layer["bias"] = np.zeros(units, np.float32)
        else:
            layer["gamma"], layer["beta"] = np.ones(units, np.float32), np.zeros(units, np.float32)
            statistics.append((np.zeros(units, np.float32), np.ones(units, np.float32)))
        parameters.append(layer)
    if options.network == "residual":
        width = options.width
        norm = lambda: {"gamma": np.ones(width, np.float32), "beta": np.zeros(width, np.float32)}
        parameters = [parameters, [norm() for _ in range(options.depth + 1)]]
    return parameters, statistics


def batch_norm(layer, statistics, x):
    """Of a training step; also the next running statistics, which move by a hundredth."""
    mean, variance = x.mean(0), x.var(0)
    moved = tuple(old * 0.99 + new * 0.01 for old, new in zip(statistics, (mean, variance)))
    return (x - mean) * (jax.lax.rsqrt(variance + 1e-3) * layer["gamma"]) + layer["beta"], moved


def layer_norm(layer, x):
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    return centred / jnp.sqrt(variance + 1e-5) * layer["gamma"] + layer["beta"]


def dense(layer, x):
    return x @ layer["kernel"] + layer["bias"]


def forward(parameters, statistics, x):
    moved = []
    if options.network == "residual":
        (first, *blocks, last), norms = parameters
        x = dense(first, x)
        for index in range(options.depth):
            hidden = jax.nn.relu(dense(blocks[2 * index], layer_norm(norms[index], x)))
            x = x + dense(blocks[2 * index + 1], hidden)
        return dense(last, layer_norm(norms[-1], x)), moved
    *hidden, last = parameters
    for index, layer in enumerate(hidden):
        if options.network == "tutorial":
            x, next_ = batch_norm(layer, statistics[index], x @ layer["kernel"])
            x = jax.nn.relu(x)
            moved.append(next_)
        elif options.network == "deep":
            x = jax.nn.gelu(x @ layer["kernel"], approximate=False)
            x, next_ = batch_norm(layer, statistics[index], x)
            moved.append(next_)
        elif options.network == "self-normalising":
            x = jax.nn.selu(dense(layer, x))
        else:
            x = jax.nn.relu(dense(layer, x))
    return dense(last, x), moved


def loss(parameters, statistics, x, y):
    logits, moved = forward(parameters, statistics, x)
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean(), moved


def step(carry, batch):
    parameters, statistics, velocities = carry
    (value, statistics), gradients = jax.value_and_grad(loss, has_aux=True)(parameters, statistics, *batch)
    rate, momentum = options.learning_rate, options.momentum
    if momentum == 0:
        parameters = jax.tree.map(lambda p, g: p - rate * g, parameters, gradients)
    else:
        velocities = jax.tree.map(lambda v, g: momentum * v - rate * g, velocities, gradients)
        parameters = jax.tree.map(lambda p, v, g: p + momentum * v - rate * g, parameters, velocities, gradients)
    return (parameters, statistics, velocities), value


def start():
    parameters, statistics = declare()
    velocities = jax.tree.map(np.zeros_like, parameters) if options.momentum else []
    return jax.device_put((parameters, statistics, velocities))


def orders(count):
    return rng.permutation(options.examples)[: count * BATCH].reshape(count, BATCH).astype(np.int32)


about = {"version": f"jax {jax.__version__}"}
carry = start()
if options.what == "compile":

    def run(steps):
        x, y = np.zeros((BATCH, options.inputs), np.float32), np.zeros(BATCH, np.int32)
        for _ in range(steps):
            jax.clear_caches()
            jax.jit(step, donate_argnums=0).lower(carry, (x, y)).compile()
        return steps, None

else:
    x, y = side.scaled(side.pixels(options.examples, options.inputs)), side.labels(options.examples)
    per_epoch = 1 if options.single else options.examples // BATCH
    if options.mode == "scan":
        x, y = jax.device_put(x), jax.device_put(y)

        @functools.partial(jax.jit, donate_argnums=0)
        def epoch(carry, x, y, order):
            return jax.lax.scan(lambda carry, rows: step(carry, (x[rows], y[rows])), carry, order)

    else:
        compiled = jax.jit(step, donate_argnums=0)

    def run(steps):
        global carry
        epochs = 1 if options.single else -(-steps // per_epoch)
        for _ in range(epochs):
            order = orders(per_epoch)
            if options.mode == "scan":
                carry, values = epoch(carry, x, y, order)
                check = values.mean()
            else:
                values = []
                for rows in order:
                    carry, value = compiled(carry, (x[rows], y[rows]))
                    values.append(value)
                check = sum(float(value) for value in values) / len(values)
        jax.block_until_ready(carry)
        return epochs * per_epoch, float(check)


side.serve(about, run)
