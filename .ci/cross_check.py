"""Computes again, in JAX and in Keras, what `cargo run --example cross_check -- DIRECTORY` wrote, in float64.

usage: cross_check.py DIRECTORY

The directory also holds summary-before.txt, summary-after.txt and summary-none.txt: what `foldgrad summary --bn …`
prints. Nothing here is shared with Foldgrad but those files; the functions are JAX's own where it has them, and
otherwise written from their formulas. The exit code is 1 if anything differs by more than its line allows.

A difference is the largest absolute one of a tensor, relative to the largest entry of what was expected.
"""

import difflib
import json
import os
import pathlib
import sys

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_ENABLE_X64"] = "true"
os.environ["COLUMNS"] = "80"  # Summaries are as wide as the terminal.

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax import lax
from keras.src.backend.common import dtypes
from safetensors.numpy import load_file

keras.config.set_floatx("float64")

# Keras rounds results of some float64 functions to float32, as JAX does unless told otherwise; it was told otherwise.
dtypes.BIT64_TO_BIT32_DTYPE.pop("float64", None)

# What rounding may do to a function and its gradients, and to 20 steps of training, which amplify it.
GRADIENT = 1e-13
TRAINING = 1e-12


class Table:
    """One row a line that was compared; wrong rows are marked, and counted at the end."""

    def __init__(self):
        self.rows, self.wrong = 0, 0
        print(f"{'':5} {'compared':58} {'numbers':>8} {'difference':>11} {'allowed':>9}")

    def row(self, name, numbers, worst, allowed):
        right = worst <= allowed  # False for NaN
        self.rows += 1
        self.wrong += not right
        print(f"{'' if right else 'WRONG':5} {name:58} {numbers:8} {worst:11.1e} {allowed:9.0e}")

    def compare(self, name, pairs, allowed):
        """A row for tensors found and expected, by name; the same names, shapes and types on both sides."""
        worst, where = 0.0, ""
        for part, (found, expected, *least) in pairs.items():
            here = difference(found, np.asarray(expected), *least)
            if not here <= worst:
                worst, where = here, part
        self.row(name, sum(np.size(found) for found, *_ in pairs.values()), worst, allowed)
        if not worst <= allowed:
            found, expected, *_ = pairs[where]
            print(f"      in {where}: found {found!r}\n      expected {expected!r}")

    def equal(self, name, found, expected):
        self.row(name, len(found), 0.0 if found == expected else float("inf"), 0.0)
        lines = [text.splitlines(keepends=True) for text in (expected, found)]
        sys.stdout.writelines(difflib.unified_diff(*lines, "expected", "found", n=0))


def difference(found, expected, least=0.0):
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return float("inf")
    if found.size == 0:
        return 0.0
    largest = max(np.abs(expected).max(), least)
    return float(np.abs(found - expected).max() / (largest if largest > 0 else 1.0))


# ---- functions: dictionaries of inputs to dictionaries of outputs


def elements(f):
    return lambda i: {"y": f(i["x"])}


def pairs(f):
    return lambda i: {"y": f(i["a"], i["b"])}


def batch_norm_train(x, gamma, beta, eps):
    others = tuple(axis for axis in range(x.ndim) if axis != 1)
    channel = tuple(-1 if axis == 1 else 1 for axis in range(x.ndim))
    mean, var = x.mean(others), x.var(others)
    wide = lambda v: v.reshape(channel)
    return {"y": (x - wide(mean)) / jnp.sqrt(wide(var) + eps) * wide(gamma) + wide(beta), "mean": mean, "var": var}


def batch_norm(eps):
    return lambda i: batch_norm_train(i["x"], i["gamma"], i["beta"], eps)


def batch_norm_infer(i):
    gamma, beta, mean, var = (i[name][:, None] for name in ("gamma", "beta", "mean", "var"))
    return {"y": gamma * (i["x"] - mean) / jnp.sqrt(var + 1e-3) + beta}


def cross_entropy(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)[:, 0]


def scatter(i):
    at = list(jnp.indices(i["index"].shape))
    at[2] = i["index"]
    return {"y": jnp.zeros(i["index"].shape[:2] + (7,)).at[tuple(at)].add(i["x"])}


def moved(a, b):
    joined = jnp.concatenate([jnp.transpose(a[:, 1:8:3], (2, 0, 1)), b], 1).reshape(6, 6)
    return lax.pad(joined, 0.5, [(1, 2, 2), (0, 0, 0)])


