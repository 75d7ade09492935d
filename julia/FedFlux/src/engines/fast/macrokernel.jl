# The macrokernels: loops over all register tiles of a layer, blocked for the cache. They go
# over channels, over the terms of the sum, over pixels and samples.

"""
    Tile{L,V,T,M}()

A register tile: `V` vectors of `L` lanes × `T` columns. `M` tells whether the last vectors
need a mask.
"""
struct Tile{L,V,T,M} end

"""
The arguments of one call of a macrokernel. They go through memory, since a call that is
dispatched at run time would allocate a box for each.
"""
mutable struct KernelCall
    C::Int
    y::Ptr32
    ystride::Int
    x::Ptr32
    xstride::Int
    samples::Int
    w::Ptr32
    bias::Ptr32
    xoffsets::Ptr{Int32}
    yoffsets::Ptr{Int32}
    npixels::Int
    accumulate::Bool
    KernelCall() = new()
end

"""
    Tiling(C, columns, cpu)

The register tiles of a layer of `C` channels; `columns(V)` is the number of columns of a
tile of `V` vectors. The tile isn't part of the type: a layer's code is compiled once, and
only the macrokernel of its tile is chosen at run time.
"""
struct Tiling
    channels::Int     # per tile
    tile::Tile
    call::KernelCall
end

function Tiling(C, columns, cpu::CPU)
    V = channel_vectors(C, cpu)
    tile = Tile{cpu.lanes,V,columns(V),C % (V * cpu.lanes) != 0}()
    return Tiling(V * cpu.lanes, tile, KernelCall())
end

tile_channels(t::Tiling) = t.channels

"""
    OffsetTable

Where a macrokernel reads and writes. Every output pixel of a sample is a sum over the same
`runs` of inputs, relative to the pixel's entry of `xoffsets`; the sum goes to its entry of
`yoffsets`. The tables cover a `group` of samples, so that small images fill the tiles.
"""
mutable struct OffsetTable    # so that a call at run time takes it by reference
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
    σ::S, tiling::Tiling, table::OffsetTable, C, y, ystride,
    x, xstride, samples, w, bias, accumulate
) where {S}
    c = tiling.call
    c.C, c.y, c.ystride, c.x, c.xstride, c.samples = C, y, ystride, x, xstride, samples
    c.w, c.bias, c.accumulate = w, bias, accumulate
    macrokernel!(σ, tiling.tile, table, c)
    return nothing
end

function macrokernel!(
    σ::S, tile::Tile{L,V}, table::OffsetTable, call::KernelCall
) where {S,L,V}
    (; C, y, ystride, x, xstride, samples, w, bias, accumulate) = call
    r, nruns = 1, length(table.runs)
    while true
        n, len = cache_block(table.runs, r, CACHE_BLOCK ÷ (V * L))
        isfirst, islast = r == 1 && !accumulate, r + n > nruns
        for from = 0:(V*L):(C-1)
            b = bias == C_NULL ? bias : at(bias, from)
            tiles!(
                σ, tile, table, masks(tile, from, C), at(y, from), ystride,
                x, xstride, samples, at(w, from), C, b,
                pointer(table.runs, r), n, isfirst, islast
            )
        end
        islast && return nothing
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
    σ::S, ::Tile{L,V,T}, table::OffsetTable, mask, y, ystride,
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
    tiling::Tiling, runs::Vector{Run}, dw, C, dy, ystride, x, xstride,
    xoffsets, yoffsets, npixels, samples, accumulate
)
    c = tiling.call
    c.C, c.y, c.ystride, c.x, c.xstride, c.samples = C, dy, ystride, x, xstride, samples
    c.w, c.accumulate, c.npixels = dw, accumulate, npixels
    c.xoffsets, c.yoffsets = xoffsets, yoffsets
    outer_macrokernel!(tiling.tile, runs, c)
    return nothing
end

function outer_macrokernel!(
    tile::Tile{L,V}, runs::Vector{Run}, call::KernelCall
) where {L,V}
    (; C, ystride, x, xstride, samples, accumulate, xoffsets, yoffsets, npixels) = call
    dw, dy = call.w, call.y
    most = max(1, CACHE_BLOCK ÷ min(C, L * V))
    if npixels >= most
        step = cld(npixels, cld(npixels, most))
        for i = 0:(samples-1), first = 0:step:(npixels-1)
            outer_tiles!(
                tile, runs, dw, C, at(dy, i * ystride), 0, at(x, i * xstride), 0,
                xoffsets + 4first, yoffsets + 4first, min(step, npixels - first), 1,
                accumulate || i > 0 || first > 0
            )
        end
    else
        step = most ÷ npixels
        for i = 0:step:(samples-1)
            outer_tiles!(
                tile, runs, dw, C, at(dy, i * ystride), ystride,
                at(x, i * xstride), xstride, xoffsets, yoffsets, npixels,
                min(step, samples - i), accumulate || i > 0
            )
        end
    end
    return nothing
end

"The tiles of all channels and weights, over one block of pixels."
function outer_tiles!(
    tile::Tile{L,V,T}, runs, dw, C, dy, ystride, x, xstride,
    xoffsets, yoffsets, npixels, samples, accumulate
) where {L,V,T}
    for run in runs
        len = Int(run.len)
        for k = 0:T:(len-1), from = 0:(V*L):(C-1)
            outer_microkernel!(
                Val(L), Val(V), Val(T), masks(tile, from, C), at(dw, from + k * C), C,
                at(dy, from), at(x, Int(run.at) + k), xoffsets, yoffsets,
                npixels, samples, ystride, xstride, min(T, len - k), accumulate
            )
        end
        dw = at(dw, len * C)
    end
end

"The masks of V vectors from channel `from` (from 0) of `C`; `nothing` for full vectors."
@inline masks(::Tile{L,V,T,false}, from, C) where {L,V,T} = nothing
@inline function masks(::Tile{L,V,T,true}, from, C) where {L,V,T}
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
