"""Homomorphic encryption: the parties, what they refuse, and runs that aggregate by it."""

from __future__ import annotations

import json
import struct
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedflux
from fedflux.he import Client, Exchange, Parameters, Server, _messages
from fedflux.he._parameters import STANDARD_128

from ..conftest import Run

try:
    import tenseal
except ImportError:
    tenseal = None

needs_tenseal = pytest.mark.skipif(tenseal is None, reason="tenseal is not installed")

SMALL = Parameters(4096, (54, 55), 36)
DIGITS: dict[str, Any] = {
    "dataset": "digits",
    "model": "softmax_regression",
    "clients": 5,
    "partition": "dirichlet(alpha=0.3)",  # shares of very different sizes
    "rounds": 3,
    "lr": 0.3,
    "engine": "julia",
}


def difference(a: fedflux.Result, b: fedflux.Result) -> float:
    """The largest difference of two results' parameters."""
    pairs = ((a.parameters[name], b.parameters[name]) for name in a.parameters)
    return max(float(np.abs(x - y).max()) for x, y in pairs)


@needs_tenseal
@pytest.mark.parametrize(
    "parameters", [Parameters(), Parameters(8192, (60, 40, 60)), SMALL], ids=str
)
def test_the_mean_of_50000_parameters(parameters: Parameters) -> None:
    """Within 1e-6 of NumPy's mean; the figures are printed with pytest's -s."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(0, 0.05, (10, 50_000))
    client, server = Client(parameters), Server(parameters)
    others = [Client(parameters, client.key()) for _ in range(2)]
    clock = time.perf_counter
    begun = clock()
    messages = [others[i % 2].encrypt(v, 10) for i, v in enumerate(vectors)]
    encrypted = clock()
    total = server.add(messages)
    added = clock()
    mean = client.decrypt(total) / 10
    decrypted = clock()
    error = np.abs(mean - vectors.mean(0)).max()
    print(
        f"\nN {parameters.poly_modulus_degree} {parameters.coeff_mod_bit_sizes}: "
        f"{len(messages[0])} bytes a client, error {error:.1e}, ms a client: encrypt "
        f"{(encrypted - begun) * 100:.1f}, add {(added - encrypted) * 100:.1f}; decrypt "
        f"{(decrypted - added) * 1000:.1f}"
    )
    assert error < 1e-6
    assert (
        len(messages[0]) < len(vectors[0]) // parameters.slots * 1.2 * parameters.max_bytes
    )


@needs_tenseal
@pytest.mark.parametrize("parameters", [Parameters(), SMALL], ids=str)
def test_the_error_is_the_predicted_one(parameters: Parameters) -> None:
    client = Client(parameters)
    values = np.random.default_rng(1).normal(size=50_000)
    off = client.decrypt(client.encrypt(values)) - values
    assert np.std(off) == pytest.approx(parameters.error, rel=0.05)
    assert np.abs(off).max() < 6 * parameters.error


@needs_tenseal
def test_values_up_to_the_capacity_add_up() -> None:
    client, server = Client(SMALL), Server(SMALL)
    largest = SMALL.capacity / 4
    signs = np.sign(np.random.default_rng(0).normal(size=3000))
    total = client.decrypt(server.add(client.encrypt(largest * signs, 4) for _ in range(4)))
    assert np.abs(total - SMALL.capacity * signs).max() < 1e-6
    for value in (1.01 * largest, np.inf, np.nan):
        with pytest.raises(fedflux.FedFluxError, match="an update holds the value"):
            client.encrypt([0.0, value], 4)
    for shape in ((0,), (2, 2)):
        with pytest.raises(fedflux.FedFluxError, match="expected a vector"):
            client.encrypt(np.zeros(shape))


@needs_tenseal
def test_the_server_cannot_decrypt() -> None:
    client, server = Client(SMALL), Server(SMALL)
    total = server.add([client.encrypt([1.0, 2.0])])
    context = server._context
    assert not context.has_secret_key()
    assert not context.is_private()
    (vector,) = _messages.read(SMALL, tenseal, context, total).vectors
    with pytest.raises(ValueError, match="doesn't hold a secret_key"):
        vector.decrypt()
    # nor does a key of its own help: that of the context which the server began with
    stranger = Client(SMALL)
    with pytest.raises(fedflux.FedFluxError, match="encrypted with another key"):
        stranger.decrypt(total)
    (vector,) = _messages.read(SMALL, tenseal, stranger._context, total).vectors
    assert np.abs(np.array(vector.decrypt()) - [1.0, 2.0]).max() > 1000
    # and two encryptions of the same values have nothing in common
    assert client.encrypt([1.0, 2.0]) != client.encrypt([1.0, 2.0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ((8191, (60, 60), 40), "poly_modulus_degree is 8191; expected one of 1024, 2048"),
        (
            (4096, (60, 60), 40),
            "less than 128 bits of security: .* 120 bits .* at most 109",
        ),
        ((2048, (30, 30), 20), "less than 128 bits of security: .* 60 bits .* at most 54"),
        ((32768, (60,) * 15, 40), "900 bits in all, and at most 881"),
        ((8192, (60,), 40), "expected two or more numbers from 20 to 60"),
        ((8192, (19, 60), 15), "expected two or more numbers from 20 to 60"),
        ((8192, (61, 60), 40), "expected two or more numbers from 20 to 60"),
        ((8192, (40, 60), 39), "scale_bits is 39; expected 1 to 38"),
        ((8192, (40, 60), 0), "scale_bits is 0; expected 1 to 38"),
        ((4096, (40, 20, 40), 20), "too coarse: .* off by 0.00083.*use scale_bits 30"),
        ((8192, (60, 60), 30), "too coarse: .* use scale_bits 31 or more"),
    ],
)
def test_parameters_are_refused(changes: tuple[Any, ...], words: str) -> None:
    with pytest.raises(fedflux.OptionError, match=words):
        Parameters(*changes)
    assert Parameters(8192, (60, 60), 31).error < 1e-6 / 6


@needs_tenseal
@pytest.mark.parametrize("degree", [4096, 8192, 16384, 32768])
def test_the_table_of_security_is_seals(degree: int) -> None:
    """SEAL checks against the standard too: it takes the last number, not one more."""

    def context(bits: int) -> None:
        count = -(-bits // 60)
        sizes = [bits // count + (i < bits % count) for i in range(count)]
        tenseal.context(tenseal.SCHEME_TYPE.CKKS, degree, coeff_mod_bit_sizes=sizes)

    context(STANDARD_128[degree])
    with pytest.raises(ValueError, match="not set correctly"):
        context(STANDARD_128[degree] + 1)


@needs_tenseal
def test_coarse_parameters_are_as_coarse_as_the_refusal_says() -> None:
    """N = 4096 with [40, 20, 40], by TenSEAL alone: errors of about 1e-3."""
    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS,
        4096,
        coeff_mod_bit_sizes=[40, 20, 40],
        encryption_type=tenseal.ENCRYPTION_TYPE.SYMMETRIC,
    )
    context.global_scale = 2**20
    values = np.random.default_rng(0).normal(size=2048)
    off = np.array(tenseal.ckks_vector(context, values).decrypt()) - values
    assert 1e-4 < np.abs(off).max() < 9e-4


def with_content(change: Callable[[bytearray], Any]) -> Callable[[bytes], bytes]:
    """A message whose content is changed, with a right SHA-256."""

    def changed(message: bytes) -> bytes:
        content = bytearray(message[: -_messages.DIGEST])
        change(content)
        return _messages.with_digest(bytes(content))

    return changed


HEADER = _messages._HEADER.size


@needs_tenseal
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda m: b"", "has 0 bytes; it is cut off"),
        (lambda m: m[:-1], "its SHA-256 differs"),
        (lambda m: m[: len(m) // 2], "its SHA-256 differs"),
        (lambda m: m[:5000] + bytes([m[5000] ^ 1]) + m[5001:], "its SHA-256 differs"),
        (lambda m: m + bytes(10**6), "bytes, and at most 1.* are possible"),
        (lambda m: b"X" + m[1:], "another version of fedflux"),
        (with_content(lambda c: c.extend(b"more")), "longer than its ciphertexts"),
        (with_content(lambda c: c.__delitem__(slice(-70000, None))), "claims a ciphertext"),
        (with_content(lambda c: c.__delitem__(slice(-30, None))), "claims a ciphertext"),
        # counts of values: more than there are, none, more than can be
        (with_content(lambda c: struct.pack_into("<I", c, HEADER - 4, 5000)), "fewer ciph"),
        (
            with_content(lambda c: struct.pack_into("<I", c, HEADER - 4, 0)),
            "another version",
        ),
        (
            with_content(lambda c: struct.pack_into("<I", c, HEADER - 4, 2**32 - 1)),
            "another version",
        ),
        (with_content(lambda c: struct.pack_into("<I", c, HEADER, 2**31)), "claims a ciph"),
        # SEAL's own header, and its polynomials
        (with_content(lambda c: c.__setitem__(HEADER + 4, 0)), "can't be read"),
        (
            with_content(lambda c: c.__setitem__(slice(HEADER + 20, HEADER + 99), b"")),
            "can",
        ),
        (with_content(lambda c: c.__setitem__(slice(9000, 9090), bytes(90))), "can't be"),
    ],
)
def test_a_damaged_message_is_refused(damage: Callable[[bytes], bytes], words: str) -> None:
    client, server = Client(SMALL), Server(SMALL)
    good = client.encrypt(np.linspace(0, 1, 3000))
    bad = damage(good)
    with pytest.raises(fedflux.FedFluxError, match=words):
        server.add([good, bad])
    with pytest.raises(fedflux.FedFluxError, match=words):
        client.decrypt(bad)
    assert client.decrypt(server.add([good]))[-1] == pytest.approx(1, abs=1e-6)


@needs_tenseal
def test_random_damage_never_crashes() -> None:
    """Right SHA-256s, so that SEAL meets the bytes; whatever decrypts has its length."""
    client, server = Client(SMALL), Server(SMALL)
    good = client.encrypt(np.linspace(0, 1, 100))
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(300):
        content = bytearray(good[: -_messages.DIGEST])
        early = HEADER + 150 if trial % 2 else len(content)
        for at in rng.integers(HEADER, early, rng.integers(1, 5)):
            content[at] = rng.integers(256)
        bad = _messages.with_digest(bytes(content))
        for received in (lambda bad: bad, lambda bad: server.add([bad])):
            try:
                assert client.decrypt(received(bad)).shape == (100,)
            except fedflux.FedFluxError:
                refused += 1
    assert refused > 300


@needs_tenseal
def test_messages_that_do_not_belong_together_are_refused() -> None:
    client, server = Client(SMALL), Server(SMALL)
    first = client.encrypt(np.zeros(10))
    for other, words in (
        (client.encrypt(np.zeros(11)), "holds 11 values; expected 10"),
        (Client(SMALL).encrypt(np.zeros(10)), "different keys"),
        (Client(Parameters(4096, (54, 55), 35)).encrypt(np.zeros(10)), "other parameters"),
        (Client(Parameters(4096, (54, 54), 36)).encrypt(np.zeros(10)), "can't be read"),
        (
            Client(Parameters()).encrypt(np.zeros(10)),
            "has .* bytes, and at most .* are possible",
        ),
    ):
        with pytest.raises(fedflux.FedFluxError, match=words):
            server.add([first, other])
    with pytest.raises(fedflux.FedFluxError, match="nothing to add"):
        server.add([])


@needs_tenseal
def test_a_key_is_checked() -> None:
    key = Client(SMALL).key()
    for bad, words in (
        (key[:-1], "SHA-256 differs"),
        (key[:99] + b"x" + key[100:], "SHA-256 differs"),
        (key + bytes(10**7), "at most"),
        (_messages.with_digest(b"something else"), "another version of fedflux"),
        (_messages.with_digest(key[:24] + b"\xff" * 99), "can't be read"),
        (Client(Parameters()).key(), "for other parameters"),
        (Client(Parameters(4096, (54, 55), 35)).key(), "for other parameters"),
    ):
        with pytest.raises(fedflux.FedFluxError, match=words):
            Client(SMALL, bad)


@needs_tenseal
def test_messages_are_added_one_at_a_time() -> None:
    client, server = Client(SMALL), Server(SMALL)
    size = len(client.encrypt(np.ones(20_000)))
    tracemalloc.start()
    total = server.add(client.encrypt(np.full(20_000, k)) for k in range(20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.abs(client.decrypt(total) - 190).max() < 1e-6
    assert peak < 5 * size  # a message, and copies of it while it is read


@needs_tenseal
def test_the_parties_of_a_run_count_bytes_and_seconds() -> None:
    vectors, shares = np.random.default_rng(0).normal(size=(3, 5000)), [1.0, 0.5, 0.25]
    total, costs = Exchange(4096, [54, 55], 36)(vectors, shares)
    assert np.abs(total - shares @ vectors).max() < 1e-7
    assert 3 * costs["bytes_update"] >= costs["bytes_up"] > 2.99 * costs["bytes_update"]
    assert costs["bytes_sum"] == pytest.approx(costs["bytes_update"], rel=0.01)
    assert all(costs[f"seconds_{part}"] > 0 for part in ("encrypt", "add", "decrypt"))


@needs_tenseal
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weights": "uniform", "clients_per_round": 3},
        {"rules": ["scaffold"], "server": "fedadam(lr=0.01)"},
        {"rules": ["fednova"], "faults": ["dropout(p=0.3)"]},
        {"rules": ["fedbuff(concurrency=3)"], "clients_per_round": 2},
        {"rules": ["fedper"], "model": "mlp", "hidden": [16]},
    ],
    ids=str,
)
def test_a_run_gives_the_plain_runs_model(julia: None, options: dict[str, Any]) -> None:
    plain = fedflux.run(**DIGITS | options)
    encrypted = fedflux.run(**DIGITS | options, aggregate="ckks")
    assert 0 < difference(plain, encrypted) < 1e-5
    assert encrypted.accuracy == plain.accuracy
    for before, record in zip(plain.history, encrypted.history, strict=True):
        told = record["aggregation"]
        assert before["aggregation"] == {}
        assert 0 < told["error"] < 1e-7
        assert record["bytes_up"] == told["bytes_up"] > 8 * before["bytes_up"]
        assert record["bytes_down"] == told["bytes_down"]
        assert told["seconds_encrypt"] > 0


@needs_tenseal
def test_statistics_are_encrypted_too(julia: None) -> None:
    import juliacall

    model = juliacall.Main.seval(
        "using FedFlux.Flux: BatchNorm, Chain, Dense, flatten, relu; using Random; "
        "Random.seed!(1); "
        "Chain(flatten, Dense(64 => 16), BatchNorm(16, relu), Dense(16 => 10))"
    )
    plain = fedflux.run(**DIGITS | {"model": model})
    encrypted = fedflux.run(**DIGITS | {"model": model}, aggregate=fedflux.CKKS())
    assert 0 < difference(plain, encrypted) < 1e-5
    # the statistics decide the test loss, and are no parameters
    assert encrypted.loss == pytest.approx(plain.loss, abs=1e-5)


@needs_tenseal
def test_a_resume_goes_on_with_a_new_key(julia: None, tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    whole = fedflux.run(**DIGITS, aggregate="ckks")
    fedflux.run(**DIGITS | {"rounds": 2}, aggregate="ckks", checkpoint=folder)
    rest = fedflux.run(resume=folder, rounds=3)
    assert rest.details["resumed"] == 2
    assert difference(whole, rest) < 1e-5
    assert all(record["aggregation"]["error"] > 0 for record in rest.history)
    saved = fedflux.Result.load(rest.save(tmp_path / "run.safetensors"))
    assert saved.history == json.loads(json.dumps(rest.history))
    assert (rest.to_frame()["aggregation_error"] > 0).all()


@needs_tenseal
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"aggregate": "ckks(scale_bits=20)"}, "aggregate ckks: too coarse"),
        ({"aggregate": "ckks(poly_modulus_degree=4096)"}, "less than 128 bits of security"),
        ({"rules": ["topk(fraction=0.1)"]}, "TopK and aggregate CKKS don't go together"),
        ({"rules": ["prune(sparsity=0.5, stop=2)"]}, "Prune and aggregate CKKS don't"),
        ({"rules": ["sketch(rows=3, cols=40, k=10)"]}, "CountSketch and aggregate CKKS"),
        ({"rules": ["qffl"]}, "QFFL and aggregate CKKS don't go together"),
        ({"rules": ["afl"]}, "AFL and aggregate CKKS don't go together"),
        ({"download": "quantize(bits=8)"}, "Download and aggregate CKKS don't go together"),
    ],
)
def test_a_run_is_refused_before_it_trains(
    julia: None, options: dict[str, Any], words: str
) -> None:
    def trained(record: dict[str, Any]) -> bool:
        pytest.fail("it trained")

    with pytest.raises(fedflux.FedFluxError, match=words):
        fedflux.run(**{**DIGITS, "aggregate": "ckks", **options}, callback=trained)


@needs_tenseal
def test_an_update_that_is_too_large_ends_the_run(julia: None) -> None:
    with pytest.raises(fedflux.FedFluxError, match="if 5 are added"):
        fedflux.run(**DIGITS | {"lr": 10.0}, aggregate="ckks(scale_bits=58)")
    assert len(fedflux.run(**DIGITS, aggregate="ckks").history) == 3


def test_without_tenseal_it_is_one_line(
    julia: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tenseal", None)
    with pytest.raises(fedflux.FedFluxError) as error:
        fedflux.run(**DIGITS, aggregate="ckks", callback=lambda r: pytest.fail("trained"))
    assert str(error.value) == (
        "aggregate ckks needs TenSEAL, which is not installed: run pip install "
        "'fedflux[he]'"
    )


def test_tenseal_is_imported_for_ckks_only(julia: None, python: Run) -> None:
    call = f"fedflux.run(**{DIGITS!r} | {{'rounds': 1}})"
    python(f"import fedflux, sys; {call}; assert 'tenseal' not in sys.modules")
