# RNN, LSTM and GRU over (F, T, N). One GEMM computes the input projections of all time
# steps; only the hidden state's projection goes step by step.

"What differs between the cells; cells.jl has the methods of these functions."
abstract type Cell end

function ngates end
function nmemory end
function separate_states end
function cell_forward! end
function cell_backward! end

# How the input is projected; projections.jl has the methods.
function feature_projection end
function prepare! end
function project! end
function project_weights! end
function project_inputs! end
function finish! end

"""
    RecurrentOp

A recurrent layer with H hidden values and k gates. Its workspace:

- `gates` (kH, T, N): the input projections, then the gates, then their gradient;
- `hidden` (H, T, N): the hidden state at the start of each step;
- `memory` (mH, T, N): what else the cell needs in the backward pass;
- `states` (kH, T, N): the hidden state's projections, then their gradient. Shares its
  memory with `gates` unless the cell keeps the two apart;
- `carry` (2H, N): the gradients that go back in time;
- `packed`: `wh`, transposed.
"""
struct RecurrentOp{C<:Cell,I} <: Operation
    cell::C
    inputs::I        # the input projection; see projections.jl
    y::Buffer
    dy::Buffer
    wh::Int
    b::Int           # -1: no bias
    c::Int           # of a bias of the hidden state's projection; -1: none
    gates::Int
    hidden::Int
    memory::Int
    states::Int
    carry::Int
    packed::Int
    step_gemm::Gemm  # wh, for one time step
    back_gemm::Gemm  # its transpose, for one time step
    full_gemm::Gemm  # wh, for all time steps
    examples::ExampleWeights
    biases::ExampleValues
    state_biases::ExampleValues
end

const Recurrent = Union{RNN,LSTM,GRU}

function output_shape(l::Recurrent, s::Shape)
    s.kind === :sequence || unsupported("only sequences (F, T) are supported")
    returns_state(l) && unsupported("it also returns its state (return_state = true)")
    Cell(l.cell)
    size(l.cell.Wi, 2) == s.C ||
        unsupported("it takes $(size(l.cell.Wi, 2)) features, but its input has $(s.C)")
    return Shape(:sequence, size(l.cell.Wh, 2), s.W, 1)
end

returns_state(::Union{RNN{S},LSTM{S},GRU{S}}) where {S} = S

function make_operation(l::Recurrent, b::Builder, s::Shape, x, dx, y, dy)
    rows = ngates(Cell(l.cell)) * y.C
    columns = y.W * min(b.maxbatch, SAMPLE_BLOCK)
    return build_recurrent(l, b, feature_projection(l, b, x, dx, rows, columns), y, dy)
end

function build_recurrent(l, b::Builder, inputs, y, dy)
    cell, H, T, N = Cell(l.cell), y.C, y.W, b.maxbatch
    k = ngates(cell)
    wh = parameter!(b, l.cell.Wh)
    separate = separate_states(cell) ? workspace!(b, k * H * T * N) : 0
    gates = workspace!(b, k * H * T * N)
    states = separate_states(cell) ? separate : gates
    block = min(N, SAMPLE_BLOCK)
    cell_b = cell_bias(l.cell)
    bias = cell_b isa AbstractArray ? parameter!(b, cell_b) : -1
    state_bias = hasproperty(l.cell, :c) ? parameter!(b, l.cell.c) : -1
    hidden = workspace!(b, H * T * N)
    memory = workspace!(b, nmemory(cell) * H * T * N)
    carry = workspace!(b, 2 * H * N)
    packed = workspace!(b, k * H * H)
    step_gemm = Gemm(b.cpu, k * H, H, H * T, k * H * T, block)
    back_gemm = Gemm(b.cpu, H, k * H, k * H * T, 2 * H, block)
    full_gemm = Gemm(b.cpu, k * H, H, H, k * H, T * block)
    return RecurrentOp(
        cell, inputs, y, dy, wh, bias, state_bias, gates, hidden, memory, states, carry,
        packed,
        step_gemm, back_gemm, full_gemm, ExampleWeights(b, H, k * H, T; keep = false),
        ExampleValues(b, bias < 0 ? 0 : k * H), ExampleValues(b, state_bias < 0 ? 0 : H)
    )
end

cell_bias(c) = hasproperty(c, :bias) ? c.bias : c.b

"The address of the bias in the parameters or in their gradient; null if there is none."
@inline bias(o::RecurrentOp, v::Ptr32) = o.b < 0 ? Ptr32(C_NULL) : at(v, o.b)

"The address of step `t` of sample `n` (from 0) in a (rows, T, N) array of the workspace."
@inline function step_at(o::RecurrentOp, p::Pass, from, rows, t, n)
    return at(p.arena, from + rows * (t + o.y.W * n))
end

# Samples that go through all time steps together: enough to fill the register tiles, and
# few enough to stay in the cache.
const SAMPLE_BLOCK = 16

function forward!(o::RecurrentOp, p::Pass, lo, hi)
    prepare!(o.inputs, p, bias(o, p.w))
    for first = lo:SAMPLE_BLOCK:hi
        forward_block!(o, p, first, min(first + SAMPLE_BLOCK - 1, hi))
    end
end

