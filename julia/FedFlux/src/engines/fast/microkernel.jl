# The microkernels of convolutions and matrix products: one register tile each, with output
# channels on the lanes and the other operand broadcast. They are not inlined: the tile
# takes all vector registers, and the caller's values would spill it.

"""
    Run(at, len)

A contiguous part of the sum for one output: the `len` inputs from offset `at` on. Weights
follow in the same order.
"""
struct Run
    at::Int32
    len::Int32
end

"""
    microkernel!(σ, Val(L), Val(V), Val(T), mask, y, x, xoffsets, yoffsets, from, stop,
                 runs, nruns, w, ld, bias, isfirst, islast)

Compute V·L channels of T pixels: `y[:, t] = σ(bias + Σ w[:, k]·x[k, t])`, with k over the
`runs`. Columns of `w` are `ld` floats apart. Pixel `from + t` is at `xoffsets` in x and at
`yoffsets` in y; pixels from `stop` on repeat the last one. A sum may be split over several
calls: the one that `isfirst` starts from the bias, the others from what y holds, and only
the one that `islast` applies σ.
"""
@generated function microkernel!(
    σ::F,
    ::Val{L},
    ::Val{V},
    ::Val{T},
    mask,
    y::Ptr32,
    x::Ptr32,
    xoffsets::Ptr{Int32},
    yoffsets::Ptr{Int32},
    from::Int,
    stop::Int,
    runs::Ptr{Run},
    nruns::Int,
    w::Ptr32,
    ld::Int,
    bias::Ptr32,
    isfirst::Bool,
    islast::Bool
) where {F,L,V,T}
    acc(v, t) = Symbol(:acc, v, :_, t)
    xs = [Symbol(:x, t) for t = 1:T]
    m(v) = mask === Nothing ? nothing : :(mask[$v])
    load_vector(p, v) = :(load(Val(L), at($p, $(L * (v - 1))), $(m(v))))
    nth(t) = :(min(from + $(t - 1), stop - 1) + 1)
    inputs = [:($(xs[t]) = at(x, unsafe_load(xoffsets, $(nth(t))))) for t = 1:T]
    outputs = [:($(Symbol(:y, t)) = at(y, unsafe_load(yoffsets, $(nth(t))))) for t = 1:T]
    weights = [:($(Symbol(:w, v)) = $(load_vector(:w, v))) for v = 1:V]
    biases = [
        :(
            $(Symbol(:b, v)) =
                bias == C_NULL ? zero_vector(Val(L)) : $(load_vector(:bias, v))
        ) for v = 1:V
    ]
    each(f) = [f(v, t) for t = 1:T for v = 1:V]
    yaddress(v, t) = :(at($(Symbol(:y, t)), $(L * (v - 1))))
    steps = [
        quote
            b = Vec{L,Float32}(unsafe_load(at($(xs[t]), k)))
            $(
                [
                    :($(acc(v, t)) = muladd($(Symbol(:w, v)), b, $(acc(v, t)))) for
                    v = 1:V
                ]...
            )
        end for t = 1:T
    ]
    start_from_y(v, t) = :($(acc(v, t)) = load(Val(L), $(yaddress(v, t)), $(m(v))))
    store_activated(v, t) = :(store(activate(σ, $(acc(v, t))), $(yaddress(v, t)), $(m(v))))
    return quote
        $(Expr(:meta, :noinline))
        if isfirst
            $(biases...)
            $(each((v, t) -> :($(acc(v, t)) = $(Symbol(:b, v))))...)
        else
            $(outputs...)
            $(each(start_from_y)...)
        end
        $(inputs...)
        for r = 1:nruns
            run = unsafe_load(runs, r)
            k = Int(run.at)
            last = k + Int(run.len)
            while k < last
                $(weights...)
                $(steps...)
                w = at(w, ld)
                k += 1
            end
        end
        $(outputs...)
        if islast
            $(each(store_activated)...)
        else
            $(each((v, t) -> :(store($(acc(v, t)), $(yaddress(v, t)), $(m(v)))))...)
        end
        return nothing
    end
end

"""
    outer_microkernel!(Val(L), Val(V), Val(T), mask, dw, ld, dy, x, xoffsets, yoffsets,
                       npixels, samples, ystride, xstride, width, accumulate)

The gradient of V·L channels × T weights, a sum of outer products:

    dw[:, k] = Σ dy[:, pixel]·x[k, pixel]

over `npixels` pixels of each of the `samples`. Stores the first `width` of the T columns,
added to what `dw` holds if `accumulate`. Reads T floats of x per pixel.
"""
@generated function outer_microkernel!(
    ::Val{L},
    ::Val{V},
    ::Val{T},
    mask,
    dw::Ptr32,
    ld::Int,
    dy::Ptr32,
    x::Ptr32,
    xoffsets::Ptr{Int32},
    yoffsets::Ptr{Int32},
    npixels::Int,
    samples::Int,
    ystride::Int,
    xstride::Int,
    width::Int,
    accumulate::Bool
) where {L,V,T}
    acc(v, t) = Symbol(:acc, v, :_, t)
    m(v) = mask === Nothing ? nothing : :(mask[$v])
    d(v) = Symbol(:d, v)
    each(f) = [f(v, t) for t = 1:T for v = 1:V]
    loads = [:($(d(v)) = load(Val(L), at(dp, $(L * (v - 1))), $(m(v)))) for v = 1:V]
    steps = [
        quote
            b = Vec{L,Float32}(unsafe_load(at(xp, $(t - 1))))
            $([:($(acc(v, t)) = muladd($(d(v)), b, $(acc(v, t)))) for v = 1:V]...)
        end for t = 1:T
    ]
    store_sum(v, t) = quote
        p = at(dw, $(L * (v - 1)) + $(t - 1) * ld)
        sum = accumulate ? load(Val(L), p, $(m(v))) + $(acc(v, t)) : $(acc(v, t))
        store(sum, p, $(m(v)))
    end
    stores = [
        quote
            if $t <= width
                $([store_sum(v, t) for v = 1:V]...)
            end
        end for t = 1:T
    ]
    return quote
        $(Expr(:meta, :noinline))
        $(each((v, t) -> :($(acc(v, t)) = zero(Vec{L,Float32})))...)
        for _ = 1:samples
            for i = 1:npixels
                xp = at(x, unsafe_load(xoffsets, i))
                dp = at(dy, unsafe_load(yoffsets, i))
                $(loads...)
                $(steps...)
            end
            x = at(x, xstride)
            dy = at(dy, ystride)
        end
        $(stores...)
        return nothing
    end
end