def residual_mlp(i):
    x = i["x"]
    for block in ("", "'"):
        w1, b1, w2, b2, gamma, beta = (i[name + block] for name in ("w1", "b1", "w2", "b2", "gamma", "beta"))
        normed = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5) * gamma + beta
        x = x + jax.nn.gelu(normed @ w1 + b1, approximate=False) @ w2 + b2
    return {"loss": cross_entropy(x, i["labels"]).mean()}


def hessian_of_batch_norm(i):
    def loss(w, gamma, beta):
        out = batch_norm_train(i["x"] @ w, gamma, beta, 1e-3)
        return (jnp.tanh(out["y"]) * i["c"]).sum() + (out["mean"] * out["var"]).sum()

    point = (i["w"], i["gamma"], i["beta"])
    # Forward mode: the slope without any reverse sweep.
    return {"slope": jax.jvp(loss, point, (i["dw"], i["dgamma"], i["dbeta"]))[1]}


def loss_of(f):
    return lambda i: {"losses": f(i["x"], i["target"])}


def binary_cross_entropy(p, t):
    return -(t * jnp.log(p) + (1 - t) * jnp.log(1 - p)).mean(-1)


FUNCTIONS = {
    **{name: elements(getattr(jnp, name)) for name in ("exp", "expm1", "log", "log1p", "sqrt", "tanh", "sin", "cos", "abs")},
    **{name: elements(getattr(jax.nn, name)) for name in ("sigmoid", "relu", "selu", "silu", "softplus")},
    "rsqrt": elements(lax.rsqrt),
    "erf": elements(lax.erf),
    "leaky_relu": elements(lambda x: jax.nn.leaky_relu(x, 0.3)),
    "elu": elements(lambda x: jax.nn.elu(x, 0.7)),
    "gelu_exact": elements(lambda x: jax.nn.gelu(x, approximate=False)),
    "gelu_tanh": elements(lambda x: jax.nn.gelu(x, approximate=True)),
    "clamp": elements(lambda x: lax.clamp(-1.0, x, 1.5)),
    "cube": elements(lambda x: x * x * x),
    "add": pairs(jnp.add),
    "sub": pairs(jnp.subtract),
    "mul": pairs(jnp.multiply),
    "div": pairs(jnp.divide),
    "pow": pairs(jnp.power),
    "max": pairs(jnp.maximum),
    "min": pairs(jnp.minimum),
    "max_tied": pairs(jnp.maximum),
    "min_tied": pairs(jnp.minimum),
    "select": pairs(lambda a, b: jnp.where(a < b, a * a, b * a)),
    "stop_gradient": pairs(lambda a, b: lax.stop_gradient(a) * b + a * a),
    "dot": pairs(jnp.matmul),
    "dot_batch": pairs(lambda a, b: jnp.einsum("ipcq,qjcp->pqij", a, b)),
    "dot_two_axes": pairs(lambda a, b: jnp.einsum("kil,ljk->ij", a, b)),
    "dot_outer": pairs(lambda a, b: a[:, :, None] * b),
    "moved": pairs(moved),
    "sum": elements(lambda x: x.sum((0, 2))),
    "mean": elements(lambda x: x.mean(1)),
    "reduce_max": elements(lambda x: x.max((0, 2))),
    "reduce_min": elements(lambda x: x.min(1)),
    "reduce_max_tied": elements(lambda x: x.max((0, 2))),
    "product": elements(lambda x: x.prod((0, 2))),
    "product_with_zeros": elements(lambda x: x.prod(1)),
    "softmax": elements(lambda x: jax.nn.softmax(x, 1)),
    "log_softmax": elements(lambda x: jax.nn.log_softmax(x, 2)),
    "softmax_wide": elements(lambda x: jax.nn.softmax(x, 2)),
    "log_softmax_wide": elements(lambda x: jax.nn.log_softmax(x, 2)),
    "take": lambda i: {"y": jnp.take_along_axis(i["x"], i["index"], 1)},
    "scatter": scatter,
    "dense": lambda i: {"y": i["x"] @ i["kernel"] + i["bias"]},
    "batch_norm_train": batch_norm(1e-3),
    "batch_norm_train_of_images": batch_norm(1e-3),
    "batch_norm_train_shifted": batch_norm(1e-5),
    "batch_norm_train_constant": batch_norm(1e-3),
    "batch_norm_infer": batch_norm_infer,
    "softmax_cross_entropy": lambda i: {"losses": cross_entropy(i["x"], i["labels"])},
    "softmax_cross_entropy_wide": lambda i: {"losses": cross_entropy(i["x"], i["labels"])},
    "loss/sparse_categorical_crossentropy/logits": loss_of(cross_entropy),
    "loss/sparse_categorical_crossentropy": loss_of(lambda p, t: cross_entropy(jnp.log(p), t)),
    "loss/categorical_crossentropy/logits": loss_of(lambda z, t: -(t * jax.nn.log_softmax(z)).sum(-1)),
    "loss/categorical_crossentropy": loss_of(lambda p, t: -(t * jnp.log(p / p.sum(-1, keepdims=True))).sum(-1)),
    "loss/binary_crossentropy/logits": loss_of(lambda z, t: binary_cross_entropy(jax.nn.sigmoid(z), t)),
    "loss/binary_crossentropy": loss_of(binary_cross_entropy),
    "loss/mean_squared_error": loss_of(lambda p, t: ((p - t) ** 2).mean(-1)),
    "residual_mlp": residual_mlp,
    "hessian_of_batch_norm": hessian_of_batch_norm,
}


