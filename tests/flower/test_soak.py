"""Long tests of a deployment, with --soak: a thousand messages, and a reply of 2 GB."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..federation import Federation
from ..processes import command, descendants, memory, parent

pytest.importorskip("flwr", reason="Flower is not installed: fedflux[flower]")
pytestmark = [pytest.mark.deployment, pytest.mark.soak]

ROGUE = Path(__file__).parent / "rogue"
NODES, ROUNDS = 10, 100
MB = 2**20


class Simulation(Federation):
    """Flower's simulation runtime: a SuperLink that makes up its nodes, in one process of
    Ray."""

    more = (
        "--federation-config",
        f"num-supernodes={NODES} client-resources-num-cpus=1 init-args-num-cpus=1",
    )

    def __enter__(self) -> Simulation:
        self.make_home("insecure = true")
        self.env["RAY_USAGE_STATS_ENABLED"] = "0"
        self.start_link()
        return self

    def start_link(self) -> None:
        self._start(
            "link",
            *("flower-superlink", "--insecure", "--simulation"),
            *("--port", str(self.port), "--disable-runtime-dependency-installation"),
        )
        self.wait_for_link()

    def sizes(self) -> dict[str, int]:
        """The resident bytes of the processes that grow where something is never freed."""
        found = {}
        for pid in descendants(self.processes["link"].pid):
            words = " ".join(command(pid))
            if "flwr-simulation" in words:
                found["Flower and the ServerApp"] = memory(pid)
            elif "ClientAppActor" in words:
                found["the ClientApp"] = memory(pid)
            elif "fedflux.flower.worker" in words and "/bin/sh" not in words:
                node = "ClientAppActor" in " ".join(command(parent(pid)))
                side = "the nodes'" if node else "the server's"
                found[f"{side} worker"] = memory(pid)
        return found


@pytest.fixture
def measurable(_julia_problem: str | None) -> None:
    """Skip where there is no Julia, or no way to read memory."""
    if _julia_problem is not None:
        pytest.skip(_julia_problem)
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is read from Linux's /proc, and only there it is bounded")


@pytest.fixture
def simulation(measurable: None, tmp_path: Path) -> Iterator[Simulation]:
    pytest.importorskip("ray", reason="Ray is not installed: flwr[simulation]")
    with Simulation(tmp_path, nodes=0) as started:
        yield started


def test_a_thousand_messages_lose_no_round_and_no_memory(
    simulation: Simulation, tmp_path: Path
) -> None:
    began, seen = time.monotonic(), defaultdict[int, list[dict[str, int]]](list)
    folder = tmp_path / "checkpoints"
    run = simulation.run(
        ROGUE,
        dataset="digits",
        model="softmax_regression",
        clients=NODES,
        rounds=ROUNDS,
        local_steps=5,
        seed=1,
        checkpoint=str(folder),
    )
    deadline = time.monotonic() + 3600
    while not run.file.exists() and time.monotonic() < deadline:
        rounds = [int(f.stem.removeprefix("round-")) for f in folder.glob("round-*.json")]
        seen[max(rounds, default=0)].append(simulation.sizes())
        time.sleep(1)
    facts = run.facts()
    took = time.monotonic() - began

    history = facts["history"]
    assert len(history) == ROUNDS
    for record in history:
        assert record["clients"] == NODES
        assert record["dropped"] == record["rejected"] == []
        assert record["skipped"] is None
    assert facts["accuracy"] > 0.8
    print(f"{NODES * ROUNDS} messages to train in {took:.0f} s")
    early, late = (
        [sizes for n in rounds for sizes in seen[n]]
        for rounds in (range(15, 26), range(ROUNDS - 10, ROUNDS))
    )
    names = set.intersection(*map(set, early + late))
    assert len(names) == 4, names
    for name in sorted(names):
        was, now = (statistics.median(s[name] for s in sizes) for sizes in (early, late))
        print(f"{name}: {was / MB:.0f} MB early, {now / MB:.0f} MB late")
        assert now < was + 30 * MB, name


@pytest.fixture
def federation(measurable: None, tmp_path: Path) -> Iterator[Federation]:
    with Federation(tmp_path, nodes=3) as started:
        yield started


def test_a_reply_of_2_gb_is_rejected_and_the_run_goes_on(federation: Federation) -> None:
    began, most = time.monotonic(), dict[str, int]()
    run = federation.run(
        ROGUE,
        {"rogue": "huge"},
        dataset="digits",
        model="softmax_regression",
        clients=3,
        rounds=2,
        local_steps=5,
        seed=1,
        timeout=1200,
    )
    while not run.file.exists() and time.monotonic() - began < 1500:
        for name, process in federation.processes.items():
            for pid in (process.pid, *descendants(process.pid)):
                words = " ".join(command(pid))
                app = "flwr-serverapp" in words or "flwr-clientapp" in words
                label = "ServerApp" if "flwr-serverapp" in words else f"{name}'s ClientApp"
                if app or pid == process.pid:
                    key = label if app else name
                    most[key] = max(most.get(key, 0), memory(pid, "VmHWM"))
        time.sleep(0.2)
    facts = run.facts()
    for name, peak in most.items():
        print(f"{name}: {peak / MB:.0f} MB at most")
    history = facts["history"]
    print(f"{time.monotonic() - began:.0f} s: {history[0]['rejected']}")
    assert [who["client"] for who in history[0]["rejected"]] == [3]
    assert "too large" in history[0]["rejected"][0]["reason"]
    assert [record["clients"] for record in history] == [2, 3]
    assert history[1]["rejected"] == history[1]["dropped"] == []
    assert 0 < most["ServerApp"] < 1000 * MB  # 512 MB beside what it had, and no 2 GB
