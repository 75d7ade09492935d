"""How the harness talks to a contender: a JSON object a line; answers are marked, as
libraries print lines too.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

MARK = "@bench "
Json = dict[str, Any]


def reply(answer: Json) -> None:
    sys.stdout.write(MARK + json.dumps(answer) + "\n")
    sys.stdout.flush()


def serve(handlers: dict[str, Callable[[Json], Json]], versions: dict[str, str]) -> None:
    """Say that this contender is ready, then answer requests until the harness closes the
    line.
    """
    reply({"versions": versions, "cores": cores()})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply(handlers[request["do"]](request))
        except Exception as error:  # the harness reports it in this contender's row
            text = str(error).strip().splitlines()
            reply({"error": f"{type(error).__name__}: {text[0] if text else ''}"})


def cores() -> int:
    """The number of cores this process may use; the harness sets them before it starts the
    process.
    """
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Inputs:
    """The arrays that a request names."""

    x: np.ndarray
    y: np.ndarray
    xtest: np.ndarray
    ytest: np.ndarray
    split: np.ndarray
    init: list[np.ndarray]


def inputs(request: Json) -> Inputs:
    with np.load(request["data"]) as data, np.load(request["init"]) as init:
        params = [init[f"p{i}"] for i in range(len(init.files))]
        return Inputs(
            data["x_train"],
            data["y_train"],
            data["x_test"],
            data["y_test"],
            np.load(request["split"]),
            params,
        )
