"""Make certificates and keys for a trial: never use them where real data is at stake.

Usage: `python certificates.py keys --host localhost --host 127.0.0.1 --nodes 3`. The folder
then holds ca.crt (give it to every machine), server.crt and server.key (the SuperLink's),
and for each node node-1.key (the node's own) and node-1.pub (registered at the SuperLink).
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAYS = 30


def main() -> None:
    """Read the command line and write the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument(
        "--host", action="append", help="a name or an address of the SuperLink (repeatable)"
    )
    parser.add_argument("--nodes", type=int, default=3, help="how many SuperNodes")
    given = parser.parse_args()
    make(given.folder, given.host or ["localhost", "127.0.0.1"], given.nodes)


def make(folder: Path, hosts: list[str], nodes: int) -> None:
    """Write an authority's certificate, the SuperLink's, and a pair of keys for each node.

    Args:
        folder: where the files go.
        hosts: names and addresses by which the SuperLink is called.
        nodes: how many SuperNodes.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca_key, server_key = new_key(), new_key()
    ca = certificate("fedflux test authority", ca_key, None, ca_key)
    server = certificate("fedflux SuperLink", server_key, ca, ca_key, hosts)
    write(folder / "ca.crt", ca.public_bytes(serialization.Encoding.PEM))
    write(folder / "server.crt", server.public_bytes(serialization.Encoding.PEM))
    write(folder / "server.key", private(server_key, serialization.PrivateFormat.PKCS8))
    for number in range(1, nodes + 1):
        key = new_key()
        openssh = serialization.PrivateFormat.OpenSSH
        write(folder / f"node-{number}.key", private(key, openssh))
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        write(folder / f"node-{number}.pub", public)


def new_key() -> ec.EllipticCurvePrivateKey:
    """Draw a key on the curve P-384, which Flower asks of its nodes."""
    return ec.generate_private_key(ec.SECP384R1())


def certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    hosts: list[str] | None = None,
) -> x509.Certificate:
    """Sign a certificate: an authority's without an issuer, else a server's for `hosts`."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=issuer is not None,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=issuer is None,
        crl_sign=issuer is None,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(issuer is None, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
    if issuer is not None:
        names = x509.SubjectAlternativeName([alternative(host) for host in hosts or []])
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(
            issuer_key.public_key()
        )
        server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(names, False).add_extension(server, False)
        builder = builder.add_extension(authority, False)
    return builder.sign(issuer_key, hashes.SHA384())


def alternative(host: str) -> x509.GeneralName:
    """Return a host's name or address as a certificate holds it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def private(key: ec.EllipticCurvePrivateKey, kind: serialization.PrivateFormat) -> bytes:
    """Encode a private key, without a password."""
    return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())


def write(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


if __name__ == "__main__":
    main()
