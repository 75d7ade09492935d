"""Flower clients that know nothing of fedflux: softmax regression, twice."""

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedflux.flower import share

app = ClientApp()
torch_app = ClientApp()


def loaded(context: Context) -> tuple[np.ndarray, np.ndarray]:
    x, y = share(context)
    return x.reshape(len(x), -1).astype(np.float32) / 255, y


def reply(message: Message, arrays: ArrayRecord, samples: int) -> Message:
    metrics = MetricRecord({"num-examples": samples})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Take full-batch steps of softmax regression."""
    x, y = loaded(context)
    record = message.content["arrays"]
    w, b = (record[name].numpy().copy() for name in record)
    for _ in range(5):
        z = x @ w + b
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(len(y)), y] -= 1
        w -= message.content["config"]["lr"] * (x.T @ p) / len(y)
        b -= message.content["config"]["lr"] * p.mean(axis=0)
    return reply(message, ArrayRecord([w, b]), len(y))


@torch_app.train()
def torch_train(message: Message, context: Context) -> Message:
    """Train with PyTorch's own layer and optimizer."""
    import torch

    x, y = loaded(context)
    record = message.content["arrays"]
    w, b = (torch.from_numpy(record[name].numpy().copy()) for name in record)
    layer = torch.nn.Linear(*w.shape)
    layer.load_state_dict({"weight": w.T, "bias": b})
    optimizer = torch.optim.SGD(layer.parameters(), lr=message.content["config"]["lr"])
    for _ in range(5):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            layer(torch.from_numpy(x)), torch.from_numpy(y)
        )
        loss.backward()
        optimizer.step()
    trained = [layer.weight.detach().numpy().T, layer.bias.detach().numpy()]
    return reply(message, ArrayRecord([np.ascontiguousarray(a) for a in trained]), len(y))
