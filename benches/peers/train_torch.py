"""Training in PyTorch, eagerly, as its tutorials write the loop."""

import side

options = side.arguments()

import torch
from torch import nn

torch.set_num_threads(options.threads)
torch.manual_seed(0)


def dense(inputs, units, bias=True):
    layer = nn.Linear(inputs, units, bias=bias)
    if options.network == "self-normalising":
        nn.init.normal_(layer.weight, std=inputs**-0.5)
    elif options.network == "plain":
        nn.init.normal_(layer.weight, std=(2 / inputs) ** 0.5)
    else:
        nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class LayerNorm(nn.Module):
    """By hand, as on our side."""

    def __init__(self, width):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        variance = (centred * centred).mean(-1, keepdim=True)
        return centred / torch.sqrt(variance + 1e-5) * self.gamma + self.beta


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.branch = nn.Sequential(LayerNorm(width), dense(width, width), nn.ReLU(), dense(width, width))

    def forward(self, x):
        return x + self.branch(x)


def network():
    sizes = side.layers(options)
    if options.network == "residual":
        width = options.width
        blocks = [Block(width) for _ in range(options.depth)]
        return nn.Sequential(dense(options.inputs, width), *blocks, LayerNorm(width), dense(width, 10))
    layers = []
    for inputs, units in sizes[:-1]:
        norm = nn.BatchNorm1d(units, eps=1e-3, momentum=0.01)
        if options.network == "tutorial":
            layers += [dense(inputs, units, bias=False), norm, nn.ReLU()]
        elif options.network == "deep":
            layers += [dense(inputs, units, bias=False), nn.GELU(), norm]
        else:
            layers += [dense(inputs, units), nn.SELU() if options.network == "self-normalising" else nn.ReLU()]
    return nn.Sequential(*layers, dense(*sizes[-1]))


x = torch.from_numpy(side.scaled(side.pixels(options.examples, options.inputs)))
y = torch.from_numpy(side.labels(options.examples)).long()
model = network()
optimizer = torch.optim.SGD(
    model.parameters(), options.learning_rate, momentum=options.momentum, nesterov=options.momentum > 0
)
criterion = nn.CrossEntropyLoss()
per_epoch = 1 if options.single else options.examples // options.batch


def run(steps):
    epochs = 1 if options.single else -(-steps // per_epoch)
    for _ in range(epochs):
        total = 0.0
        for rows in torch.randperm(options.examples)[: per_epoch * options.batch].split(options.batch):
            optimizer.zero_grad(set_to_none=True)
            loss = criterion(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            total += loss.detach()
    return epochs * per_epoch, float(total) / per_epoch


side.serve({"version": f"torch {torch.__version__}"}, run)
