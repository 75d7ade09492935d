"""Modules as people write them."""

import torch
from torch import nn
from torch.nn import functional


class LeNet(nn.Module):
    """LeNet-5 with functions in `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 5, padding=2)
        self.second = nn.Conv2d(6, 16, 5)
        self.dense = nn.Linear(400, 120)
        self.hidden = nn.Linear(120, 84)
        self.last = nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(torch.tanh(self.first(x)), 2)
        x = functional.max_pool2d(functional.relu(self.second(x)), (2, 2))
        x = functional.relu(self.dense(x.view(x.size(0), -1)))
        x = functional.dropout(x, 0.1, training=self.training)
        y: torch.Tensor = self.last(functional.relu(self.hidden(x)))
        return y


def vgg(classes: int = 10, channels: int = 1) -> nn.Sequential:
    """A small VGG with BatchNorm (Simonyan and Zisserman 2015)."""
    layers: list[nn.Module] = []
    for width in (8, 16, 16):
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width)]
        layers += [nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        channels = width
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 32), nn.ReLU()]
    return nn.Sequential(
        nn.Sequential(*layers), *head, nn.Dropout(), nn.Linear(32, classes)
    )


class TextClassifier(nn.Module):
    """An LSTM over tokens, whose last hidden state is classified."""

    def __init__(self, vocabulary: int, classes: int, layers: int = 1) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, 8)
        self.lstm = nn.LSTM(8, 16, layers, batch_first=True, dropout=0.1 * (layers - 1))
        self.head = nn.Linear(16, classes)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        _, (hidden, _) = self.lstm(self.embed(tokens))
        y: torch.Tensor = self.head(hidden[-1])
        return y


class Residual(nn.Module):
    """A basic block of ResNet (He et al. 2016)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.shortcut = nn.Sequential()
        if stride != 1 or before != after:
            projection = nn.Conv2d(before, after, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return functional.relu(y)


def resnet() -> nn.Sequential:
    """Two basic blocks between a convolution and a linear layer."""
    stem = [nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU()]
    blocks = [Residual(4, 4, 1), Residual(4, 8, 2)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)]
    return nn.Sequential(*stem, *blocks, *head)


class Plus(nn.Module):
    """A layer's output added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.tanh(self.layer(x))


def small_residual() -> nn.Sequential:
    """A residual network without convolutions, which compiles quickly."""
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 6), Plus(6), nn.Linear(6, 10))


class Steps(nn.Module):
    """A recurrent layer; the mean, the last step or the state is classified."""

    def __init__(self, layer: nn.RNNBase, take: str) -> None:
        super().__init__()
        self.layer, self.take = layer, take
        self.norm = nn.LayerNorm(layer.hidden_size)
        self.head = nn.Linear(layer.hidden_size, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs, state = self.layer(x)
        y = {
            "mean": lambda: outputs.mean(dim=1),
            "last": lambda: outputs[:, -1, :],
            "state": lambda: state.squeeze(0),
        }[self.take]()
        y = self.head(self.norm(y))
        return y


# Each: a module, and the shape of a batch of its inputs; integers below 9 for tokens.
NETS = {
    "lenet": (LeNet(), (3, 1, 28, 28)),
    "vgg": (vgg(), (3, 1, 16, 12)),
    "text": (TextClassifier(9, 3), (4, 7)),
    "deep text": (TextClassifier(9, 3, 2), (4, 7)),
    "resnet": (resnet(), (2, 1, 10, 12)),
    "features": (
        nn.Sequential(
            *(nn.Linear(6, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 8, bias=False)),
            *(nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 4), nn.ELU(0.5)),
            *(nn.LeakyReLU(0.2), nn.GELU("tanh"), nn.SiLU(), nn.Linear(4, 3)),
            nn.LogSoftmax(dim=1),
        ),
        (5, 6),
    ),
    "images": (
        nn.Sequential(
            *(nn.Conv2d(3, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),),
            *(nn.GroupNorm(2, 6), nn.SELU(), nn.Conv2d(6, 6, 3, padding="same", groups=3)),
            *(nn.Hardswish(), nn.MaxPool2d(3, stride=2, padding=1), nn.Mish()),
            *(nn.AvgPool2d(2, padding=1), nn.Softplus(), nn.Flatten(), nn.LazyLinear(4)),
        ),
        (4, 3, 11, 9),
    ),
    "signals": (
        nn.Sequential(
            *(nn.Conv1d(2, 4, 3, padding=1), nn.BatchNorm1d(4), nn.ReLU6()),
            *(nn.MaxPool1d(2), nn.Conv1d(4, 5, 2), nn.Sigmoid()),
            *(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(5, 3)),
        ),
        (4, 2, 9),
    ),
    "lstm": (Steps(nn.LSTM(5, 4, 2, batch_first=True), "mean"), (3, 6, 5)),
    "gru": (Steps(nn.GRU(5, 4, batch_first=True), "state"), (3, 6, 5)),
    "gru without biases": (
        Steps(nn.GRU(5, 4, bias=False, batch_first=True), "last"),
        (3, 6, 5),
    ),
    "rnn": (Steps(nn.RNN(5, 4, batch_first=True), "last"), (3, 6, 5)),
}


def inputs(shape: tuple[int, ...], *, tokens: bool, seed: int = 0) -> torch.Tensor:
    """Inputs of this shape."""
    generator = torch.Generator().manual_seed(seed)
    if tokens:
        return torch.randint(0, 9, shape, generator=generator)
    return torch.rand(shape, generator=generator)
