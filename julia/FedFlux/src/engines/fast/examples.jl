# Clipped gradients of single examples: Abadi et al., Deep Learning with Differential
# Privacy, arXiv:1607.00133, Algorithm 1, without a gradient vector for each example.

"""
    backpropagate!(o, p, lo, hi)

The backward pass of an operation for clipped gradients: as `backward!`, but the gradients
of the parameters are not summed. Those that are cheap are kept for each example.
"""
backpropagate!(o::Operation, p::Pass, lo, hi) = backward!(o, p, lo, hi)

"""
    example_norm!(o, p, n) -> Float64

The squared norm of the gradient of the operation's parameters for example `n`, after
`backpropagate!`. May write to their place in `p.g`.
"""
example_norm!(::Operation, p::Pass, n) = 0.0

"""
Multiply by `factor` what the gradient of example `n` is computed from, if it isn't kept.
"""
scale_example!(::Operation, p::Pass, n, factor) = nothing

"""
    sum_examples!(o, p, factors, lo, hi, accumulate)

Sum the gradients of the examples lo:hi, times their factors, into `p.g`; added to what is
there if `accumulate`.
"""
sum_examples!(::Operation, p::Pass, factors, lo, hi, accumulate) = nothing

"Throw for an operation that mixes the examples of a batch."
check_separate(::Operation) = nothing
check_separate(::BatchNormOp) = unsupported(BATCHNORM_MIXES)

# Dense and Conv

const Affine = Union{DenseOp,ConvOp}

function backpropagate!(o::Affine, p::Pass, lo, hi)
    for n = lo:hi
        db = o.b < 0 ? Ptr32(C_NULL) : address(p, o.biases, n)
        epilogue_backward!(o.σ, p, o.y, o.dy, db, n, n, false)
    end
    input_gradient!(o, p, lo, hi)
end

input_gradient!(o::DenseOp, p, lo, hi) = dense_input_gradient!(o, p, lo, hi)
input_gradient!(o::ConvOp, p, lo, hi) =
    o.dx === nothing ? nothing : conv_input_gradient!(o, p, lo, hi)

function example_norm!(o::Affine, p::Pass, n)
    dw = iskept(o.examples) ? address(p, o.examples.values, n) : at(p.g, o.w)
    return weight_norm!(o, p, n, dw) +
           sum_of_squares(address(p, o.biases, n), o.biases.size)
end

function weight_norm!(o::DenseOp, p::Pass, n, dw)
    (; gemm) = o
    return outer_norm!(
        dw, o.examples, gemm.gradient_tiling, gemm.whole, address(p, o.dy, n),
        address(p, o.x, n), gemm.forward.yoffsets, gemm.forward.xoffsets
    )
end

function weight_norm!(o::ConvOp, p::Pass, n, dw)
    cin, cout = group_channels(o)
    total = 0.0
    for g = 0:(o.groups-1)
        total += outer_norm!(
            at(dw, g * o.examples.K * cout), o.examples, o.gradient_tiling,
            o.forward.runs,
            at(address(p, o.dy, n), g * cout), at(address(p, o.x, n), g * cin),
            o.dyoffsets, o.forward.xoffsets
        )
    end
    return total
end

function scale_example!(o::Affine, p::Pass, n, factor)
    iskept(o.examples) || scale_values!(address(p, o.dy, n), factor, sample_stride(o.dy))
    return nothing
end

function sum_examples!(o::Affine, p::Pass, factors, lo, hi, accumulate)
    o.b < 0 || weighted_sum!(at(p.g, o.b), p, o.biases, factors, lo, hi, accumulate)
    if iskept(o.examples)
        weighted_sum!(at(p.g, o.w), p, o.examples.values, factors, lo, hi, accumulate)
    else
        weight_gradient!(o, p, lo, hi, accumulate)
    end
    return nothing
end

weight_gradient!(o::ConvOp, p, lo, hi, accumulate) =
    conv_weight_gradient!(o, p, lo, hi, accumulate)

function weight_gradient!(o::DenseOp, p, lo, hi, accumulate)
    n, dw = columns(o.x, hi - lo + 1), at(p.g, o.w)
    dy, x = address(p, o.dy, lo), address(p, o.x, lo)
    gemm_weight_gradient!(o.gemm, dw, dy, x, n; accumulate)
end

# Layers that keep the gradients of all their parameters for each example.
# `kept_gradients` has the offset of each parameter array (-1: none) and its room.

const Keeping = Union{LayerNormOp,GroupNormOp,DepthwiseOp}

kept_gradients(o::Union{LayerNormOp,GroupNormOp}) = ((o.γ, o.scales), (o.β, o.shifts))
kept_gradients(o::DepthwiseOp) = ((o.w, o.weights), (o.b, o.biases))

example_norm!(o::Keeping, p::Pass, n) =
    sum(((_, v),) -> sum_of_squares(address(p, v, n), v.size), kept_gradients(o))

function sum_examples!(o::Keeping, p::Pass, factors, lo, hi, accumulate)
    for (offset, v) in kept_gradients(o)
        offset < 0 || weighted_sum!(at(p.g, offset), p, v, factors, lo, hi, accumulate)
    end
    return nothing
end

function backpropagate!(o::LayerNormOp, p::Pass, lo, hi)
    for n = lo:hi
        layernorm_backward!(o, p, n, n, address(p, o.scales, n), address(p, o.shifts, n))
    end
end

function backpropagate!(o::GroupNormOp, p::Pass, lo, hi)
    sums = at(p.arena, o.sums)
    for n = lo:hi
        dγ, dβ = sums, at(sums, o.x.C)
        sample_gradient!(o, p, n, dγ, dβ)
        unsafe_copyto!(address(p, o.scales, n), dγ, o.scales.size)
        unsafe_copyto!(address(p, o.shifts, n), dβ, o.shifts.size)
        sample_input_gradient!(o, p, n, dγ, dβ)
    end
