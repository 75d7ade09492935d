"""The options of a deployed run: those in the code, and those of Flower's run config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from .._options.hints import suggestion
from .._options.options import check, column, declared, settled
from ..errors import OptionError
from ..tracking import Prometheus
from ..tracking._tracks import Plan, chosen

PREFIX = "fedflux."


@dataclass(frozen=True)
class Server:
    """What a deployed server does beside the run.

    Attributes:
        save: the safetensors file of the result, or None.
        json: the JSON file of the facts and the history, or None.
        timeout: seconds that a client has for the answer to a message.
        wait: seconds that the run waits for its clients at the start.
        plain_samples: how many samples a plain Flower client counts for; None if there are
            no such clients, or all count the same.
        max_samples: the most samples that a client may say it has, since it counts for as
            many with weights="samples", or None for a thousand million.
        track: where else each round is noted, as in `fedflux.run`; names with commas.
        metrics_port: the port on which Prometheus finds the figures of the run, or None.
        metrics_host: the address of that port, which others reach if it isn't the default.
    """

    save: str | None = None
    json: str | None = None
    timeout: float = 3600.0
    wait: float = 600.0
    plain_samples: int | None = None
    max_samples: int | None = None
    track: Any = None
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        for name in ("save", "json"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise OptionError(f"{name}: expected the path of a file, got {value!r}")
        for name in ("timeout", "wait"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 < value < 1e9:
                raise OptionError(f"{name}: expected seconds above 0, got {value!r}")
        for name in ("plain_samples", "max_samples"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise OptionError(f"{name}: expected a number above 0, got {value!r}")
        self.plan()  # what is wrong with it is said now

    def plan(self) -> Plan:
        """Return how the run is tracked."""
        trackers = chosen(self.track)
        if self.metrics_port is not None:
            trackers.append(Prometheus(self.metrics_port, self.metrics_host))
        return Plan(trackers)


SERVER = tuple(field.name for field in fields(Server))


def split(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Separate the options of a run from the server's settings.

    Example:
        >>> split({"lr": 0.1, "timeout": 60})
        ({'lr': 0.1}, {'timeout': 60})
    """
    run = {name: value for name, value in given.items() if name not in SERVER}
    return run, {name: value for name, value in given.items() if name in SERVER}


def gather(given: Mapping[str, Any], run_config: Mapping[str, Any]) -> dict[str, Any]:
    """Combine the options in the code with those of Flower's run config, which win.

    Args:
        given: the options that `server_app` got.
        run_config: Flower's run config. Its entries `fedflux.NAME` are options; a list is
            a text with commas, and an empty text says nothing. The others are the user's
            own.

    Returns:
        The options, not checked.

    Raises:
        OptionError: an unknown option, or a value of a wrong type.

    Example:
        >>> gather({"lr": 0.1}, {"fedflux.lr": 0.2, "fedflux.hidden": "20,10", "x": 1})
        {'lr': 0.2, 'hidden': [20, 10]}
    """
    return dict(given) | _entries(run_config, "run config")


def agreed(
    given: Mapping[str, Any], node_config: Mapping[str, Any], run_config: Mapping[str, Any]
) -> dict[str, Any]:
    """Combine the options of a node with those of the run: what the node pins holds.

    Args:
        given: the options that `client_app` got.
        node_config: what the node was started with. Its entries `fedflux.NAME` are
            options, as those of the run config.
        run_config: Flower's run config; see `gather`.

    Returns:
        The options, not checked.

    Raises:
        OptionError: an unknown option, a value of a wrong type, or one that the node pins
            and the run, or the code, has otherwise.

    Example:
        >>> agreed({}, {"fedflux.rules": "local_dp"}, {"fedflux.rules": ""})
        {'rules': ['local_dp']}
    """
    own, asked = _entries(node_config, "node config"), _entries(run_config, "run config")
    for mine, pins, theirs, asks in (
        (own, "the node config of this node", given, "the code"),
        (dict(given) | own, "this node", asked, "the run"),
    ):
        for name in sorted(mine.keys() & theirs.keys() - set(SERVER)):
            pinned, value = (check({name: one[name]})[name] for one in (mine, theirs))
            if pinned != value:
                raise OptionError(
                    f"{name}: {pins} pins {pinned!r}, and {asks} asks for {value!r}"
                )
    return dict(given) | own | asked


def _entries(config: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Read the options in a config of Flower's."""
    options = {}
    for key, value in config.items():
        if not key.startswith(PREFIX) or value == "":
            continue
        name = key.removeprefix(PREFIX).replace("-", "_")
        if name not in declared() and name not in SERVER:
            hint = suggestion(name, [*declared(), *SERVER])
            raise OptionError(f"{what}: unknown option {key!r}{hint}")
        as_it_is = name in SERVER or not isinstance(value, str)
        options[name] = value if as_it_is else declared()[name].parse(value)
    return options


def run_options(
    given: Mapping[str, Any], names: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """Check the options of a run, and that the run can be a deployed one.

    Args:
        given: the user's.
        names: of the objects of the user's own, by option.

    Returns:
        Every option.

    Raises:
        OptionError: see `fedflux.run`; or an option that only a simulation has.
    """
    options = check(given, names)
    for name, why in column("simulated").items():
        if options[name] != declared()[name].default:
            raise OptionError(f"option {name} can't be used in a deployment: {why}")
    return settled(options, "none")
