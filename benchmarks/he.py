"""Measure homomorphic encryption of 50,000 parameters: `python -m benchmarks.he`.

A Markdown table on stdout, for ten clients, in one process on one thread: milliseconds of
CPU time of a client to encrypt, of the server for each update (reading it, adding it), of a
client to decrypt, medians of ten; the bytes of an encrypted update; the largest error of
the mean.
"""

from __future__ import annotations

import statistics
import time

import numpy as np

from fedflux.he import Client, Parameters, Server

VALUES, CLIENTS = 50_000, 10
CHOICES = (
    Parameters(),
    Parameters(4096, (54, 55), 36),
    Parameters(8192, (60, 40, 60), 40),
    Parameters(16384, (60, 60), 40),
)


def measure(parameters: Parameters) -> str:
    vectors = np.random.default_rng(0).normal(0, 0.05, (CLIENTS, VALUES))
    client, server = Client(parameters), Server(parameters)
    client.decrypt(server.add([client.encrypt(vectors[0])]))  # the first call is slower
    encrypting, adding, decrypting, messages = [], [], [], []
    for vector in vectors:
        begun = time.process_time()
        messages.append(client.encrypt(vector, CLIENTS))
        encrypting.append(time.process_time() - begun)
    for _ in range(CLIENTS):
        begun = time.process_time()
        total = server.add(messages)
        added = time.process_time()
        mean = client.decrypt(total) / CLIENTS
        adding.append((added - begun) / CLIENTS)
        decrypting.append(time.process_time() - added)
    error = np.abs(mean - vectors.mean(0)).max()
    bits = ", ".join(map(str, parameters.coeff_mod_bit_sizes))
    times = [1000 * statistics.median(t) for t in (encrypting, adding, decrypting)]
    return (
        f"| {parameters.poly_modulus_degree} | {bits} | {parameters.scale_bits} | "
        + " | ".join(f"{t:.1f}" for t in times)
        + f" | {len(messages[0]):,} | {error:.1e} |"
    )


if __name__ == "__main__":
    print("| N | primes | scale | encrypt | add | decrypt | bytes | error of the mean |")
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for parameters in CHOICES:
        print(measure(parameters), flush=True)
