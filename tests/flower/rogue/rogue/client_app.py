"""A fedflux client; as node 2, what the run config says: hostile, or plain Flower."""

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedflux.flower import client_app, share

from .plain import app as plain, torch_app


def load_data(context: Context):
    return share(context)


honest = client_app(load_data)
FRAME = 29 + 16 + 5  # bytes before the first value of an update
HUGE = 2 * 10**9  # bytes


class Malformed(ConfigRecord):
    """A record of which Flower can make nothing at the other end."""

    def deflate(self) -> bytes:
        head, _ = super().deflate().split(b"\x00", 1)
        kind, children, _ = head.split(b" ")
        return b" ".join([kind, children, b"3"]) + b"\x00" + b"\xff" * 3


Malformed.__qualname__ = "ConfigRecord"


class Rogue(ClientApp):
    """Behaves as the run config says."""

    def __call__(self, message: Message, context: Context) -> Message:
        role = context.run_config["rogue"]
        if context.node_config["partition-id"] != 2 or not role:
            return honest(message, context)
        if role == "numpy":
            return plain(message, context)
        if role == "torch":
            return torch_app(message, context)
        return hostile(message, context)


def hostile(message: Message, context: Context) -> Message:
    """Answer each round with another fault."""
    reply = honest(message, context)
    if message.metadata.message_type != "train":
        return reply
    number = message.content["fedflux"]["round"]
    body = reply.content["fedflux"]["body"]
    if context.run_config["rogue"] == "huge":
        # of different chunks, as Flower sends equal ones once; bytes would take it minutes
        arrays = ArrayRecord([np.arange(HUGE // 4, dtype=np.float32)])
        content = RecordDict(
            {"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}
        )
        return Message(content, reply_to=message) if number == 1 else reply
    kept = context.state.setdefault("rogue", ConfigRecord({"first": body}))
    if number == 1:
        forged = body[:FRAME] + b"\x00\x00\xc0\x7f" + body[FRAME + 4 :]  # NaN
    elif number == 2:
        forged = body[:-4]
    elif number == 3:
        forged = kept["first"]
    elif number == 4:
        forged = bytes(20_000_000)
    elif number == 5:
        shorter = {name: a.numpy()[:-1] for name, a in message.content["arrays"].items()}
        arrays = ArrayRecord.from_numpy_ndarrays(list(shorter.values()))
        metrics = MetricRecord({"num-examples": 10})
        content = RecordDict({"arrays": arrays, "metrics": metrics})
        return Message(content, reply_to=message)
    elif number == 6:
        return Message(RecordDict({"fedflux": Malformed({})}), reply_to=message)
    else:
        forged = body
    record = ConfigRecord({"version": 1, "body": forged})
    return Message(RecordDict({"fedflux": record}), reply_to=message)


app = Rogue()
