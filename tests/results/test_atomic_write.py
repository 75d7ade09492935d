"""Files that are whole, also after a power cut."""

import os
import stat
from pathlib import Path

import pytest

from fedflux._results.atomic_write import write_whole


@pytest.mark.skipif(os.name == "nt", reason="Windows can't force a folder to the disk")
def test_the_file_is_on_the_disk_and_then_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "run.json", []
    fsync = os.fsync

    def spy(descriptor: int) -> None:
        mode = os.fstat(descriptor).st_mode
        synced.append((stat.S_ISDIR(mode), path.exists() and path.read_bytes()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    write_whole(path, b"new")
    assert synced == [(False, False), (True, b"new")]
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]
