"""A character model of a play, whose speaking roles are the clients.

Usage: `python examples/shakespeare.py PLAY`, with a text whose speeches begin with `Name:`
on a line of its own after an empty line.
"""

import sys
from typing import Any

import fedflux


def main(play: str) -> fedflux.Result:
    """Train for 20 rounds; print test loss (nats per character) and accuracy every five."""

    def show(record: dict[str, Any]) -> None:
        if record["accuracy"] is not None:
            print(
                f"round {record['round']:2}: loss {record['test_loss']:.4f}, "
                f"accuracy {record['accuracy']:.4f}",
                flush=True,
            )

    result = fedflux.run(
        dataset=f"shakespeare:{play}",
        partition="owner",
        min_characters=2000,
        model="lstm",
        hidden=[64],
        clients_per_round=10,
        rounds=20,
        batch_size=10,
        optimizer="adam",
        lr=0.01,
        eval_every=5,
        callback=show,
    )
    print(result)
    return result


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/shakespeare.py PLAY")
    main(sys.argv[1])