def keras_function(name):
    """The function that Keras has under that name, if it is one of Keras's."""
    family, _, rest = name.partition("/")
    if family == "keras":
        return elements(keras.activations.get(rest))
    if family == "loss":
        loss, _, logits = rest.partition("/")
        settings = {"from_logits": True} if logits else {}
        return loss_of(lambda x, target: getattr(keras.losses, loss)(target, x, **settings))
    return None


def check_gradients(table, cases, tensors):
    for case in cases:
        # A range of operands follows the name of an element-wise function.
        own = FUNCTIONS.get(case) or FUNCTIONS.get(case.split("/")[0])
        peers = [("jax", own)] * bool(own) + [("keras", f) for f in [keras_function(case)] if f]
        if not peers:
            table.row(f"{case}: no peer computes it", 0, float("inf"), GRADIENT)
        part = lambda kind: under(tensors, f"{case}/{kind}")
        inputs, cotangents, outputs, gradients = map(part, ("in", "cotangent", "out", "grad"))
        floats = {name: x for name, x in inputs.items() if x.dtype == np.float64}
        rest = {name: x for name, x in inputs.items() if name not in floats}
        for peer, function in peers:
            expected, pullback = jax.vjp(lambda floats: function({**rest, **floats}), floats)
            (expected_gradients,) = pullback({name: jnp.asarray(dy) for name, dy in cotangents.items()})
            assert (outputs.keys(), gradients.keys()) == (expected.keys(), expected_gradients.keys()), case
            pairs = {f"output {name}": (outputs[name], y) for name, y in expected.items()}
            # dy·y·(1 − y) is as far off as y is rounded, relative to dy and not to a product that vanishes.
            least = max(np.abs(dy).max() for dy in cotangents.values()) if case.startswith("sigmoid/") else 0.0
            pairs |= {f"gradient of {name}": (gradients[name], dx, least) for name, dx in expected_gradients.items()}
            table.compare(f"{peer:5} {case}", pairs, GRADIENT)


def under(tensors, prefix):
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(prefix + "/")}


# ---- training: 20 steps with each update rule, from its formula


def forward(model, w, x, training):
    """Class scores before the softmax, and the running statistics after the step."""
    if model == "channels_first":
        momentum, eps, axes, shape, gamma = 0.9, 1e-5, (0, 2), (1, -1, 1), 1.0
    else:
        x = x @ w["dense/kernel"]
        momentum, eps, axes, shape, gamma = 0.99, 1e-3, (0,), (1, -1), w["batch_normalization/gamma"]
    names = ("batch_normalization/moving_mean", "batch_normalization/moving_variance")
    mean, var = (x.mean(axes), x.var(axes)) if training else (w[name] for name in names)
    moved = {name: w[name] * momentum + new * (1 - momentum) for name, new in zip(names, (mean, var))}
    x = (x - mean.reshape(shape)) / jnp.sqrt(var.reshape(shape) + eps) * gamma
    x = x + w["batch_normalization/beta"].reshape(shape)
    if model == "channels_first":
        return x.reshape(len(x), -1) @ w["dense/kernel"] + w["dense/bias"], moved
    return jnp.tanh(x) @ w["dense_1/kernel"] + w["dense_1/bias"], moved


