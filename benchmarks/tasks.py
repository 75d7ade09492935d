"""What is trained: four models, their data, and the initial parameters of every contender.

Arrays are kept the way PyTorch has them: images (N, C, H, W), convolutions (out, in,
height, width), Dense layers (out, in), an LSTM's gates in the order input, forget, cell,
output. Each contender converts them to its own layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

SEQUENCE = 40
EMBEDDING, HIDDEN = 64, 128


@dataclass(frozen=True)
class Task:
    """One model with its data and learning rate; `rounds` are those after which accuracies
    are compared.
    """

    name: str
    title: str
    data: str
    lr: float
    rounds: int


TASKS = {
    task.name: task
    for task in (
        Task("case_study", "case-study CNN", "images", 0.05, 8),
        Task("mcmahan", "McMahan's CNN", "images", 0.05, 3),
        Task("mlp", "MLP 784-200-200-10", "images", 0.05, 8),
        Task("lstm", "LSTM 128, characters", "text", 1.0, 3),
    )
}

# Layers as (kind, inputs, outputs, kernel, positions): how often a layer's matrix is
# applied to one sample.
CASE_STUDY = [
    ("conv", 1, 16, 3, 14 * 14),
    ("conv", 16, 32, 3, 7 * 7),
    ("conv", 32, 64, 3, 4 * 4),
    ("dense", 1024, 10, 1, 1),
]
MCMAHAN = [
    ("conv", 1, 32, 5, 28 * 28),
    ("conv", 32, 64, 5, 14 * 14),
    ("dense", 3136, 512, 1, 1),
    ("dense", 512, 10, 1, 1),
]
MLP = [("dense", 784, 200, 1, 1), ("dense", 200, 200, 1, 1), ("dense", 200, 10, 1, 1)]
LAYERS = {"case_study": CASE_STUDY, "mcmahan": MCMAHAN, "mlp": MLP}


def glorot(
    rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int
) -> np.ndarray:
    bound = np.sqrt(6 / (fan_in + fan_out))
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def initial(name: str, vocabulary: int) -> list[np.ndarray]:
    """The initial parameters: Glorot uniform weights, zero biases, in layer order."""
    rng = np.random.default_rng(1)
    if name == "lstm":
        gates = 4 * HIDDEN
        return [
            glorot(rng, (vocabulary, EMBEDDING), vocabulary, EMBEDDING),
            glorot(rng, (gates, EMBEDDING), EMBEDDING, gates),
            glorot(rng, (gates, HIDDEN), HIDDEN, gates),
            np.zeros(gates, np.float32),
            glorot(rng, (vocabulary, HIDDEN), HIDDEN, vocabulary),
            np.zeros(vocabulary, np.float32),
        ]
    arrays = []
    for kind, inputs, outputs, kernel, _ in LAYERS[name]:
        shape = (outputs, inputs, kernel, kernel) if kind == "conv" else (outputs, inputs)
        arrays.append(glorot(rng, shape, inputs * kernel**2, outputs * kernel**2))
        arrays.append(np.zeros(outputs, np.float32))
    return arrays


def flops(name: str, batch: int, vocabulary: int) -> int:
    """Floating-point operations of the matrix products of one training step.

    Two for each multiply-add, and three products a layer (the output, the gradient of the
    weights, that of the input), but two in the first layer of an image model, whose input
    needs no gradient.
    """
    if name == "lstm":
        weights = 4 * HIDDEN * (EMBEDDING + HIDDEN) + HIDDEN * vocabulary
        return 6 * weights * SEQUENCE * batch
    products = [
        inputs * outputs * kernel**2 * positions
        for _, inputs, outputs, kernel, positions in LAYERS[name]
    ]
    return batch * (6 * sum(products) - 2 * products[0])


def read_images(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "mnist" / "mnist10k.npz") as file:
        raw = {key: file[key] for key in file.files}
    data = {}
    for part in ("train", "test"):
        data[f"x_{part}"] = (raw[f"x_{part}"].astype(np.float32) / np.float32(255)).reshape(
            -1, 1, 28, 28
        )
        data[f"y_{part}"] = raw[f"y_{part}"].astype(np.int64)
    return data


def read_text(folder: Path, train: int, test: int) -> tuple[dict[str, np.ndarray], int]:
    """Windows of 40 characters as inputs, the same moved on by one as labels; and the size
    of the vocabulary.
    """
    text = (folder / "tinyshakespeare" / "input.txt").read_text()
    symbols = sorted(set(text))
    code = {symbol: i for i, symbol in enumerate(symbols)}
    used = np.array([code[c] for c in text[: (train + test) * SEQUENCE + 1]], np.int64)
    x, y = used[:-1].reshape(-1, SEQUENCE), used[1:].reshape(-1, SEQUENCE)
    return {
        "x_train": x[:train],
        "y_train": y[:train],
        "x_test": x[train:],
        "y_test": y[train:],
    }, len(symbols)


@dataclass(frozen=True)
class Workspace:
    """The files that contenders read: data, initial parameters, who holds which samples."""

    folder: Path
    vocabulary: int
    train: int

    def request(
        self, task: Task, batch: int, split: Path | None = None, **more: object
    ) -> dict[str, object]:
        """The part that all requests have in common."""
        files = {
            "data": str(self.folder / f"{task.data}.npz"),
            "init": str(self.folder / f"{task.name}.npz"),
        }
        return {
            "task": task.name,
            "batch": batch,
            "lr": task.lr,
            "split": str(split or self.split(10)),
            **files,
            **more,
        }

    def split(self, clients: int, each: int | None = None) -> Path:
        """Samples of each client, one row a client: a partition, or `each` samples drawn
        anew for every client.
        """
        path = self.folder / f"split-{clients}-{each or 'all'}.npy"
        if not path.exists():
            rng = np.random.default_rng(2)
            if each is None:
                rows = rng.permutation(self.train)[
                    : self.train // clients * clients
                ].reshape(clients, -1)
            else:
                rows = rng.integers(0, self.train, (clients, each))
            np.save(path, rows)
        return path


def prepare(folder: Path, data_dir: Path, quick: bool) -> Workspace:
    """Write the contenders' files into `folder`."""
    train, test = (320, 200) if quick else (8000, 2000)
    images = read_images(data_dir)
    images = {
        key: value[: train if key.endswith("train") else test]
        for key, value in images.items()
    }
    text, vocabulary = read_text(data_dir, train, test)
    np.savez(folder / "images.npz", allow_pickle=False, **images)
    np.savez(folder / "text.npz", allow_pickle=False, **text)
    for name in TASKS:
        arrays = initial(name, vocabulary)
        np.savez(
            folder / f"{name}.npz",
            allow_pickle=False,
            **{f"p{i}": a for i, a in enumerate(arrays)},
        )
    return Workspace(folder, vocabulary, train)