end

# Embedding

backpropagate!(::EmbeddingOp, p::Pass, lo, hi) = nothing

# Each token's column of the gradient gets the sum over its occurrences. It counts once: it
# is zero when the token occurs again.
function example_norm!(o::EmbeddingOp, p::Pass, n)
    each_token((column, i) -> zeros!(at(p.g, o.w + column), o.y.C), o, p, n, n)
    each_token(o, p, n, n) do column, i
        add_values!(at(p.g, o.w + column), at(address(p, o.dy), o.y.C * i), o.y.C)
    end
    total = 0.0
    tokens = Ptr{Int32}(address(p, o.x))
    for i = (n*o.x.W):((n+1)*o.x.W-1)
        d = at(p.g, o.w + o.y.C * (Int(unsafe_load(tokens, i + 1)) - 1))
        total += sum_of_squares(d, o.y.C)
        zeros!(d, o.y.C)
    end
    return total
end

scale_example!(o::EmbeddingOp, p::Pass, n, factor) =
    scale_values!(address(p, o.dy, n), factor, sample_stride(o.dy))

sum_examples!(o::EmbeddingOp, p::Pass, factors, lo, hi, accumulate) =
    embedding_gradient!(o, p, lo, hi, accumulate)

# Recurrent layers: the same weights in every time step, so that a weight's gradient is the
# sum over the steps.

function backpropagate!(o::RecurrentOp, p::Pass, lo, hi)
    rows, T = ngates(o.cell) * o.y.C, o.y.W
    pack_states!(o, p)
    each_block(lo, hi) do from, to
        backward_block!(o, p, from, to)
        project_inputs!(o.inputs, p, gates(o, p, from), from, T * (to - from + 1))
    end
    for n = lo:hi
        state_bias_gradient!(o, p, address(p, o.state_biases, n), n, T, false)
        o.b < 0 || sum_columns!(address(p, o.biases, n), gates(o, p, n), rows, T, false)
    end
end

function example_norm!(o::RecurrentOp, p::Pass, n)
    (; gradient_tiling, whole, forward) = o.full_gemm
    recurrent = outer_norm!(
        at(p.g, o.wh), o.examples, gradient_tiling, whole, states(o, p, n),
        hidden(o, p, n), forward.yoffsets, forward.xoffsets
    )
    return recurrent + projection_norm!(o.inputs, p, gates(o, p, n), n) +
           sum_of_squares(address(p, o.biases, n), o.biases.size) +
           sum_of_squares(address(p, o.state_biases, n), o.state_biases.size)
end

function scale_example!(o::RecurrentOp, p::Pass, n, factor)
    size = ngates(o.cell) * o.y.C * o.y.W
    scale_values!(gates(o, p, n), factor, size)
    separate_states(o.cell) && scale_values!(states(o, p, n), factor, size)
    return nothing
end

function sum_examples!(o::RecurrentOp, p::Pass, factors, lo, hi, accumulate)
    o.b < 0 || weighted_sum!(at(p.g, o.b), p, o.biases, factors, lo, hi, accumulate)
    o.c < 0 ||
        weighted_sum!(at(p.g, o.c), p, o.state_biases, factors, lo, hi, accumulate)
    each_block(lo, hi) do from, to
        add = accumulate || from > lo
        recurrent_weight_gradient!(o, p, from, to, add, Ptr32(C_NULL))
    end
    finish!(o.inputs, p, Ptr32(C_NULL))
end

function projection_norm!(s::FeatureProjection, p::Pass, gates, n)
    (; gradient_tiling, whole, forward) = s.gemm
    return outer_norm!(
        at(p.g, s.wi), s.examples, gradient_tiling, whole, gates,
        address(p, s.x, n), forward.yoffsets, forward.xoffsets
    )
end

# The weights of the projection have the tokens' columns of the embedding as inputs. The
# embedding gets the gradient of its own outputs, summed over the occurrences of a token.
function projection_norm!(s::TokenProjection, p::Pass, gates, n)
    tokens, T, E = Ptr{Int32}(address(p, s.x, n)), s.x.W, s.gemm.K
    for t = 1:T
        s.xoffsets[t] = E * (unsafe_load(tokens, t) - 1)
    end
    weights = outer_norm!(
        at(p.g, s.wi), s.examples, s.gemm.gradient_tiling, s.gemm.whole, gates,
        at(p.w, s.embedding), s.yoffsets, s.xoffsets
    )
    different = sum_by_token!(s, p, gates, tokens, T)
    dx, packed, sums = at(p.g, s.embedding), at(p.arena, s.packed), at(p.arena, s.table)
    gemm_input_gradient!(s.gemm, dx, at(p.w, s.wi), sums, different, packed)
    return weights + sum_of_squares(dx, E * different)
end

"""
Sum the gates of each different token into the first columns of the table; returns their
number.
"""
function sum_by_token!(s::TokenProjection, p::Pass, gates, tokens, T)
    rows, different = s.gemm.M, 0
    for t = 1:T
        token, column = unsafe_load(tokens, t), at(gates, rows * (t - 1))
        if s.places[token] == 0
            different += 1
            s.places[token] = different
            unsafe_copyto!(at(p.arena, s.table + rows * (different - 1)), column, rows)
        else
            sum = at(p.arena, s.table + rows * (s.places[token] - 1))
            add_values!(sum, column, rows)
        end
    end
    for t = 1:T
        s.places[unsafe_load(tokens, t)] = 0
    end
    return different
end