function forward_block!(o::RecurrentOp, p::Pass, lo, hi)
    H, T, N = o.y.C, o.y.W, hi - lo + 1
    k = ngates(o.cell) * H
    project!(o.inputs, p, step_at(o, p, o.gates, k, 0, lo), lo, T * N, bias(o, p.w))
    separate_states(o.cell) && begin_states!(o, p, lo, T * N)
    for t = 0:(T-1)
        if t > 0
            states = step_at(o, p, o.states, k, t, lo)
            hidden = step_at(o, p, o.hidden, H, t, lo)
            wh = at(p.w, o.wh)
            gemm!(identity, o.step_gemm, states, wh, hidden, N; accumulate = true)
        end
        for n = lo:hi
            t == 0 && zeros!(step_at(o, p, o.hidden, H, 0, n), H)
            cell_forward!(o.cell, o, p, t, n)
            if t < T - 1
                h = at(address(p, o.y, n), H * t)
                unsafe_copyto!(step_at(o, p, o.hidden, H, t + 1, n), h, H)
            end
        end
    end
end

"""
Let the hidden state's projections of `n` steps begin with their bias, which only PyTorch's
GRU has, for the candidate, or with zero.
"""
function begin_states!(o::RecurrentOp, p::Pass, lo, n)
    H, k = o.y.C, ngates(o.cell) * o.y.C
    zeros!(states(o, p, lo), k * n)
    o.c < 0 && return
    for i = 0:(n-1)
        unsafe_copyto!(at(states(o, p, lo), k * (i + 1) - H), at(p.w, o.c), H)
    end
end

"The gradient of that bias at `dc`, from `n` steps; added to what is there if `accumulate`."
function state_bias_gradient!(o::RecurrentOp, p::Pass, dc, lo, n, accumulate)
    o.c < 0 && return
    H, k = o.y.C, ngates(o.cell) * o.y.C
    sum_columns!(dc, at(states(o, p, lo), k - H), H, n, accumulate; stride = k)
end

function backward!(o::RecurrentOp, p::Pass, lo, hi)
    pack_states!(o, p)
    each_block(lo, hi) do from, to
        backward_block!(o, p, from, to)
        recurrent_weight_gradient!(o, p, from, to, from > lo, bias(o, p.g))
        n = o.y.W * (to - from + 1)
        state_bias_gradient!(o, p, at(p.g, o.c), from, n, from > lo)
        project_inputs!(o.inputs, p, gates(o, p, from), from, o.y.W * (to - from + 1))
    end
    finish!(o.inputs, p, bias(o, p.g))
end

"Call `f(from, to)` for each block of the samples lo:hi."
@inline function each_block(f::F, lo, hi) where {F}
    for from = lo:SAMPLE_BLOCK:hi
        f(from, min(from + SAMPLE_BLOCK - 1, hi))
    end
end

"Pack `wh`, transposed, for the backward pass."
function pack_states!(o::RecurrentOp, p::Pass)
    H, k = o.y.C, ngates(o.cell) * o.y.C
    transpose!(at(p.arena, o.packed), H, at(p.w, o.wh), k, H, k)
end

"The address of sample `n`'s gates, of its hidden state's projections, of its hidden state."
gates(o::RecurrentOp, p, n) = step_at(o, p, o.gates, ngates(o.cell) * o.y.C, 0, n)
states(o::RecurrentOp, p, n) = step_at(o, p, o.states, ngates(o.cell) * o.y.C, 0, n)
hidden(o::RecurrentOp, p, n) = step_at(o, p, o.hidden, o.y.C, 0, n)

"The gradients of the gates and of the hidden state's projections for the samples lo:hi."
function backward_block!(o::RecurrentOp, p::Pass, lo, hi)
    H, T, N = o.y.C, o.y.W, hi - lo + 1
    k = ngates(o.cell) * H
    carry = at(p.arena, o.carry + 2H * lo)
    zeros!(carry, 2 * H * N)
    for t = (T-1):-1:0
        for n = lo:hi
            cell_backward!(o.cell, o, p, t, n)
        end
        if t > 0
            packed, dstates = at(p.arena, o.packed), step_at(o, p, o.states, k, t, lo)
            gemm!(identity, o.back_gemm, carry, packed, dstates, N; accumulate = true)
        end
    end
end

"""
The gradients of the weights for a block of samples, added to what is there if `accumulate`.
"""
function recurrent_weight_gradient!(o::RecurrentOp, p::Pass, lo, hi, accumulate, db)
    n = o.y.W * (hi - lo + 1)
    project_weights!(o.inputs, p, gates(o, p, lo), lo, n, db, accumulate)
    dw, dstates, h = at(p.g, o.wh), states(o, p, lo), hidden(o, p, lo)
    gemm_weight_gradient!(o.full_gemm, dw, dstates, h, n; accumulate)
end

"""
The sum of `n` columns of `C` values, `stride` floats apart, added to what is there if
`accumulate`.
"""
function sum_columns!(to::Ptr32, x::Ptr32, C, n, accumulate; stride = C)
    each_vector(Val(16), C) do i, width, mask
        sum = column_sum(at(x, i), stride, n, width, mask)
        store(accumulate ? load(width, at(to, i), mask) + sum : sum, at(to, i), mask)
    end
end

@inline function column_sum(x, C, n, width::Val{L}, mask) where {L}
    sum = zero(Vec{L,Float32})
    for j = 0:(n-1)
        sum += load(width, at(x, j * C), mask)
    end
    return sum
end
