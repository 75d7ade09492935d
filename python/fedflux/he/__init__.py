"""Homomorphic encryption with CKKS, by TenSEAL: the server adds what it can't read.

The clients share a secret key. Each encrypts its update; the server, which has no key, adds
the ciphertexts; the clients decrypt the sum. Needs the extra `fedflux[he]`.
"""

from ._parameters import Parameters
from ._parties import Client, Exchange, Server
from ._sum import Sum

__all__ = ["Client", "Exchange", "Parameters", "Server", "Sum"]
