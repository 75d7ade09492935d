# LayerNorm over the features of each column: of a sample, or of a time step.

"`y = λ(γ·x̂ + β)`, x̂ normalised over its column; offsets as in [`BatchNormOp`](@ref). `saved` holds each column's mean and 1/σ."
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
end

function shape_after(l::LayerNorm, s::Shape)
    s.kind in (:features, :sequence) || unsupported("LayerNorm takes features (F) and sequences (F, T)")
    l.size == (s.C,) || unsupported("it normalises $(l.size), and $(s.C) features reach it")
    return s
end

parts(l::LayerNorm) = l.λ isa FROM_OUTPUT ? (l,) :
    (LayerNorm(identity, without_activation(l.diag), l.ϵ, l.size, l.affine), Activation(l.λ))
without_activation(d::Flux.Scale) = Flux.Scale(d.scale, d.bias, identity)
without_activation(d) = identity

function build(l::LayerNorm, b::Builder, s::Shape, x, dx, y, dy)
    order = s.flat === nothing ? nothing : Order(s.flat, (), (3, 1, 2))
    offset(a) = a isa AbstractArray ? parameter!(b, a, order) : -1
    γ, β = l.affine ? (offset(l.diag.scale), offset(l.diag.bias)) : (-1, -1)
    return LayerNormOp(l.λ, x, dx, y, dy, β, γ, workspace!(b, 2 * pixels(x) * b.maxbatch), variance_offset(l.ϵ))
end

"What Flux adds to the variance: found by asking it, since its versions differ in ϵ and ϵ²."
function variance_offset(ϵ)
    scale = 1 / maximum(Flux.normalise(Float64[-1, 1]; dims = 1, eps = 1.0))
    return Float32(scale ≈ sqrt(2) ? ϵ^2 : unsupported("this version of Flux normalises in a way unknown here"))
end

function forward!(o::LayerNormOp, p::Pass, lo, hi)
    C = o.x.C
    for k in 0:columns(o.x, hi - lo + 1)-1
        x, y = at(address(p, o.x, lo), k * C), at(address(p, o.y, lo), k * C)
        m = total((v, _) -> v, x, C, 0.0f0) / C
        scale = 1.0f0 / sqrt(total((v, m) -> (v - m) * (v - m), x, C, m) / C + o.ϵ)
        unsafe_store!(p.arena, m, o.saved + 2k + 1)
        unsafe_store!(p.arena, scale, o.saved + 2k + 2)
        each_vector(Val(16), C) do i, width, mask
            γ, β = affine(o, p, i, width, mask)
            store(activate(o.λ, muladd(γ, (load(width, at(x, i), mask) - m) * scale, β)), at(y, i), mask)
        end
    end
end

@inline function affine(o::LayerNormOp, p, i, width::Val{L}, mask) where {L}
    return (o.γ < 0 ? Vec{L,Float32}(1.0f0) : load(width, at(p.w, o.γ + i), mask),
            o.β < 0 ? zero(Vec{L,Float32}) : load(width, at(p.w, o.β + i), mask))
end

"The sum of `f(x, m)` over `n` values."
@inline function total(f::F, x::Ptr32, n, m) where {F}
    sum = 0.0f0
    @simd for i in 1:n
        sum += f(unsafe_load(x, i), m)
    end
    return sum
end

function backward!(o::LayerNormOp, p::Pass, lo, hi)
    o.dy === nothing && return
    C = o.x.C
    o.γ < 0 || zeros!(at(p.g, o.γ), C)
    o.β < 0 || zeros!(at(p.g, o.β), C)
    for k in 0:columns(o.x, hi - lo + 1)-1
        x, y, dy = at(address(p, o.x, lo), k * C), at(address(p, o.y, lo), k * C), at(address(p, o.dy, lo), k * C)
        m, scale = unsafe_load(p.arena, o.saved + 2k + 1), unsafe_load(p.arena, o.saved + 2k + 2)
        affine_back!(o, p, x, y, dy, m, scale)
        o.dx === nothing || column_back!(at(address(p, o.dx, lo), k * C), x, dy, C, m, scale)
    end
end

"Add to the gradients of γ and β; `dy` becomes the gradient of x̂."
function affine_back!(o::LayerNormOp, p, x, y, dy, m, scale)
    each_vector(Val(16), o.x.C) do i, width, mask
        d = pull(o.λ, load(width, at(y, i), mask), load(width, at(dy, i), mask))
        if o.γ >= 0
            to = at(p.g, o.γ + i)
            store(muladd(d, (load(width, at(x, i), mask) - m) * scale, load(width, to, mask)), to, mask)
        end
        if o.β >= 0
            to = at(p.g, o.β + i)
            store(load(width, to, mask) + d, to, mask)
        end
        store(d * first(affine(o, p, i, width, mask)), at(dy, i), mask)
    end
end

function column_back!(dx, x, dx̂, C, m, scale)
    mean = total((v, _) -> v, dx̂, C, 0.0f0) / C
    along = 0.0f0
    @simd for i in 1:C
        along += unsafe_load(dx̂, i) * (unsafe_load(x, i) - m)
    end
    along *= scale * scale / C
    @simd for i in 1:C
        unsafe_store!(dx, scale * (unsafe_load(dx̂, i) - mean - along * (unsafe_load(x, i) - m)), i)
    end
end
