"""The terms that MOON, FedProto and FedNTD add to the loss, and their gradients, against
PyTorch's autograd of the terms as the papers write them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

CLASSES, FEATURES, SAMPLES = 4, 6, 5
LABELS = [0, 3, 1, 1, 2]
KNOWN_CLASSES = [1.0, 0.0, 1.0, 1.0]  # FedProto knows no prototype of class 1
CALL = """
function (rule, state, z, h, frozen, labels)
    ends(z, h) = FedFlux.Ends(Matrix{Float32}(z), zeros(Float32, size(z)),
        Matrix{Float32}(h), zeros(Float32, size(h)))
    student = ends(z, h)
    known = [ends(frozen[2i - 1], frozen[2i]) for i = 1:length(frozen) ÷ 2]
    r = FedFlux.build("rule", rule)
    r isa FedFlux.FedProto && (r = FedFlux.FedProto(r.lam, size(h, 1), size(z, 1)))
    s = isempty(state) ? nothing : (; shared = (; means = Vector{Float32}(state[1]),
        known = Vector{Float32}(state[2])), private = (;
        sums = zeros(Float32, length(h)), counts = zeros(Float32, size(z, 1))))
    ctx = (; samples = length(labels))
    term = FedFlux.teach!(r, s, student, known, collect(Int, labels), ctx)
    return (term, student.dz, student.dh)
end
"""


def fedntd(z: Any, h: Any, frozen: list[Any], _: Any) -> Any:
    """β τ² KL(softmax(z_θ∖y / τ) ‖ softmax(z∖y / τ)), arXiv:2106.03097, with 0.7 and 2."""
    keep = torch.ones(SAMPLES, CLASSES, dtype=torch.bool)
    keep[torch.arange(SAMPLES), LABELS] = False
    log_p = torch.log_softmax(z[keep].reshape(SAMPLES, -1) / 2, 1)
    log_q = torch.log_softmax(frozen[0][keep].reshape(SAMPLES, -1) / 2, 1)
    kl = torch.nn.functional.kl_div(log_p, log_q, log_target=True, reduction="batchmean")
    return 0.7 * 2**2 * kl


def moon(z: Any, h: Any, frozen: list[Any], _: Any) -> Any:
    """Cross-entropy of the two cosines over τ, arXiv:2103.16257, with μ = 2 and τ = 0.4."""
    cosines = [torch.cosine_similarity(h, frozen[i], dim=1) / 0.4 for i in (1, 3)]
    right = torch.zeros(SAMPLES, dtype=torch.long)
    return 2 * torch.nn.functional.cross_entropy(torch.stack(cosines, 1), right)


def fedproto(z: Any, h: Any, frozen: list[Any], means: Any) -> Any:
    """λ times the mean squared distance to the class's prototype, arXiv:2105.00243."""
    known = torch.tensor(KNOWN_CLASSES)[LABELS].double()
    gaps = ((h - means[LABELS]) ** 2).mean(1)
    return 0.7 * (known * gaps).mean()


@pytest.mark.julia
@pytest.mark.parametrize(
    ("rule", "term", "frozen_models"),
    [
        ("fedntd(beta=0.7, tau=2)", fedntd, 1),
        ("moon(mu=2, tau=0.4)", moon, 2),
        ("fedproto(lam=0.7)", fedproto, 0),
    ],
)
def test_an_added_terms_gradient_is_autograds(
    julia: None, rule: str, term: Callable[..., Any], frozen_models: int
) -> None:
    from juliacall import Main as jl

    jl.seval("import FedFlux")
    rng = np.random.default_rng(4)
    shapes = [(SAMPLES, CLASSES), (SAMPLES, FEATURES)]
    z, h, *frozen = (
        rng.normal(size=shape).astype("float32") for shape in shapes * (1 + frozen_models)
    )
    means = rng.normal(size=(CLASSES, FEATURES)).astype("float32")
    state = [means.ravel(), KNOWN_CLASSES] if term is fedproto else []
    value, dz, dh = jl.seval(CALL)(rule, state, z.T, h.T, [a.T for a in frozen], LABELS)
    inputs = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (z, h)]
    exact = term(*inputs, [torch.tensor(a).double() for a in frozen], torch.tensor(means))
    exact.backward()
    assert value == pytest.approx(exact.item(), rel=1e-5)
    for found, leaf in zip((dz, dh), inputs, strict=True):
        expected = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()
        np.testing.assert_allclose(np.asarray(found).T, expected, atol=1e-6)
    assert any(leaf.grad is not None and leaf.grad.abs().max() > 0.01 for leaf in inputs)
