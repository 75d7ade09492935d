# Attention: three projections of the same input side by side, joined head by head, and a
# projection behind them. Each head of each sample is a handful of small products.

"What joins queries, keys and values: the values, weighted by softmax(kᵀq/√d)."
struct Attend
    heads::Int
    causal::Bool
    dropout::Float64
end

function decompose(l::SelfAttention)
    (; nheads, attn_drop, q_proj, k_proj, v_proj, out_proj) = l.attention
    join = Attend(nheads, l.causal, attn_drop isa Dropout ? attn_drop.p : 0.0)
    projection(layer, name) = [NamedLayer(part, name) for part in decompose(layer)]
    return (
        Branches(
            join,
            [
                projection(q_proj, "the queries"),
                projection(k_proj, "the keys"),
                projection(v_proj, "the values")
            ]
        ),
        decompose(out_proj)...
    )
end

function join_shape(l::Attend, (q, k, v))
    l.dropout == 0 || unsupported("it has a dropout of its weights")
    q.kind === :sequence || unsupported("attention takes sequences (F, T)")
    q.C == k.C && q.C % l.heads == 0 && v.C % l.heads == 0 ||
        unsupported("queries, keys and values of $((q.C, k.C, v.C)) don't split in heads")
    return Shape(:sequence, v.C, v.W, 1)
end

"""
The products of one head over `T` steps, for vectors of `d` values, which are `stride`
floats apart: `T × T` numbers `scores` of two sequences of vectors, and vectors that `mix`
others by such numbers.
"""
struct HeadGemms
    d::Int
    stride::Int
    scores::Gemm
    mix::Gemm
end

head_gemms(cpu, d, stride, T) =
    HeadGemms(d, stride, Gemm(cpu, T, d, stride, T, T), Gemm(cpu, d, T, T, stride, T))

"""
    AttentionOp

`y = v·A` in each head, with A = softmax(kᵀq/√d) over the keys. `weights` (T, T, heads, N)
holds A; `slopes` (T, T) the gradient of a head's scores; `packed` a head's vectors as a
matrix, and `sums` gradients of that size.
"""
struct AttentionOp <: Operation
    q::Buffer
    k::Buffer
    v::Buffer
    dq::Buffer
    dk::Buffer
    dv::Buffer
    y::Buffer
    dy::Buffer
    heads::Int
    causal::Bool
    weights::Int
    slopes::Int
    packed::Int
    sums::Int
    keys::HeadGemms
    values::HeadGemms
    lengths::Vector{Int}
end

function make_join(l::Attend, b::Builder, ends, y, dy)
    (q, k, v), (dq, dk, dv) = getfield.(ends, :y), getfield.(ends, :dy)
    T, d, dv_size = q.W, q.C ÷ l.heads, v.C ÷ l.heads
    weights, slopes = workspace!(b, T * T * l.heads * b.maxbatch), workspace!(b, T * T)
    packed, sums = (workspace!(b, T * max(d, dv_size)) for _ = 1:2)
    return AttentionOp(
        q, k, v, dq, dk, dv, y, dy, l.heads, l.causal, weights, slopes, packed, sums,
        head_gemms(b.cpu, d, q.C, T), head_gemms(b.cpu, dv_size, v.C, T), b.lengths
    )
end

"The address of head `h` of sample `n` in a buffer of vectors."
head_at(p::Pass, b::Buffer, g::HeadGemms, n, h) = at(address(p, b, n), g.d * h)

"The address of the weights of head `h` of sample `n`."
weights(o::AttentionOp, p::Pass, n, h) =
    at(p.arena, o.weights + o.q.W^2 * (h + o.heads * n))

"Pack the vectors of a head into a matrix (d, T), and, for the scores, into (T, d)."
function pack!(g::HeadGemms, to::Ptr32, from::Ptr32, T)
    for t = 0:(T-1)
        unsafe_copyto!(at(to, g.d * t), at(from, g.stride * t), g.d)
    end
