"""A rule of the user's own: hooks on both sides of the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._options.hints import suggestion
from .._typing import Array
from ..errors import OptionError, shown
from .checks import check_arguments, named, read_only, vector
from .context import Context, context
from .states import State, checked, copied, fixed

HOOKS: Mapping[str, tuple[str, ...]] = {
    "client": ("update", "state", "ctx"),
    "server": ("mean", "state", "ctx"),
    "receive": ("params", "ctx"),
    "correct": ("gradient", "params", "state", "ctx"),
}
CLIENT_HOOKS = ("client", "receive", "correct")
Floats = NDArray[np.float32]


class Rule:
    """One idea of federated learning, as hooks. A subclass defines those that it needs.

    The others change nothing. Give the rule to `fedflux.run(rules=[MyRule()])`, alone or
    beside rules that have names. Rules of your own come before compression, pruning and
    privacy, in the order in which you give them.

    Each side has a state, a dict of arrays, which is empty at first. Change it in place:
    what a hook leaves in it is there in the next round, and a run that resumes has it too.
    `correct` may only read it. An object of this class keeps nothing else: its attributes
    are settings.

    Attributes:
        name: what results and messages call it; the name of the class by default.
        sends: names of further vectors, as long as the parameters, that each client sends
            beside its update. They are averaged as updates are. See `Context.sent`.

    Example:
        >>> class Prox(Rule):  # FedProx: arXiv:1812.06127
        ...     def correct(self, gradient, params, state, ctx):
        ...         return gradient + 0.01 * (params - ctx.params)
        >>> result = fedflux.run(rules=[Prox()])  # doctest: +SKIP
    """

    name: str = ""
    sends: Sequence[str] = ()

    def client(self, update: Floats, state: State, ctx: Context) -> Any:
        """Change what a client sends, once a round.

        Args:
            update: float32 of shape (parameters,), read-only: what training changed. The
                arrays of the model follow each other, see `Context.layers`; within an
                array, the order is that of the engine.
            state: of this client.
            ctx: see `Context`.

        Returns:
            The update to send, finite numbers of the same shape.
        """
        raise NotImplementedError

    def server(self, mean: Floats, state: State, ctx: Context) -> Any:
        """Change the aggregate of the updates, once a round.

        Args:
            mean: float32 of shape (parameters,), read-only.
            state: of the server.
            ctx: see `Context`.

        Returns:
            The aggregate, finite numbers of the same shape.
        """
        raise NotImplementedError

    def receive(self, params: Floats, ctx: Context) -> Any:
        """Change the model that a client received, before it trains.

        Args:
            params: float32 of shape (parameters,), read-only.
            ctx: see `Context`.

        Returns:
            The parameters that the client starts from, of the same shape.
        """
        raise NotImplementedError

    def correct(
        self, gradient: Floats, params: Floats, state: Mapping[str, Array], ctx: Context
    ) -> Any:
        """Change the gradient of a local step. It is called once a step, which is slow.

        Args:
            gradient: float32 of shape (parameters,), read-only.
            params: the client's parameters, of the same shape, read-only.
            state: of this client, read-only.
            ctx: see `Context`.

        Returns:
            The gradient for the optimizer, finite numbers of the same shape.
        """
        raise NotImplementedError

    def _title(self) -> str:
        return self.name or type(self).__name__

    def _hooks(self) -> list[str]:
        return [h for h in HOOKS if getattr(type(self), h) is not getattr(Rule, h)]


def rule(value: Rule) -> Rule:
    """Check a rule of the user's, and return it.

    Raises:
        OptionError: it has no hook, one with other arguments, or a method whose name is
            almost a hook's.

    Example:
        >>> class Half(Rule):
        ...     def server(self, mean, state, ctx):
        ...         return mean / 2
        >>> rule(Half())._title()
        'Half'
    """
    if not isinstance(value.name, str):
        raise OptionError(f"rule: expected a text as name, got {shown(value.name)}")
    title, hooks = f"rule {value._title()}", value._hooks()
    for name, member in vars(type(value)).items():
        if callable(member) and not name.startswith("_") and name not in HOOKS:
            near = suggestion(name, HOOKS)
            if near:
                raise OptionError(
                    f"{title}: expected the hooks {', '.join(HOOKS)}, got a method "
                    f"{name!r}{near}"
                )
    if not hooks:
        raise OptionError(
            f"{title}: expected one of the hooks {', '.join(HOOKS)}, got none"
        )
    for hook in hooks:
        check_arguments(getattr(value, hook), HOOKS[hook], f"{title}, {hook}")
    sends = value.sends
    texts = not isinstance(sends, str) and all(
        isinstance(s, str) and s.isidentifier() for s in sends
    )
    if not texts or len(set(sends)) < len(sends):
        raise OptionError(
            f"{title}: expected different names as sends, such as ('drift',), got "
            f"{shown(sends)}"
        )
    if sends and "client" not in hooks:
        raise OptionError(
            f"{title}: sends has names, and there is no hook client to send them"
        )
    return value


class RuleCalls:
    """Calls the hooks of a rule, and checks what they give.

    Args:
        own: the rule, checked.
    """

    def __init__(self, own: Rule) -> None:
        self.own = own
        self.layers: dict[str, slice] = {}

    def prepare(self, names: Sequence[str], ends: Sequence[int]) -> None:
        """Take note of where the arrays of the model end in a vector of parameters."""
        starts = [0, *ends[:-1]]
        self.layers = {n: slice(a, b) for n, a, b in zip(names, starts, ends, strict=True)}

    def call(
        self,
        hook: str,
        vectors: Sequence[Floats],
        state: State,
        server: State,
        sent: Sequence[Floats],
        facts: Sequence[Any],
        params: Floats,
    ) -> tuple[Floats, State]:
        """Call a hook.

        Args:
            hook: its name.
            vectors: its first arguments.
            state: of its side; `receive` has none.
            server: the state of the server.
            sent: the averages of the vectors that `sends` names, on the server; on a
                client, where to write these vectors.
            facts: the fields of `Context`, up to the seed.
            params: the global parameters.

        Returns:
            The vector that it gives, and its state afterwards.

        Raises:
            OptionError: it gives no vector of finite numbers, or no state.
        """
        own, sends = self.own, self.own.sends
        given = {n: read_only(v) for n, v in zip(sends, sent, strict=False)}
        ctx = context(
            facts,
            params=read_only(params),
            server=fixed(server),
            sent=given if hook == "server" else {},
            layers=self.layers,
        )
        where = f"rule {own._title()}, {hook} in round {ctx.round}"
        where += f", client {ctx.client}" * (hook != "server")
        kept = state
        with named(where):
            more: list[Any] = [read_only(v) for v in vectors]
            if hook == "correct":
                more.append(fixed(state))
            elif hook != "receive":
                kept = copied(state)
                more.append(kept)
            answer = getattr(own, hook)(*more, ctx)
        n = len(vectors[0])
        if hook == "client":
            self._send(sent, ctx.sent, where)
        return vector(answer, n, where), checked(kept, where)

    def _send(self, sent: Sequence[Floats], given: Mapping[str, Any], where: str) -> None:
        sends = list(self.own.sends)
        if set(given) != set(sends):
            raise OptionError(
                f"{where}: expected {', '.join(sends) or 'nothing'} in ctx.sent, as sends "
                f"says, got {', '.join(map(str, given)) or 'nothing'}"
            )
        for name, place in zip(sends, sent, strict=True):
            place[:] = vector(given[name], len(place), f"{where}, {name}")