def clip(g, settings):
    norm = lambda x: jnp.sqrt((x * x).sum())
    if limit := settings.get("clipvalue"):
        return {name: jnp.clip(x, -limit, limit) for name, x in g.items()}
    if limit := settings.get("clipnorm"):
        return {name: jnp.where(norm(x) > limit, x * limit / norm(x), x) for name, x in g.items()}
    if limit := settings.get("global_clipnorm"):
        whole = norm(jnp.stack([norm(x) for x in g.values()]))
        return {name: jnp.where(whole > limit, x * limit / whole, x) for name, x in g.items()}
    return g


def update(settings, t, name, w, g, slots):
    """One parameter's next value; `t` counts from 0, and `slots` are 0 at first."""
    of = lambda key, default: settings.get(key, default)
    rate = settings["learning_rate"] / (1 + of("decay", 0.0) * t)
    if settings["rule"] == "sgd":
        momentum = of("momentum", 0.0)
        v = slots["v"] = momentum * slots["v"] - rate * g
        return w + momentum * v - rate * g if of("nesterov", False) else w + v
    if settings["rule"] in ("adam", "adamw"):
        b1, b2, eps = of("beta_1", 0.9), of("beta_2", 0.999), of("epsilon", 1e-7)
        if settings["rule"] == "adamw" and name.split("/")[-1] not in of("exclude", []):
            w = w - rate * settings["weight_decay"] * w
        m = slots["m"] = b1 * slots["m"] + (1 - b1) * g
        v = slots["v"] = b2 * slots["v"] + (1 - b2) * g**2
        return w - rate * jnp.sqrt(1 - b2 ** (t + 1)) / (1 - b1 ** (t + 1)) * m / (jnp.sqrt(v) + eps)
    rho = of("rho", 0.9)
    v = slots["v"] = rho * slots["v"] + (1 - rho) * g**2
    if of("centered", False):
        a = slots["a"] = rho * slots["a"] + (1 - rho) * g
        v = v - a**2
    m = slots["m"] = of("momentum", 0.0) * slots["m"] + rate * g / jnp.sqrt(v + of("epsilon", 1e-7))
    return w - m


def train_in_jax(run, w, x, labels):
    def loss(trained, rest, x, labels):
        logits, moved = forward(run["model"], {**rest, **trained}, x, True)
        return cross_entropy(logits, labels).mean(), moved

    slope = jax.jit(jax.value_and_grad(loss, has_aux=True))
    trained = {name: value for name, value in w.items() if "/moving_" not in name}
    statistics = {name: value for name, value in w.items() if "/moving_" in name}
    slots = {name: dict.fromkeys("vma", 0.0) for name in trained}
    losses = []
    for t in range(run["steps"]):
        rows = slice(t * run["batch"], (t + 1) * run["batch"])
        (value, statistics), g = slope(trained, statistics, x[rows], labels[rows])
        g = clip(g, run["settings"])
        trained = {name: update(run["settings"], t, name, w, g[name], slots[name]) for name, w in trained.items()}
        losses.append(float(value))
    logits, _ = forward(run["model"], {**trained, **statistics}, x, False)
    return losses, {**trained, **statistics}, jax.nn.softmax(logits)


def keras_optimizer(settings):
    settings = dict(settings)
    rule = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop"}[settings.pop("rule")]
    excluded = settings.pop("exclude", None)
    if decay := settings.pop("decay", None):
        start = settings["learning_rate"]
        settings["learning_rate"] = keras.optimizers.schedules.InverseTimeDecay(start, 1, decay)
    optimizer = getattr(keras.optimizers, rule)(**settings)
    if excluded:
        optimizer.exclude_from_weight_decay(var_names=excluded)
    return optimizer


def train_in_keras(run, w, x, labels):
    keras.backend.clear_session()
    layers = keras.layers
    # Layers are named in the order in which they are made.
    if run["model"] == "channels_first":
        stack = [layers.BatchNormalization(1, 0.9, 1e-5, scale=False), layers.Flatten()]
    else:
        stack = [layers.Dense(6, use_bias=False), layers.BatchNormalization(), layers.Activation("tanh")]
    model = keras.Sequential([layers.Input(x.shape[1:]), *stack, layers.Dense(run["classes"], activation="softmax")])
    variables = {f"{layer.name}/{variable.name}": variable for layer in model.layers for variable in layer.weights}
    for name, value in w.items():
        variables.pop(name).assign(value)
    assert not variables, f"variables of Keras alone: {list(variables)}"
    model.compile(keras_optimizer(run["settings"]), "sparse_categorical_crossentropy")
    losses = []
    for t in range(run["steps"]):
        rows = slice(t * run["batch"], (t + 1) * run["batch"])
        model.reset_metrics()
        losses.append(float(model.train_on_batch(x[rows], labels[rows])))
    after = {f"{layer.name}/{variable.name}": variable.numpy() for layer in model.layers for variable in layer.weights}
    return losses, after, model.predict(x, verbose=0)


