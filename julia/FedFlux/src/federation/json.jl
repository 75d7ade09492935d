"A value as JSON can hold it."
as_json(x) = x
as_json(x::AbstractFloat) = isfinite(x) ? x : nothing     # JSON has no NaN
as_json(x::NamedTuple) = Dict(string(k) => v for (k, v) in pairs(x))

"A loss as JSON can hold it, by ProtoJSON's names of what is no number there."
loss_as_json(x) = x
loss_as_json(x::AbstractFloat) =
    isfinite(x) ? x : isnan(x) ? "NaN" : x > 0 ? "Infinity" : "-Infinity"
