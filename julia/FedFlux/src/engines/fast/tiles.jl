# The two inner loops of convolutions and matrix products, over register tiles: output channels on the lanes, the other operand
# broadcast. They are not inlined: the tile fills the registers, and the caller's values would push it out of them.

"A piece of the sum for one output: `len` consecutive inputs from offset `at` on. Weights follow in the same order."
struct Run
    at::Int32
    len::Int32
end

"""
    tile!(σ, Val(L), Val(V), Val(T), mask, y, x, pin, pout, from, stop, runs, nruns, w, ld, bias, opens, closes)

V·L channels of T pixels: `y[:, t] = σ(bias + Σ w[:, k]·x[k, t])`, k over the `runs`, consecutive k being `ld` floats apart in
`w`. Pixel `from + t` lies at the offsets `pin` in x and `pout` in y; those from `stop` on repeat the last one. A sum in
several parts begins with one that `opens` and ends with one that `closes`.
"""
@generated function tile!(σ::F, ::Val{L}, ::Val{V}, ::Val{T}, mask, y::Ptr32, x::Ptr32, pin::Ptr{Int32}, pout::Ptr{Int32},
                          from::Int, stop::Int, runs::Ptr{Run}, nruns::Int, w::Ptr32, ld::Int, bias::Ptr32, opens::Bool,
                          closes::Bool) where {F,L,V,T}
    acc(v, t) = Symbol(:acc, v, :_, t)
    xs = [Symbol(:x, t) for t in 1:T]
    m(v) = mask === Nothing ? nothing : :(mask[$v])
    pixel(t) = :(min(from + $(t - 1), stop - 1) + 1)
    inputs = [:($(xs[t]) = at(x, unsafe_load(pin, $(pixel(t))))) for t in 1:T]
    outputs = [:($(Symbol(:y, t)) = at(y, unsafe_load(pout, $(pixel(t))))) for t in 1:T]
    weights = [:($(Symbol(:w, v)) = load(Val(L), at(w, $(L * (v - 1))), $(m(v)))) for v in 1:V]
    biases = [:($(Symbol(:b, v)) = bias == C_NULL ? zeros_in(Val(L)) : load(Val(L), at(bias, $(L * (v - 1))), $(m(v)))) for v in 1:V]
    each(f) = [f(v, t) for t in 1:T for v in 1:V]
    where_y(v, t) = :(at($(Symbol(:y, t)), $(L * (v - 1))))
    steps = [quote
        b = Vec{L,Float32}(unsafe_load(at($(xs[t]), k)))
        $([:($(acc(v, t)) = muladd($(Symbol(:w, v)), b, $(acc(v, t)))) for v in 1:V]...)
    end for t in 1:T]
    return quote
        $(Expr(:meta, :noinline))
        if opens
            $(biases...)
            $(each((v, t) -> :($(acc(v, t)) = $(Symbol(:b, v))))...)
        else
            $(outputs...)
            $(each((v, t) -> :($(acc(v, t)) = load(Val(L), $(where_y(v, t)), $(m(v)))))...)
        end
        $(inputs...)
        for r in 1:nruns
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
        if closes
            $(each((v, t) -> :(store(activate(σ, $(acc(v, t))), $(where_y(v, t)), $(m(v)))))...)
        else
            $(each((v, t) -> :(store($(acc(v, t)), $(where_y(v, t)), $(m(v)))))...)
        end
        return nothing
    end
end

"""
    outer_tile!(Val(L), Val(V), Val(T), mask, dw, ld, dy, x, pin, pout, npixels, images, dyimage, ximage, width, adds)

The gradient of V·L channels × T weights: `dw[:, k] = Σ dy[:, pixel]·x[k, pixel]` over `npixels` pixels of `images` samples,
the first `width` of the T columns stored, added to what is there if `adds`. x is read up to T floats a pixel.
"""
@generated function outer_tile!(::Val{L}, ::Val{V}, ::Val{T}, mask, dw::Ptr32, ld::Int, dy::Ptr32, x::Ptr32, pin::Ptr{Int32},
                                pout::Ptr{Int32}, npixels::Int, images::Int, dyimage::Int, ximage::Int, width::Int,
                                adds::Bool) where {L,V,T}
    acc(v, t) = Symbol(:acc, v, :_, t)
    m(v) = mask === Nothing ? nothing : :(mask[$v])
    each(f) = [f(v, t) for t in 1:T for v in 1:V]
    steps = [quote
        b = Vec{L,Float32}(unsafe_load(at(xp, $(t - 1))))
        $([:($(acc(v, t)) = muladd($(Symbol(:d, v)), b, $(acc(v, t)))) for v in 1:V]...)
    end for t in 1:T]
    stores = [quote
        if $t <= width
            $([quote
                p = at(dw, $(L * (v - 1)) + $(t - 1) * ld)
                store(adds ? load(Val(L), p, $(m(v))) + $(acc(v, t)) : $(acc(v, t)), p, $(m(v)))
            end for v in 1:V]...)
        end
    end for t in 1:T]
    return quote
        $(Expr(:meta, :noinline))
        $(each((v, t) -> :($(acc(v, t)) = zero(Vec{L,Float32})))...)
        for _ in 1:images
            for i in 1:npixels
                xp = at(x, unsafe_load(pin, i))
                dp = at(dy, unsafe_load(pout, i))
                $([:($(Symbol(:d, v)) = load(Val(L), at(dp, $(L * (v - 1))), $(m(v)))) for v in 1:V]...)
                $(steps...)
            end
            x = at(x, ximage)
            dy = at(dy, dyimage)
        end
        $(stores...)
        return nothing
    end
end
