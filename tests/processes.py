"""What Linux says of the processes that a test has started."""

from __future__ import annotations

from pathlib import Path


def all_pids() -> list[int]:
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]


def command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    except OSError:
        return []


def children(pid: int) -> list[int]:
    return [p for p in all_pids() if parent(p) == pid]


def descendants(pid: int) -> list[int]:
    """The children, their children, and so on; not what lost its parent."""
    own = children(pid)
    return own + [deeper for child in own for deeper in descendants(child)]


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def memory(pid: int, field: str = "VmRSS") -> int:
    """The resident bytes of a process or, as VmHWM, the most that it ever had; 0 if it has
    ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    found = [line.split() for line in lines if line.startswith(f"{field}:")]
    return int(found[0][1]) * 1024 if found else 0
