# Clipping all that a client sends, where privacy rests on its norm.

"Σ v², summed in Float64."
function squared_norm(v)
    s = 0.0
    @inbounds @simd for i in eachindex(v)
        s += Float64(v[i])^2
    end
    return s
end

"The L2 norm of all three parts of an update, in Float64."
total_norm(u::Update) = sqrt(sum(squared_norm, parts(u)))

"""
    clip_update(u::Update, c, norm = total_norm(u)) -> Update

`u` scaled by min(1, c/‖u‖), the norm taken over vectors, statistics and metrics together;
all zeros if that norm is NaN or infinite, so that nothing passes unclipped.
"""
function clip_update(u::Update, c, norm = total_norm(u))
    isfinite(norm) || return map(v -> AlteredVector(zeros(Float32, length(v))), u)
    norm <= c && return u
    factor = Float32((1 - 2e-7) * c / norm, RoundDown)    # each value is rounded once more
    return map(v -> rescaled(v, factor), u)
end

rescaled(v, factor) = AlteredVector(factor .* v)
rescaled(v::Masked, factor) = Masked(factor .* v.values, v.kept)
