"""Random images with two channels and five classes, and the same data as rows."""

import numpy as np

RNG = np.random.default_rng(3)
IMAGES = {
    "x_train": RNG.integers(256, size=(90, 2, 15, 13), dtype=np.uint8),
    "y_train": np.arange(90) % 5,
    "x_test": RNG.integers(256, size=(40, 2, 15, 13), dtype=np.uint8),
    "y_test": np.arange(40) % 5,
}
ROWS = {
    name: a.reshape(len(a), -1)[:, :37].astype(np.float32) / 255 if a.ndim > 1 else a
    for name, a in IMAGES.items()
}
