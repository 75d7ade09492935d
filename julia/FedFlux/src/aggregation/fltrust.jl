"""
    FLTrust(root = 100)

The server trains on a few clean samples of its own, the root data, and trusts each update by how far it points the same
way: ū = Σ Tᵢ (‖u₀‖/‖uᵢ‖) uᵢ / Σ Tᵢ, with Tᵢ = max(0, cos(uᵢ, u₀)) and u₀ the server's own update. Unweighted; where no update
is trusted the model stays. It holds against any number of hostile clients. Cao et al. 2021 (arXiv:2012.13995), Algorithm 2.

- `root`: samples that a run sets aside for the server, drawn from all training data; no client keeps them. In [`fit!`](@ref) and [`round!`](@ref) the option `root` gives their indices.
"""
struct FLTrust <: Buffered
    root::Int
    FLTrust(root = 100) = root > 0 ? new(root) : fail("FLTrust: root is ", root, "; expected 1 or more samples")
end

construct(::Val{:aggregate}, ::Val{:fltrust}; root) = FLTrust(root)

trains_root(::FLTrust) = true

function combine(::FLTrust, X, weights, threads, root)
    root === nothing && fail("FLTrust needs root data: give fit! or round! the option root, indices of samples that no client holds")
    lengths = sqrt.(squared_distances(X, zero(root), threads))
    own = sqrt(squared_norm(root))
    trust = [lengths[i] > 0 && own > 0 ? max(0.0, dot64(root, view(X, :, i)) / (own * lengths[i])) : 0.0 for i in axes(X, 2)]
    sum(trust) > 0 || return nothing
    scale = [t == 0 ? 0.0 : t * own / length / sum(trust) for (t, length) in zip(trust, lengths)]
    return weighted_sum(X, axes(X, 2), scale, threads)
end

function dot64(a, b)
    s = 0.0
    @inbounds @simd for i in eachindex(a, b)
        s += Float64(a[i]) * Float64(b[i])
    end
    return s
end
