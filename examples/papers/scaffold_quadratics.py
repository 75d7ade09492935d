"""Two quadratic clients: FedAvg drifts with the difference of their gradients.

Karimireddy et al. (2020), arXiv:1910.06378, figure 3, which shows curves and no numbers.
Two clients with curvatures 1 and 0.1 have the gradients G and −G at the common optimum 0.
The figure here is how far the model is from the optimum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from published import Cell, Table, main

import fedflux

CURVATURES = (1.0, 0.1)


def clients(gradient: float) -> list[tuple[Any, Any]]:
    """Data on which the mean squared error of w·x + b is a quadratic in w, plus b²."""
    found = []
    for curvature, sign in zip(CURVATURES, (1, -1), strict=True):
        slope = np.sqrt(curvature / 2)
        x = np.array([[slope], [-slope]], np.float32)
        y = np.array([1, -1], np.float32) * sign * gradient / (2 * slope)
        found.append((x, y.astype(np.float32)))
    return found


def distance(result: fedflux.Result) -> float:
    """How far the weight is from the optimum."""
    return float(abs(result.parameters[next(iter(result.parameters))].item()))


TABLE = Table(
    name="scaffold_quadratics",
    unit="distance to the optimum",
    common={"model": "softmax_regression", "loss": "mse", "batch_size": 2, "lr": 0.1},
    published_rounds=None,
    cells=[
        Cell(
            f"{row}, K = {steps}",
            f"G = {gradient}",
            None,
            {"rules": rules, "local_epochs": steps, "clients": clients(gradient)},
        )
        for row, rules in (("FedAvg", []), ("SCAFFOLD", ["scaffold"]))
        for steps in (2, 10)
        for gradient in (1, 10, 100)
    ],
    measure=distance,
    digits=3,
)

if __name__ == "__main__":
    main(TABLE, rounds=200, dataset=None)
