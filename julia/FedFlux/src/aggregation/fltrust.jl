"""
    FLTrust(root = 100)

The server trains on a few clean samples of its own, the root data, and trusts each update
by how closely it points in the same direction: ū = Σ Tᵢ (‖u₀‖/‖uᵢ‖) uᵢ / Σ Tᵢ, with Tᵢ =
max(0, cos(uᵢ, u₀)) and u₀ the server's own update. Unweighted; if no update is trusted
the model stays. It tolerates any number of hostile clients. Cao et al. 2021
(arXiv:2012.13995), Algorithm 2.

- `root`: samples that a run sets aside for the server, drawn from all training data; no
  client keeps them.
"""
struct FLTrust <: Buffered
    root::Int
    FLTrust(root = 100) =
        root > 0 ? new(root) :
        fail("FLTrust: root is ", root, "; expected 1 or more samples")
end

construct(::Val{:aggregate}, ::Val{:fltrust}; root) = FLTrust(root)

needs_root(::FLTrust) = true

function combine(::FLTrust, X, weights, threads, root)
    root === nothing &&
        fail("FLTrust needs root data: give Clients the indices of samples that no client ",
            "holds, as `set_aside` does")
    length(root) == size(X, 1) ||
        fail("FLTrust: an update holds ", size(X, 1), " values and the server's own ",
            length(root), "; a rule that adds vectors can't be used with it")
    norms = sqrt.(squared_distances(X, zero(root), threads))
    own = sqrt(squared_norm(root))
    trust = map(axes(X, 2)) do i
        norms[i] > 0 && own > 0 || return 0.0
        return max(0.0, dot64(root, view(X, :, i)) / (own * norms[i]))
    end
    sum(trust) > 0 || return nothing
    scale = [t == 0 ? 0.0 : t * own / norm / sum(trust) for (t, norm) in zip(trust, norms)]
    return Float32.(weighted_sum(X, axes(X, 2), scale, threads))
end

"The dot product, summed in Float64."
function dot64(a, b)
    s = 0.0
    @inbounds @simd for i in eachindex(a, b)
        s += Float64(a[i]) * Float64(b[i])
    end
    return s
end