end
pack_transposed!(g::HeadGemms, to::Ptr32, from::Ptr32, T) =
    transpose!(to, T, from, g.stride, T, g.d)

"The way back: write a matrix (d, T) to the vectors of a head."
function unpack!(g::HeadGemms, to::Ptr32, from::Ptr32, T)
    for t = 0:(T-1)
        unsafe_copyto!(at(to, g.stride * t), at(from, g.d * t), g.d)
    end
end

function forward!(o::AttentionOp, p::Pass, lo, hi)
    (; keys, values) = o
    T, packed = o.q.W, at(p.arena, o.packed)
    for n = lo:hi, h = 0:(o.heads-1)
        A = weights(o, p, n, h)
        pack_transposed!(keys, packed, head_at(p, o.k, keys, n, h), T)
        gemm!(identity, keys.scores, A, packed, head_at(p, o.q, keys, n, h), T)
        for t = 0:(T-1)
            softmax!(at(A, T * t), 1 / sqrt(Float32(keys.d)), seen(o, n, t), T)
        end
        pack!(values, packed, head_at(p, o.v, values, n, h), T)
        gemm!(identity, values.mix, head_at(p, o.y, values, n, h), packed, A, T)
    end
end

"The number of steps that step `t` of sample `n` (from 0) sees."
function seen(o::AttentionOp, n, t)
    real = real_length(o.lengths, n, o.q.W)
    return o.causal ? min(t + 1, real) : real
end

"Softmax of the first `n` of `T` values times `scale`, in place; zero for the others."
function softmax!(a::Ptr32, scale, n, T)
    top = largest_logit(a, n)
    each_vector(Val(16), n) do i, width, mask
        store(fastexp(scale * (load(width, at(a, i), mask) - top)), at(a, i), mask)
    end
    sum = lane_total((v, _) -> v, a, n, 0.0f0)
    multiply!(a, n, 1.0f0 / sum)
    zeros!(at(a, n), T - n)
end

function backward!(o::AttentionOp, p::Pass, lo, hi)
    (; keys, values) = o
    T, packed, sums = o.q.W, at(p.arena, o.packed), at(p.arena, o.sums)
    dS = at(p.arena, o.slopes)
    for n = lo:hi, h = 0:(o.heads-1)
        A, dy = weights(o, p, n, h), head_at(p, o.dy, values, n, h)
        pack_transposed!(values, packed, head_at(p, o.v, values, n, h), T)
        gemm!(identity, values.scores, dS, packed, dy, T)
        gemm_weight_gradient!(values.mix, sums, dy, A, T)
        unpack!(values, head_at(p, o.dv, values, n, h), sums, T)
        for t = 0:(T-1)
            softmax_gradient!(at(dS, T * t), at(A, T * t), 1 / sqrt(Float32(keys.d)), T)
        end
        q, k = head_at(p, o.q, keys, n, h), head_at(p, o.k, keys, n, h)
        pack!(keys, packed, k, T)
        gemm!(identity, keys.mix, head_at(p, o.dq, keys, n, h), packed, dS, T)
        gemm_weight_gradient!(keys.mix, sums, q, dS, T)
        unpack!(keys, head_at(p, o.dk, keys, n, h), sums, T)
    end
end

function inner_product(a::Ptr32, b::Ptr32, n)
    sum = 0.0f0
    @simd for i = 1:n
        sum += unsafe_load(a, i) * unsafe_load(b, i)
    end
    return sum
end

"The gradient of the scores from that of their softmax `a`, in place."
function softmax_gradient!(da::Ptr32, a::Ptr32, scale, T)
    along = inner_product(da, a, T)
    each_vector(Val(16), T) do i, width, mask
        d = load(width, at(da, i), mask) - along
        store(scale * load(width, at(a, i), mask) * d, at(da, i), mask)
    end
end
