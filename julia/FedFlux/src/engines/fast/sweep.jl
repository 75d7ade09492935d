# All the tiles of a layer: over channels, over the terms of the sum, over pixels and samples.

"How a sweep is cut into register tiles: `V` vectors of `L` lanes × `T` columns; `M` whether the last lanes need a mask."
struct Tiling{L,V,T,M} end

function Tiling(C, columns, cpu)
    V = channel_vectors(C, cpu)
    return Tiling{cpu.lanes,V,columns(V),C % (V * cpu.lanes) != 0}()
end

channels(::Tiling{L,V}) where {L,V} = L * V

"""
    Sweep

Sums over the same `runs` for every pixel of a sample: the pixel's run begins at the offset `pin` in the input, its sum goes to
`pout` in the output. The tables go on for a `group` of samples, so that small images don't leave most of a tile unused.
"""
struct Sweep
    pin::Vector{Int32}
    pout::Vector{Int32}
    runs::Vector{Run}
    count::Int       # pixels of one sample
    group::Int
end

"A sweep over samples that lie `ximage` and `yimage` floats apart."
function image_sweep(pin, pout, runs, ximage, yimage)
    group = length(pin) >= 32 ? 1 : cld(48, max(length(pin), 1))
    repeated(offsets, image) = Int32[o + image * (n - 1) for n in 1:group for o in offsets]
    return Sweep(repeated(pin, ximage), repeated(pout, yimage), runs, length(pin), group)
end

columns(s::Sweep) = s.count * s.group

"Floats that a sweep keeps going over before it moves on: half of a first-level cache."
const CACHED = 6144

"`runs` cut so that the weights of one, on `channels` channels, take no more than a cache holds."
function cut_runs(runs, channels)
    most = max(1, CACHED ÷ channels)
    return [Run(r.at + k, min(most, r.len - k)) for r in runs for k in 0:most:r.len-1]
end

"""
    sweep!(σ, tiling, s, C, y, yimage, x, ximage, images, w, bias, adds)

`C` channels of `images` samples: `y = σ(bias + Σ w·x)`, added to what is in y if `adds`. The weights of a few runs, as many as
the cache holds, go over all pixels before the next ones do.
"""
function sweep!(σ::S, tiling::Tiling{L,V,T,M}, s::Sweep, C, y, yimage, x, ximage, images, w, bias, adds) where {S,L,V,T,M}
    r, nruns = 1, length(s.runs)
    while true
        n, len = runs_together(s.runs, r, CACHED ÷ (V * L))
        opens, closes = r == 1 && !adds, r + n > nruns
        for from in 0:V*L:C-1
            b = bias == C_NULL ? bias : at(bias, from)
            tiles!(σ, tiling, s, masks(tiling, from, C), at(y, from), yimage, x, ximage, images, at(w, from), C, b,
                   pointer(s.runs, r), n, opens, closes)
        end
        closes && return
        r += n
        w = at(w, len * C)
    end
end

"The number of runs from the `r`-th on that together are no longer than `most`, at least one if there is one, and their length."
function runs_together(runs, r, most)
    n = len = 0
    while r + n <= length(runs) && (n == 0 || len + Int(runs[r+n].len) <= most)
        len += Int(runs[r+n].len)
        n += 1
    end
    return n, len
end

"The tiles of one block of channels, over all pixels."
function tiles!(σ::S, ::Tiling{L,V,T}, s::Sweep, mask, y, yimage, x, ximage, images, w, ld, bias, runs, nruns, opens,
                closes) where {S,L,V,T}
    pin, pout = pointer(s.pin), pointer(s.pout)
    for i in 0:s.group:images-1
        stop = min(s.group, images - i) * s.count
        for t in 0:T:stop-1
            tile!(σ, Val(L), Val(V), Val(T), mask, at(y, i * yimage), at(x, i * ximage), pin, pout, t, stop, runs, nruns, w, ld,
                  bias, opens, closes)
        end
    end
end

"""
    outer_sweep!(tiling, runs, dw, C, dy, dyimage, x, ximage, pin, pout, npixels, images, adds)

The gradient of the weights: for each of `C` channels and each weight of the `runs`, the sum over the pixels of all `images`,
added to what is in `dw` if `adds`. Pixels go in parts whose `dy` stays in the cache.
"""
function outer_sweep!(tiling::Tiling, runs, dw, C, dy, dyimage, x, ximage, pin, pout, npixels, images, adds)
    most = max(1, CACHED ÷ min(C, channels(tiling)))
    if npixels >= most
        step = cld(npixels, cld(npixels, most))
        for i in 0:images-1, first in 0:step:npixels-1
            outer_part!(tiling, runs, dw, C, at(dy, i * dyimage), 0, at(x, i * ximage), 0, pin + 4first, pout + 4first,
                        min(step, npixels - first), 1, adds || i > 0 || first > 0)
        end
    else
        step = most ÷ npixels
        for i in 0:step:images-1
            outer_part!(tiling, runs, dw, C, at(dy, i * dyimage), dyimage, at(x, i * ximage), ximage, pin, pout, npixels,
                        min(step, images - i), adds || i > 0)
        end
    end
end

function outer_part!(tiling::Tiling{L,V,T,M}, runs, dw, C, dy, dyimage, x, ximage, pin, pout, npixels, images, adds) where {L,V,T,M}
    for run in runs
        len = Int(run.len)
        for k in 0:T:len-1, from in 0:V*L:C-1
            outer_tile!(Val(L), Val(V), Val(T), masks(tiling, from, C), at(dw, from + k * C), C, at(dy, from),
                        at(x, Int(run.at) + k), pin, pout, npixels, images, dyimage, ximage, min(T, len - k), adds)
        end
        dw = at(dw, len * C)
    end
end

"The masks of V vectors that begin at channel `from` (from 0) of `C`, or nothing where all lanes are in use."
@inline masks(::Tiling{L,V,T,false}, from, C) where {L,V,T} = nothing
@inline masks(::Tiling{L,V,T,true}, from, C) where {L,V,T} = ntuple(v -> lanes(Val(L), C - from - L * (v - 1)), Val(V))

"Vectors of one register tile over `C` channels: little work beyond the last channel, in tiles as wide as can be."
function channel_vectors(C, cpu)
    n = cld(C, cpu.lanes)
    widest = cpu.registers >= 32 ? 4 : 2
    # A tile of one vector waits for its loads: each input is loaded for one product only.
    return argmin(v -> (cld(n, v) * v * (v == 1 ? 1.5 : 1.0), -v), 1:min(n, widest))
end

"Pixels of one forward tile with `V` vectors, of `n` pixels: as many as fit, with little waste."
function tile_pixels(V, n, cpu)
    # Each pixel has a pointer of its own, and there are 16 integer registers.
    most = min(8, (cpu.registers - V - 1) ÷ V)
    n <= most && return max(n, 1)
    return argmin(t -> (cld(n, t) * t, -t), max(1, most - 2):most)
end

"Weights of one gradient tile with `V` vectors, of runs of `len` weights."
function tile_weights(V, len, cpu)
    most = max(1, (cpu.registers - V - 2) ÷ V)
    return cld(len, cld(len, most))
end
