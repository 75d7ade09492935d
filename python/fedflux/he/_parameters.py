"""The parameters of CKKS: which are secure, and how exact they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import OptionError

# The most bits of all primes together that leave 128 bits of security, by the degree of the
# polynomials: Homomorphic Encryption Standard (2018), Table 1, uniform ternary secret.
STANDARD_128 = {1024: 27, 2048: 54, 4096: 109, 8192: 218, 16384: 438, 32768: 881}

NOISE = 3.2  # standard deviation of a fresh ciphertext's noise, as the standard has it
COARSEST = 1e-6  # largest error of a value that is accepted

DECRYPTIONS = 1000  # of sums with one key, that the server of a deployment sees
HIDING_BITS = 64  # by how much the key is then hidden
# What a deployment needs: room for the noise that hides the key.
ROOMY = "ckks(coeff_mod_bit_sizes=[60, 60, 60], scale_bits=90)"


@dataclass(frozen=True)
class Parameters:
    """The parameters of CKKS, with the names and meanings that SEAL gives them.

    Attributes:
        poly_modulus_degree: N; a ciphertext holds N/2 values.
        coeff_mod_bit_sizes: bits of the primes, 20 to 60 each. The last is SEAL's special
            prime; a ciphertext has the size of the others. Sums need one other prime;
            more would serve products.
        scale_bits: values are rounded to multiples of 2^-scale_bits.

    Raises:
        OptionError: less than 128 bits of security by the Homomorphic Encryption Standard,
            decrypted values that may be off by more than 1e-6, or no room for values.

    Example:
        >>> Parameters().error < 2e-10
        True
        >>> Parameters(4096, (40, 20, 40), 20)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        fedflux.errors.OptionError: aggregate ckks: too coarse: with scale_bits 20 ...
    """

    poly_modulus_degree: int = 8192
    coeff_mod_bit_sizes: tuple[int, ...] = (60, 60)
    scale_bits: int = 40

    def __post_init__(self) -> None:
        object.__setattr__(self, "coeff_mod_bit_sizes", tuple(self.coeff_mod_bit_sizes))
        degree, bits = self.poly_modulus_degree, self.coeff_mod_bit_sizes
        if degree not in STANDARD_128:
            raise _refusal(
                f"poly_modulus_degree is {degree}; expected one of "
                f"{', '.join(map(str, STANDARD_128))}"
            )
        if len(bits) < 2 or not all(20 <= b <= 60 for b in bits):
            raise _refusal(
                f"coeff_mod_bit_sizes is {list(bits)}; expected two or more numbers from "
                "20 to 60"
            )
        if sum(bits) > STANDARD_128[degree]:
            raise _refusal(
                f"less than 128 bits of security: coeff_mod_bit_sizes has {sum(bits)} bits "
                f"in all, and at most {STANDARD_128[degree]} are secure with "
                f"poly_modulus_degree {degree}; use a larger degree or fewer bits"
            )
        if not 1 <= self.scale_bits <= self.data_bits - 2:
            raise _refusal(
                f"scale_bits is {self.scale_bits}; expected 1 to {self.data_bits - 2}, "
                f"since all primes but the last have {self.data_bits} bits"
            )
        worst = 6 * self.error  # one value in 500 million is further off
        if worst > COARSEST:
            enough = self.scale_bits + math.ceil(math.log2(worst / COARSEST))
            raise _refusal(
                f"too coarse: with scale_bits {self.scale_bits} a decrypted value may be "
                f"off by {worst:.2g}, and at most {COARSEST:g} is accepted; use scale_bits "
                f"{enough} or more, and primes that hold it"
            )

    @property
    def slots(self) -> int:
        """The number of values in a ciphertext."""
        return self.poly_modulus_degree // 2

    @property
    def data_bits(self) -> int:
        """The bits of the modulus of a ciphertext."""
        return sum(self.coeff_mod_bit_sizes[:-1])

    @property
    def scale(self) -> float:
        """The factor before values are rounded."""
        return 2.0**self.scale_bits

    @property
    def capacity(self) -> float:
        """The largest absolute value that a sum may have."""
        return 2.0 ** (self.data_bits - 2 - self.scale_bits)

    @property
    def error(self) -> float:
        """The standard deviation of the error of a decrypted value.

        Each of the N coefficients is off by the noise σ and by rounding to an integer. A
        value is the real part of the coefficients' sum, each times a root of unity, divided
        by the scale: √(N/2 · (σ² + 1/12)) / 2^scale_bits. The sum of n ciphertexts has √n
        times this error.
        """
        return math.sqrt(self.poly_modulus_degree / 2 * (NOISE**2 + 1 / 12)) / self.scale

    def hiding_noise(self, size: int, cohort: int) -> float:
        """The standard deviation of the noise on a decrypted sum that the server sees.

        A ciphertext and its exact decryption give away the key (Li, Micciancio 2021,
        eprint.iacr.org/2020/1533): the error that remains in the values is what leads to
        it. Noise drowns it: √(12 τ) · 2^(s/2) times the norm of the errors of the `size`
        values of a sum of `cohort` ciphertexts, for τ decryptions and s bits (Li,
        Micciancio, Schultz, Sorrell 2022, eprint.iacr.org/2022/816).

        Raises:
            OptionError: a value would be off by more than 1e-6.

        Example:
            >>> Parameters(8192, (60, 60, 60), 90).hiding_noise(100_000, 10) < 1e-9
            True
        """
        errors = self.error * math.sqrt(cohort * size)
        noise = math.sqrt(12 * DECRYPTIONS * 2.0**HIDING_BITS) * errors
        if 6 * noise > COARSEST:
            raise _refusal(
                f"in a deployment noise hides the key from the server, and with scale_bits "
                f"{self.scale_bits} it would be {6 * noise:.2g}, beyond {COARSEST:g}; use "
                f"aggregate {ROOMY}"
            )
        return noise

    @property
    def max_bytes(self) -> int:
        """The most bytes that a serialized ciphertext has: two polynomials, and a bit."""
        plain = 2 * 8 * self.poly_modulus_degree * (len(self.coeff_mod_bit_sizes) - 1)
        return plain + plain // 128 + 1024


def _refusal(message: str) -> OptionError:
    return OptionError(f"aggregate ckks: {message}")
