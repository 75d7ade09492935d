# DP-FTRL: the noise of a binary tree over the rounds, without sampling.

"""
    tree_noise(σ, rounds; restart = rounds, participations = 1, min_separation = rounds)

The noise multiplier of the one Gaussian mechanism, without sampling, that costs what the
first `rounds` rounds of DP-FTRL cost in which each node of a binary tree over the rounds
gets noise with multiplier `σ`: `compose!(accountant, tree_noise(σ, rounds), 1.0, :none)`.
Kairouz et al. 2021, arXiv:2103.00039, section 4 and appendix D.

A new tree begins every `restart` rounds. What holds only if the run sees to it: a client
takes part at most `participations` times, each at least `min_separation` rounds after the
one before. Once in n rounds, it is in ⌈log₂(n + 1)⌉ nodes. A node over 2ˡ rounds holds at
most c = ⌈2ˡ/min_separation⌉ of its k updates, and the squares of what the nodes of a level
hold add up to k c at most.

Throws a [`FedFluxError`](@ref) for a value out of its bounds.

```julia
FedFlux.tree_noise(8.0, 2^16 - 1)      # 2.0
```
"""
function tree_noise(
    σ,
    rounds;
    restart = rounds,
    participations = 1,
    min_separation = rounds
)
    isfinite(σ) && σ > 0 ||
        fail("noise_multiplier is ", σ, "; expected a positive number")
    for (name, n) in pairs((; rounds, restart, participations, min_separation))
        n isa Integer && n >= 1 || fail(name, " is ", n, "; expected a whole number from 1")
    end
    leaves = min(rounds, restart)
    per_tree = cld(leaves, min_separation)
    k = min(participations, per_tree * cld(rounds, leaves))
    # Updates in one tree cost more than in several: the worst case fills tree after tree.
    full, rest = divrem(k, per_tree)
    return σ / sqrt(
        full * squared_sensitivity(leaves, per_tree, min_separation) +
        squared_sensitivity(leaves, rest, min_separation)
    )
end

"Of a tree in which a client has `k` updates: at most k c at each level."
squared_sensitivity(leaves, k, min_separation) =
    sum(l -> k * min(k, cld(2^l, min_separation)), 0:floor(Int, log2(leaves)))
