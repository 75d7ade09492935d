# The macrokernels: loops over all register tiles of a layer, blocked for the cache. They go
# over channels, over the terms of the sum, over pixels and samples.

"""
    Tiling{L,V,T,M}()

The register tile: `V` vectors of `L` lanes × `T` columns. `M` tells whether the last
vectors need a mask.
"""
struct Tiling{L,V,T,M} end

"The tiling of `C` channels; `columns(V)` is the number of columns of a tile of V vectors."
function Tiling(C, columns, cpu)
    V = channel_vectors(C, cpu)
    return Tiling{cpu.lanes,V,columns(V),C % (V * cpu.lanes) != 0}()
end

tile_channels(::Tiling{L,V}) where {L,V} = L * V

"""
    OffsetTable

Where a macrokernel reads and writes. Every output pixel of a sample is a sum over the same
`runs` of inputs, relative to the pixel's entry of `xoffsets`; the sum goes to its entry of
`yoffsets`. The tables cover a `group` of samples, so that small images fill the tiles.
"""
struct OffsetTable
    xoffsets::Vector{Int32}
    yoffsets::Vector{Int32}
    runs::Vector{Run}
    npixels::Int     # per sample
    group::Int
end

"The table for samples that are `xstride` and `ystride` floats apart."
function grouped_offsets(xoffsets, yoffsets, runs, xstride, ystride)
    npixels = length(xoffsets)
    group = npixels >= 32 ? 1 : cld(48, max(npixels, 1))
    function repeated(offsets, stride)
        return Int32[o + stride * (n - 1) for n = 1:group for o in offsets]
    end
    return OffsetTable(
        repeated(xoffsets, xstride), repeated(yoffsets, ystride), runs, npixels, group
    )
end

columns(t::OffsetTable) = t.npixels * t.group

"Floats in a cache block: half of a typical first-level cache."
const CACHE_BLOCK = 6144

"""
The `runs`, split so that the weights of each one, for `channels` channels, fit in the
cache.
"""
function split_runs(runs, channels)
    most = max(1, CACHE_BLOCK ÷ channels)
    return [Run(r.at + k, min(most, r.len - k)) for r in runs for k = 0:most:(r.len-1)]
end

"""
    macrokernel!(σ, tiling, table, C, y, ystride, x, xstride, samples, w, bias, accumulate)

Compute `C` channels of `samples` samples: `y = σ(bias + Σ w·x)`, added to what y holds if
`accumulate`. Blocks the sum for the cache: the weights of one block of runs go over all
pixels before those of the next block.
"""
function macrokernel!(
    σ::S, tiling::Tiling{L,V,T,M}, table::OffsetTable, C, y, ystride,
    x, xstride, samples, w, bias, accumulate
) where {S,L,V,T,M}
    r, nruns = 1, length(table.runs)
    while true
        n, len = cache_block(table.runs, r, CACHE_BLOCK ÷ (V * L))
        isfirst, islast = r == 1 && !accumulate, r + n > nruns
        for from = 0:(V*L):(C-1)
            b = bias == C_NULL ? bias : at(bias, from)
            tiles!(
                σ, tiling, table, masks(tiling, from, C), at(y, from), ystride,
                x, xstride, samples, at(w, from), C, b,
                pointer(table.runs, r), n, isfirst, islast
            )
        end
        islast && return
        r += n
        w = at(w, len * C)
    end
end

"""
The runs of one cache block, from the `r`-th on: their number and their total length, which
is at most `most` unless there is only one. The number is zero only if no run is left.
"""
function cache_block(runs, r, most)
    n = len = 0
    while r + n <= length(runs) && (n == 0 || len + Int(runs[r+n].len) <= most)
        len += Int(runs[r+n].len)
        n += 1
    end
    return n, len
end

