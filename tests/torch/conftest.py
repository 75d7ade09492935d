"""Modules as people write them; all tests of this folder need PyTorch."""

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: fedflux[torch]")
