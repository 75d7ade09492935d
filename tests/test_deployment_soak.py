"""1,000 messages in one run, in Flower's own simulation: FEDFLUX_SOAK=1, and Ray."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest

from .federation import Federation
from .test_deployment import ROGUE, SMALL

pytest.importorskip("flwr", reason="Flower is not installed: fedflux[flower]")
pytestmark = [
    pytest.mark.deployment,
    pytest.mark.skipif("FEDFLUX_SOAK" not in os.environ, reason="set FEDFLUX_SOAK=1"),
]


def resident(pid: int) -> int:
    """The memory of a process that is in use, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])


def workers(folder: Path) -> list[int]:
    """The workers whose sockets lie in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
            environment = (path.parent / "environ").read_bytes()
        except OSError:
            continue
        if b"fedflux.flower.worker" in words and str(folder).encode() in environment:
            found.append(int(path.parent.name))
    return found


def test_a_thousand_messages(julia: None, tmp_path: Path, test_data: Path) -> None:
    """100 SuperNodes, 10 rounds: memory stays flat, and no round loses a client."""
    pytest.importorskip("ray")
    federation = Federation(tmp_path, nodes=0)
    (tmp_path / "home").mkdir()
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "home" / "config.toml").write_text(
        '[superlink]\ndefault = "local"\n[superlink.local]\n'
        f'address = "127.0.0.1:{federation.port}"\ninsecure = true\n'
    )
    command = ("flower-superlink", "--port", str(federation.port), "--insecure")
    federation._start(
        "link", *command, "--simulation", "--disable-runtime-dependency-installation"
    )
    try:
        federation.wait_for_link()
        options = SMALL | {"clients": 100, "rounds": 10, "timeout": 600, "wait": 600}
        nodes = "num-supernodes=100 client-resources-num-cpus=1"
        dataset = str(test_data / "mnist" / "mnist10k.npz")
        run = federation.run(
            ROGUE, dataset=dataset, **options, extra=("--federation-config", nodes)
        )
        memory = []
        began = time.monotonic()
        while not run.file.exists():
            assert time.monotonic() - began < 1500, run.log()
            memory.append(sum(map(resident, workers(tmp_path))) / 1024)
            time.sleep(5)
        history = json.loads(run.file.read_text())["history"]
    finally:
        federation.kill("link")
    print(f"{time.monotonic() - began:.0f} s; workers' memory in MiB: {memory}")
    assert [record["clients"] for record in history] == [100] * 10
    assert memory[-2] < 1.1 * memory[len(memory) // 2]