"The tiles of one block of channels, over all pixels."
function tiles!(
    σ::S, ::Tiling{L,V,T}, table::OffsetTable, mask, y, ystride,
    x, xstride, samples, w, ld, bias, runs, nruns, isfirst, islast
) where {S,L,V,T}
    xoffsets, yoffsets = pointer(table.xoffsets), pointer(table.yoffsets)
    for i = 0:table.group:(samples-1)
        stop = min(table.group, samples - i) * table.npixels
        for t = 0:T:(stop-1)
            microkernel!(
                σ, Val(L), Val(V), Val(T), mask, at(y, i * ystride), at(x, i * xstride),
                xoffsets, yoffsets, t, stop, runs, nruns, w, ld, bias, isfirst, islast
            )
        end
    end
end

"""
    outer_macrokernel!(tiling, runs, dw, C, dy, ystride, x, xstride, xoffsets, yoffsets,
                       npixels, samples, accumulate)

The gradient of the weights. For each of the `C` channels and each weight of the `runs`,
sums over the pixels of all `samples`, and adds the sum to what `dw` holds if `accumulate`.
Blocks the pixels so that a block of `dy` stays in the cache.
"""
function outer_macrokernel!(
    tiling::Tiling, runs, dw, C, dy, ystride, x, xstride,
    xoffsets, yoffsets, npixels, samples, accumulate
)
    most = max(1, CACHE_BLOCK ÷ min(C, tile_channels(tiling)))
    if npixels >= most
        step = cld(npixels, cld(npixels, most))
        for i = 0:(samples-1), first = 0:step:(npixels-1)
            outer_tiles!(
                tiling, runs, dw, C, at(dy, i * ystride), 0, at(x, i * xstride), 0,
                xoffsets + 4first, yoffsets + 4first, min(step, npixels - first), 1,
                accumulate || i > 0 || first > 0
            )
        end
    else
        step = most ÷ npixels
        for i = 0:step:(samples-1)
            outer_tiles!(
                tiling, runs, dw, C, at(dy, i * ystride), ystride,
                at(x, i * xstride), xstride, xoffsets, yoffsets, npixels,
                min(step, samples - i), accumulate || i > 0
            )
        end
    end
end

"The tiles of all channels and weights, over one block of pixels."
function outer_tiles!(
    tiling::Tiling{L,V,T,M}, runs, dw, C, dy, ystride, x, xstride,
    xoffsets, yoffsets, npixels, samples, accumulate
) where {L,V,T,M}
    for run in runs
        len = Int(run.len)
        for k = 0:T:(len-1), from = 0:(V*L):(C-1)
            outer_microkernel!(
                Val(L), Val(V), Val(T), masks(tiling, from, C), at(dw, from + k * C), C,
                at(dy, from), at(x, Int(run.at) + k), xoffsets, yoffsets,
                npixels, samples, ystride, xstride, min(T, len - k), accumulate
            )
        end
        dw = at(dw, len * C)
    end
end

"The masks of V vectors from channel `from` (from 0) of `C`; `nothing` for full vectors."
@inline masks(::Tiling{L,V,T,false}, from, C) where {L,V,T} = nothing
@inline function masks(::Tiling{L,V,T,true}, from, C) where {L,V,T}
    return ntuple(v -> lane_mask(Val(L), C - from - L * (v - 1)), Val(V))
end

"""
The vectors per register tile for `C` channels: little work beyond the last channel, in
tiles as wide as possible.
"""
function channel_vectors(C, cpu)
    n = cld(C, cpu.lanes)
    widest = cpu.registers >= 32 ? 4 : 2
    # A tile of one vector is bound by its loads: each input is loaded for one product only.
    waste(v) = cld(n, v) * v * (v == 1 ? 1.5 : 1.0)
    return argmin(v -> (waste(v), -v), 1:min(n, widest))
end

"The pixels per tile of `V` vectors, out of `n`: as many as fit, with little waste."
function tile_pixels(V, n, cpu)
    # Each pixel has its own pointer, and there are 16 integer registers.
    most = min(8, (cpu.registers - V - 1) ÷ V)
    n <= most && return max(n, 1)
    return argmin(t -> (cld(n, t) * t, -t), max(1, most-2):most)
end

"The weights per gradient tile of `V` vectors, for runs of `len` weights."
function tile_weights(V, len, cpu)
    most = max(1, (cpu.registers - V - 2) ÷ V)
    return cld(len, cld(len, most))
end
