"""`fedflux.epsilon` and `fedflux.noise_multiplier`: ε for some noise, and the inverse."""

from __future__ import annotations

from typing import Any

from .arguments import facts, none_is_infinite, number, text


def epsilon(
    *,
    noise_multiplier: float,
    sampling_rate: float = 1.0,
    steps: int,
    delta: float,
    sampling: str = "poisson",
    accountant: str = "rdp",
) -> float:
    """Compute ε after some rounds with Gaussian noise.

    Args:
        noise_multiplier: the standard deviation of the noise on the sum over the norm that
            each client is clipped to.
        sampling_rate: the share of the clients in a cohort, above 0 and at most 1.
        steps: the number of rounds, the empty ones included.
        delta: δ, between 0 and 1.
        sampling: "poisson" if each client is in the cohort with probability
            `sampling_rate`, independently. Neighbors differ in the presence of one client.
            "fixed" for a cohort of fixed size drawn without replacement. Neighbors differ
            in the data of one client, which changes a sum by up to twice the clip. "none"
            for no amplification: a client may be in each round, and the rate is not used.
        accountant: "rdp" or "pld"; "pld" gives a smaller ε, but not for "fixed".

    Returns:
        ε, or infinity for noise that is next to none.

    Raises:
        OptionError: a wrong type or value.
        JuliaUnavailable: Julia is not available.

    Example:
        >>> import fedflux
        >>> fedflux.epsilon(  # doctest: +SKIP
        ...     noise_multiplier=1.3, sampling_rate=0.0025, steps=6000, delta=1e-5
        ... )
        0.7242234026105978
    """
    return _value("_pyepsilon", locals())


def noise_multiplier(
    *,
    epsilon: float,
    sampling_rate: float = 1.0,
    steps: int,
    delta: float,
    sampling: str = "poisson",
    accountant: str = "rdp",
) -> float:
    """Find the smallest noise multiplier with which some rounds cost at most ε.

    Args:
        epsilon: the ε that must not be exceeded.
        sampling_rate, steps, delta, sampling, accountant: as in `epsilon`.

    Returns:
        The noise multiplier to six digits, rounded up.

    Raises:
        OptionError: a wrong type or value, or an ε that no noise gives.
        JuliaUnavailable: Julia is not available.

    Example:
        >>> import fedflux
        >>> fedflux.noise_multiplier(  # doctest: +SKIP
        ...     epsilon=8, sampling_rate=0.04, steps=2250, delta=1e-5
        ... )
        1.4158732891082764
    """
    return _value("_pynoise", locals())


def _value(function: str, arguments: dict[str, Any]) -> float:
    """Call a function of the core with the arguments of a function here, by their names."""
    texts = ("sampling", "accountant")
    checked = {
        name: (text if name in texts else number)(name, value)
        for name, value in arguments.items()
    }
    return none_is_infinite(facts(function, checked)["value"])
