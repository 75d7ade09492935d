"""A client that trains with the reference engine, if Julia can't be had."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._data import contract
from ..._data.arrays import Data
from ..._reference import training as ref
from ..._reference.losses import outputs_and_classes
from ..._reference.models import Model
from ..._typing import Floats
from ...errors import DataError, OptionError
from .frames import Answer


class ReferenceClient:
    """A client with its data. Its replies are trained models, as a plain Flower client's.

    Args:
        options: every option, which the reference engine supports.
        data: the client's own.
    """

    def __init__(self, options: dict[str, Any], data: Data) -> None:
        self._options, self._y = options, data.y_train
        x = contract.scaled(options, data.x_train)
        self._x = x[:, None] if x.ndim == 3 else x
        self._sample = data.x_train.shape[1:]
        outputs, _ = outputs_and_classes(options["loss"], data)
        self._outputs = outputs
        self.facts: dict[str, Any] = {
            "engine": "reference",
            "samples": len(self._y),
            "input": list(self._x.shape[:0:-1]),  # in Julia's order
            "target": list(self._y.shape[:0:-1]),
            "outputs": outputs,
        }

    def answer(
        self, request: dict[str, Any], body: bytes, private: bytes, arrays: list[Floats]
    ) -> Answer:
        """Train from the global model; see `training.Client`."""
        model = self._model(arrays)
        trained, loss, seen = ref.train_client(
            model,
            [np.array(a) for a in arrays],
            self._x,
            self._y,
            np.arange(len(self._y)),
            self._options,
            request["round"],
            request["client"],
        )
        said = {"samples": len(self._y), "loss": loss / seen, "stage": "train"}
        return said, [b"", private], trained

    def _model(self, arrays: list[Floats]) -> Model:
        """Make the model, with as many outputs as the server's has."""
        if not arrays:
            raise OptionError(
                "the server sent no model in the clear; this node needs Julia"
            )
        options = self._options
        outputs = arrays[-1].shape[-1] if arrays[-1].ndim else 0
        if outputs < self._outputs:
            raise DataError(
                f"the server's model has {outputs} outputs, and the data {self._outputs}"
            )
        model = Model(options["model"], self._sample, outputs, options["hidden"])
        expected, got = list(model.shapes.values()), [a.shape for a in arrays]
        if expected != got:
            raise DataError(
                f"the server's model has arrays of shapes {got}; expected {expected} for "
                f"{options['model']}"
            )
        return model
