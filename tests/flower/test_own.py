"""Functions and rules of an app's own module, in the services of its workers."""

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flwr", reason="Flower is not installed: fedflux[flower]")

import fedflux
from fedflux.flower import options as settings, server_app
from fedflux.flower.worker.client import Training
from fedflux.flower.worker.connection import Doing, Launch, connect
from fedflux.flower.worker.data import checked_test_data
from fedflux.flower.worker.own import names_of, provided
from fedflux.flower.worker.server import Serving

from . import own_of_an_app as app

OPTIONS: dict[str, Any] = {
    "dataset": "digits",
    "model": "softmax_regression",
    "clients": 3,
    "rounds": 3,
    "lr": 0.3,
}


def reference(function: Any) -> str:
    return "" if function is None else f"{app.__name__}:{function.__name__}"


def deployed(
    folder: Path, server: Any, client: Any = None, **options: Any
) -> dict[str, Any]:
    """A run in the services of the workers, without the processes between them."""
    given, mine = OPTIONS | options, reference(server)
    config = settings.run_options(given, names_of(provided(mine)))
    theirs = settings.run_options({n: v for n, v in given.items() if n != "monitor"})
    serving = Serving(mine)
    doing = Doing(folder / "doing")
    training = Training(reference(app.load), doing, reference(client))

    def ask(k: int, **more: Any) -> dict[str, Any]:
        context = app.context_of(k, OPTIONS)
        return {"client": k, "options": theirs, "context": context, **more}

    told = [training.answer(ask(k, op="open"), [], [])[0] for k in (1, 2, 3)]
    facts = [fact | {"client": k} for k, fact in enumerate(told, 1)]
    data = checked_test_data(lambda _: app.load_test_data(OPTIONS), None, config)
    assert data is not None
    kinds, parts = data
    opening = {"op": "open", "options": config, "facts": facts, "data": kinds}
    serving.answer(opening, parts, [])
    kept = [b""] * 3
    while True:
        said, bodies, model = serving.answer({"op": "next"}, [], [])
        if said["done"] is not None:
            return serving.answer({"op": "result"}, [], [])[0]
        for k, body in zip(said["clients"], bodies, strict=True):
            request = {"stock": False, "round": said["round"], "client": k}
            _, (reply, kept[k - 1]), _ = training.answer(
                ask(k, op="answer", request=request), [body, kept[k - 1]], model
            )
            header = {"op": "receive", "client": k, "encoded": True, "samples": 0}
            assert serving.answer(header, [reply], [])[0] == {"accepted": True}


@pytest.mark.parametrize("where", ["on_the_server", "on_both"])
def test_a_deployment_gives_the_parameters_of_a_simulation(
    julia: None, tmp_path: Path, where: str
) -> None:
    """Beside a rule that has a name, which both sides have as an option."""
    own, server = getattr(app, where), where == "on_the_server"
    more: dict[str, Any] = {"monitor": "right"} if server else {}
    named = ["topk(fraction=0.5)"]
    facts = deployed(tmp_path, own, None if server else own, rules=named, **more)
    objects = own()
    rules = objects.pop("rules")
    chain = [*(rules if isinstance(rules, list) else [rules]), *named]
    simulated = fedflux.run(**OPTIONS, **objects, rules=chain, **more)
    assert facts["params_sha256"] == simulated.params_sha256
    plain = fedflux.run(**OPTIONS, rules=named)
    assert plain.params_sha256 != simulated.params_sha256
    for ours, theirs in zip(facts["history"], simulated.history, strict=True):
        assert ours.get("metrics") == theirs.get("metrics")
        assert ours["cohort"] == theirs["cohort"]
    if server:
        assert facts["objects"]["aggregate"] == "middle"
        assert facts["history"][2]["metrics"]["right"] == facts["history"][2]["accuracy"]


def test_what_is_refused(julia: None, tmp_path: Path) -> None:
    with pytest.raises(fedflux.FedFluxError, match=r'\[\] here, and \["Drift"\] on t'):
        deployed(tmp_path, app.on_both)
    with pytest.raises(ZeroDivisionError) as caught:
        deployed(tmp_path, app.fails)
    assert "metric right, round 1" in caught.value.__notes__[0]
    with pytest.raises(fedflux.OptionError, match="aggregate: own gives it, and the op"):
        deployed(tmp_path, app.on_the_server, aggregate="median")
    with pytest.raises(fedflux.OptionError, match="expected functions and objects for a"):
        server_app(own=app.no_option)
    with pytest.raises(fedflux.OptionError, match="own: expected a function at the top o"):
        server_app(own=lambda: {})


@pytest.mark.skipif(os.name != "posix", reason="workers need Linux or macOS")
def test_the_workers_import_the_function() -> None:
    """In processes of their own, which need no Julia to refuse what it gives."""
    options, mine = settings.run_options(OPTIONS), reference(app.no_option)
    opening = {"op": "open", "options": options, "facts": [], "data": None}
    opening |= {"client": 1, "context": app.context_of(1, OPTIONS)}
    launches = (
        Launch("server", "", os.getpid(), 60.0, "own", mine),
        Launch("client", reference(app.load), os.getpid(), 60.0, own=mine),
    )
    for launch in launches:
        with (
            connect(launch) as core,
            pytest.raises(fedflux.FedFluxError, match="own: expected functions and obj"),
        ):
            core.ask(opening)
