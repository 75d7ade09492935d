# LayerNorm, over the features of each column: a sample, or a time step of a sample.

"""
    LayerNormOp

`y = λ(γ·x̂ + β)` with x̂ normalized over its column. Offsets are as in
[`BatchNormOp`](@ref). `saved` holds the mean and 1/σ of each column.
"""
struct LayerNormOp{S,DX,DY} <: Operation
    λ::S
    x::Buffer
    dx::DX
    y::Buffer
    dy::DY
    β::Int
    γ::Int
    saved::Int
    ϵ::Float32
    scales::ExampleValues
    shifts::ExampleValues
end

function output_shape(l::LayerNorm, s::Shape)
    s.kind in (:features, :sequence) ||
        unsupported("LayerNorm takes features (F) and sequences (F, T)")
    l.size == (s.C,) ||
        unsupported("it normalizes over $(l.size), but its input has $(s.C) features")
    return s
end

function decompose(l::LayerNorm)
    l.λ isa FROM_OUTPUT && return (l,)
    linear = LayerNorm(identity, without_activation(l.diag), l.ϵ, l.size, l.affine)
    return (linear, Activation(l.λ))
end

without_activation(d::Flux.Scale) = Flux.Scale(d.scale, d.bias, identity)
without_activation(d) = identity

function make_operation(l::LayerNorm, b::Builder, s::Shape, x, dx, y, dy)
    order = s.flat === nothing ? nothing : Order(s.flat, (), (3, 1, 2))
    offset(a) = a isa AbstractArray ? parameter!(b, a, order) : -1
    γ, β = l.affine ? (offset(l.diag.scale), offset(l.diag.bias)) : (-1, -1)
    saved = workspace!(b, 2 * pixels(x) * b.maxbatch)
    scales, shifts = ExampleValues(b, γ < 0 ? 0 : s.C), ExampleValues(b, β < 0 ? 0 : s.C)
    return LayerNormOp(
        l.λ, x, dx, y, dy, β, γ, saved, variance_offset(l.ϵ), scales, shifts
    )
end

"The value that Flux adds to the variance, ϵ². Throws for a Flux that does otherwise."
function variance_offset(ϵ)
    scale = 1 / maximum(Flux.normalise(Float64[-1, 1]; dims = 1, eps = 1.0))
    scale ≈ sqrt(2) || unsupported("this version of Flux normalizes in an unknown way")
    return Float32(ϵ^2)
end

function forward!(o::LayerNormOp, p::Pass, lo, hi)
    C = o.x.C
    for k = 0:(columns(o.x, hi-lo+1)-1)
        x, y = at(address(p, o.x, lo), k * C), at(address(p, o.y, lo), k * C)
        m = lane_total((v, _) -> v, x, C, 0.0f0) / C
        scale = 1.0f0 / sqrt(lane_total((v, m) -> (v - m) * (v - m), x, C, m) / C + o.ϵ)
        unsafe_store!(p.arena, m, o.saved + 2k + 1)
        unsafe_store!(p.arena, scale, o.saved + 2k + 2)
        each_vector(Val(16), C) do i, width, mask
            γ, β = affine(o, p, i, width, mask)
            x̂ = (load(width, at(x, i), mask) - m) * scale
            store(activate(o.λ, muladd(γ, x̂, β)), at(y, i), mask)
        end
    end
end

"The vectors of γ and β from feature or channel `i` on."
@inline function affine(o, p, i, width::Val{L}, mask) where {L}
    γ = o.γ < 0 ? Vec{L,Float32}(1.0f0) : load(width, at(p.w, o.γ + i), mask)
    β = o.β < 0 ? zero(Vec{L,Float32}) : load(width, at(p.w, o.β + i), mask)
    return γ, β
end

"The sum of `f(x, m)` over `n` values."
@inline function lane_total(f::F, x::Ptr32, n, m) where {F}
    sum = 0.0f0
    @simd for i = 1:n
        sum += f(unsafe_load(x, i), m)
    end
    return sum
end

backward!(o::LayerNormOp, p::Pass, lo, hi) =
    layernorm_backward!(o, p, lo, hi, at(p.g, o.γ), at(p.g, o.β))

"The backward pass, with the gradients of γ and β, if there are some, at `dγ` and `dβ`."
function layernorm_backward!(o::LayerNormOp, p::Pass, lo, hi, dγ, dβ)
    o.dy === nothing && return
    C, T = o.x.C, pixels(o.x)
    o.γ < 0 || zeros!(dγ, C)
    o.β < 0 || zeros!(dβ, C)
    for k = (lo*T):((hi+1)*T-1)
        x, y = at(address(p, o.x), k * C), at(address(p, o.y), k * C)
        dy = at(address(p, o.dy), k * C)
        m = unsafe_load(p.arena, o.saved + 2k + 1)
        scale = unsafe_load(p.arena, o.saved + 2k + 2)
        affine_backward!(o, p, x, y, dy, m, scale, dγ, dβ)
        o.dx === nothing ||
            column_gradient!(at(address(p, o.dx), k * C), x, dy, C, m, scale)
    end
end

"Add to the gradients of γ and β, and replace `dy` with the gradient of x̂."
function affine_backward!(o::LayerNormOp, p, x, y, dy, m, scale, dγ, dβ)
    each_vector(Val(16), o.x.C) do i, width, mask
        d = backprop(o.λ, load(width, at(y, i), mask), load(width, at(dy, i), mask))
        if o.γ >= 0
            to = at(dγ, i)
            x̂ = (load(width, at(x, i), mask) - m) * scale
            store(muladd(d, x̂, load(width, to, mask)), to, mask)
        end
        if o.β >= 0
            to = at(dβ, i)
            store(load(width, to, mask) + d, to, mask)
        end
        store(d * first(affine(o, p, i, width, mask)), at(dy, i), mask)
    end
end

"The gradient of a column from that of x̂."
function column_gradient!(dx, x, dx̂, C, m, scale)
    mean = lane_total((v, _) -> v, dx̂, C, 0.0f0) / C
    along = 0.0f0
    @simd for i = 1:C
        along += unsafe_load(dx̂, i) * (unsafe_load(x, i) - m)
    end
    along *= scale * scale / C
    @simd for i = 1:C
        d = unsafe_load(dx̂, i) - mean - along * (unsafe_load(x, i) - m)
        unsafe_store!(dx, scale * d, i)
    end
end
