"""Training the tutorial network in Keras on TensorFlow: `fit`, with XLA (`--mode jit`) or without (`--mode graph`)."""

import os

import side

options = side.arguments()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(options.threads)
tf.config.threading.set_inter_op_parallelism_threads(options.threads)

import keras
from keras import layers

if options.network != "tutorial":
    raise SystemExit("only the tutorial network is declared here")

keras.utils.set_random_seed(0)
stack = [keras.Input((784,))]
for units in (300, 200, 100):
    stack += [layers.Dense(units, use_bias=False), layers.BatchNormalization(), layers.Activation("relu")]
model = keras.Sequential(stack + [layers.Dense(10)])
model.compile(
    optimizer=keras.optimizers.SGD(options.learning_rate, momentum=options.momentum, nesterov=options.momentum > 0),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    jit_compile=options.mode == "jit",
)
count = options.batch if options.single else options.examples
x, y = side.scaled(side.pixels(options.examples, 784)), side.labels(options.examples)
per_epoch = count // options.batch


def run(steps):
    epochs = -(-steps // per_epoch)
    history = model.fit(x[:count], y[:count], batch_size=options.batch, epochs=epochs, verbose=0)
    return epochs * per_epoch, history.history["loss"][-1]


side.serve({"version": f"keras {keras.__version__}, tensorflow {tf.__version__}"}, run)