def check_training(table, runs, tensors):
    for run in runs:
        name = run["name"]
        data = under(tensors, f"data/{run['model']}")
        before, after = under(tensors, f"{name}/before"), under(tensors, f"{name}/after")
        assert list(sorted(before)) == sorted(run["variables"]), name
        for peer, train in (("jax", train_in_jax), ("keras", train_in_keras)):
            losses, expected, predictions = train(run, before, data["x"], data["labels"])
            pairs = {variable: (after[variable], value) for variable, value in expected.items()}
            pairs["losses"] = (tensors[f"{name}/losses"], losses)
            pairs["predictions"] = (tensors[f"{name}/predictions"], predictions)
            table.compare(f"{peer:5} {run['steps']} steps of {name}", pairs, TRAINING)


# ---- what only Keras has: initialisers by name, and the summary


def check_initializers(table, tensors):
    for name, drawn in tensors.items():
        expected = np.asarray(keras.initializers.get(name).__class__(seed=1)(drawn.shape))
        spread = lambda x: np.array([x.std(), x.min(), x.max()])
        # 235,200 draws a side: 1e-2 is six standard errors of the standard deviation, and wide of the extremes.
        table.compare(f"keras spread of {name}", {"std, min, max": (spread(drawn), spread(expected))}, 1e-2)
        table.row(f"keras mean of {name}", drawn.size, abs(drawn.mean()) / drawn.std(), 1e-2)
    limit = np.sqrt(6 / sum(tensors["glorot_uniform"].shape))
    table.row("      largest of glorot_uniform, below √(6/(in + out))", 1, 1 - np.abs(tensors["glorot_uniform"]).max() / limit, 1e-4)
    table.row("      glorot_uniform past its limit", 1, float((np.abs(tensors["glorot_uniform"]) > limit).sum()), 0.0)


def tutorial(placement):
    layers = keras.layers
    stack = [layers.Input((28, 28)), layers.Flatten()]
    for units in (300, 200, 100):
        stack.append(layers.Dense(units, use_bias=placement == "none"))
        norm, relu = layers.BatchNormalization(), layers.Activation("relu")
        stack += {"before": [norm, relu], "after": [relu, norm], "none": [relu]}[placement]
    return keras.Sequential([*stack, layers.Dense(10, activation="softmax")])


def functional():
    layers = keras.layers
    image, extra = layers.Input((3, 4), name="image"), layers.Input((12,), name="extra")
    shared = layers.Dense(12, activation="relu", name="shared")
    left, right = shared(layers.Flatten()(image)), shared(extra)
    total = layers.Dropout(0.5)(layers.Add()([left, right, extra]))
    both = layers.Reshape((6, 4))(layers.Concatenate()([total, layers.Multiply()([left, right])]))
    frozen = layers.Dense(2, name="frozen", trainable=False)
    outputs = [layers.Dense(1, activation="sigmoid", name="yes")(total), frozen(both)]
    return keras.Model([image, extra], outputs)


def summary(build, *arguments):
    keras.backend.clear_session()
    keras.config.set_floatx("float32")
    lines = []
    build(*arguments).summary(print_fn=lines.append)
    return "".join(lines)


def main():
    directory = pathlib.Path(sys.argv[1])
    description = json.loads((directory / "cross_check.json").read_text())
    tensors = {name: load_file(directory / f"{name}.safetensors") for name in ("cases", "runs", "initial")}
    print(f"jax {jax.__version__}, keras {keras.__version__}, float64")
    table = Table()
    check_gradients(table, description["cases"], tensors["cases"])
    check_training(table, description["runs"], tensors["runs"])
    check_initializers(table, tensors["initial"])
    for placement in ("before", "after", "none"):
        found = (directory / f"summary-{placement}.txt").read_text()
        table.equal(f"keras summary, batch norm {placement}", found, summary(tutorial, placement))
    table.equal("keras summary, functional", (directory / "summary-functional.txt").read_text(), summary(functional))
    print(f"cross-check: {table.rows} lines compared, {table.wrong} of them differ")
    return 1 if table.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
