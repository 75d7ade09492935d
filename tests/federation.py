"""A SuperLink and SuperNodes on loopback, with TLS and authentication."""

from __future__ import annotations

import json
import os
import runpy
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .conftest import ROOT
from .proxy import CountingProxy

BIN = Path(sys.executable).parent
EXAMPLE = ROOT / "examples" / "deployment"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(
    true: Callable[[], Any], limit: float, what: str, say: Callable[[], str] = str
) -> Any:
    """Wait until a function returns something true, and return that."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        found = true()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {limit:g} s\n{say()}")


class Federation:
    """Processes of one federation: `nodes` SuperNodes, of which the first has a proxy."""

    more: tuple[str, ...] = ()  # of `flwr run`
    node_config = ""  # of every node, beside its number

    def __init__(self, folder: Path, nodes: int) -> None:
        self.folder, self.keys, self.nodes = folder, folder / "keys", nodes
        self.port, self.processes = free_port(), dict[str, subprocess.Popen[bytes]]()
        self.own = {
            "FLWR_HOME": str(folder / "home"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.3",
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "JULIA_NUM_THREADS": "1",
        }
        self.env = self.environment(os.environ)
        self.runs = 0
        self.stack = ExitStack()
        self.proxy: CountingProxy
        self.proxied = True

    def __enter__(self) -> Federation:
        make = runpy.run_path(str(EXAMPLE / "certificates.py"))["make"]
        make(self.keys, ["localhost", "127.0.0.1"], self.nodes + 1)
        self.make_home(f'root-certificates = "{self.keys / "ca.crt"}"')
        self.proxy = self.stack.enter_context(CountingProxy(self.port))
        self.start_link()
        for number in range(1, self.nodes + 1):
            public = self.keys / f"node-{number}.pub"
            self.flwr("supernode", "register", str(public), "local")
        for number in range(1, self.nodes + 1):
            self.start_node(number)
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.processes):
            self.kill(name)
        self.stack.close()

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """What a process of the federation gets, where these variables are set."""
        path = f"{BIN}{os.pathsep}{base['PATH']}"
        return {**base, **self.own, "PATH": path}

    def make_home(self, trust: str) -> None:
        """Tell `flwr` where the SuperLink is, and make the folder of the workers."""
        (self.folder / "home").mkdir()
        (self.folder / "run").mkdir(mode=0o700)
        (self.folder / "home" / "config.toml").write_text(
            '[superlink]\ndefault = "local"\n[superlink.local]\n'
            f'address = "127.0.0.1:{self.port}"\n{trust}\n'
        )

    def start_link(self) -> None:
        self._start(
            "link",
            *("flower-superlink", "--port", str(self.port), "--enable-supernode-auth"),
            *("--ssl-certfile", str(self.keys / "server.crt")),
            *("--ssl-keyfile", str(self.keys / "server.key")),
            *("--ssl-ca-certfile", str(self.keys / "ca.crt")),
            *("--database", str(self.folder / "link.db")),
            "--disable-runtime-dependency-installation",
        )
        self.wait_for_link()

    def wait_for_link(self) -> None:
        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        wait_until(listens, 60, "the SuperLink", self.log)

    def start_node(self, number: int, env: dict[str, str] | None = None) -> None:
        port = self.proxy.port if number == 1 and self.proxied else self.port
        key = self.keys / f"node-{number}.key"
        self._start(
            f"node-{number}",
            *("flower-supernode", "--superlink", f"127.0.0.1:{port}"),
            *("--root-certificates", str(self.keys / "ca.crt")),
            *("--auth-supernode-private-key", str(key), "--port", str(free_port())),
            *("--node-config", f"partition-id={number - 1} {self.node_config}"),
            env=env,
        )

    def restart_node(self, number: int, env: dict[str, str] | None = None) -> None:
        process = self.processes.pop(f"node-{number}")
        process.terminate()  # it signs off; the SuperLink refuses a key that is in use
        process.wait(60)
        self.start_node(number, env)

    def leave_proxy(self) -> None:
        """Connect node 1 as the others: a proxy without its SuperLink ends a SuperNode."""
        if not self.proxied:
            return
        self.proxied = False
        self.restart_node(1)
        time.sleep(5)
        assert self.processes["node-1"].poll() is None, self.log("node-1")

    def _start(self, name: str, *command: str, env: dict[str, str] | None = None) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                env=env or self.env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self, name: str) -> None:
        """End a process as a crash does: with SIGKILL, and nothing else."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def flwr(self, *command: str) -> str:
        done = subprocess.run(
            [str(BIN / "flwr"), *command],
            env=self.env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr + self.log()
        return done.stdout

    def run(
        self,
        app: Path,
        own: dict[str, Any] | None = None,
        **options: Any,
    ) -> Run:
        """Start a run of an app, with its own run config and these options of fedflux."""
        self.runs += 1
        file = self.folder / f"run-{self.runs}.json"
        options |= {"json": str(file)}
        entries = {f"fedflux.{name}": value for name, value in options.items()}
        values = (entries | (own or {})).items()
        config = " ".join(f"{name}={json.dumps(value)}" for name, value in values)
        command = ("run", str(app), "local", "-c", config, *self.more)
        answer = self.flwr(*command, "--format", "json")
        return Run(self, file, json.loads(answer)["run-id"])

    def log(self, name: str | None = None) -> str:
        """The logs of all processes, or of one."""
        files = sorted(self.folder.glob(f"{name or '*'}.log"))
        return "\n".join(f"== {f.name}\n{f.read_text(errors='replace')}" for f in files)


class Run:
    """A run that was started."""

    def __init__(self, federation: Federation, file: Path, number: str) -> None:
        self.federation, self.file, self.number = federation, file, number

    def status(self) -> str:
        listed = json.loads(self.federation.flwr("ls", "local", "--format", "json"))
        found = next(r for r in listed["runs"] if str(r["run-id"]) == self.number)
        status: str = found["status"]
        return status

    def log(self) -> str:
        """What its ServerApp said."""
        return self.federation.flwr("log", self.number, "local", "--show")

    def facts(self, limit: float = 1200) -> dict[str, Any]:
        """Wait for the result's facts."""
        looked = time.monotonic()

        def there() -> bool:
            nonlocal looked
            if time.monotonic() - looked > 60:
                looked = time.monotonic()
                status = self.status()
                assert "failed" not in status, f"{status}\n{self.log()}"
            return self.file.exists()

        wait_until(there, limit, f"run {self.number}", self.log)
        facts: dict[str, Any] = json.loads(self.file.read_text())
        return facts
