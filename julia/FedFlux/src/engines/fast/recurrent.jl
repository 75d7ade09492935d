# RNN, LSTM and GRU over (F, T, N). The inputs' part of all gates is one product; only the states' part goes step by step.

"What differs between the cells; see cells.jl."
abstract type Cell end

"""
A recurrent layer. Workspace: `gates` (kH, T, N) holds the inputs' part, then the gates, then their gradient; `hidden` (H, T, N)
the state that each step began with; `memory` (mH, T, N) what else the cell wants back; `states` (kH, T, N) the states' part of
the gates and its gradient where that isn't the same as the gates'; `carry` (2H, N) the gradients that go back in time.
"""
struct RecurrentOp{C<:Cell,I,P<:Product,Q<:Product,R<:Product} <: Operation
    cell::C
    inputs::I        # features or tokens, and wi; see inputs.jl
    y::Buffer
    dy::Buffer
    wh::Int
    b::Int           # -1: no bias
    gates::Int
    hidden::Int
    memory::Int
    states::Int
    carry::Int
    turned::Int      # wh transposed
    ahead::P         # wh, over one time step
    back::Q
    all::R           # wh, over all columns
end

const Recurrent = Union{RNN,LSTM,GRU}

function shape_after(l::Recurrent, s::Shape)
    s.kind === :sequence || unsupported("it takes sequences (F, T)")
    returns_state(l) && unsupported("it returns its state as well (return_state = true)")
    Cell(l.cell)
    size(l.cell.Wi, 2) == s.C || unsupported("it takes $(size(l.cell.Wi, 2)) features, and $(s.C) reach it")
    return Shape(:sequence, size(l.cell.Wh, 2), s.W, 1)
end

returns_state(::Union{RNN{S},LSTM{S},GRU{S}}) where {S} = S

function build(l::Recurrent, b::Builder, s::Shape, x, dx, y, dy)
    gates, columns = ngates(Cell(l.cell)) * y.C, y.W * min(b.maxbatch, TOGETHER)
    return recurrent(l, b, feature_inputs(l, b, x, dx, gates, columns), y, dy)
end

function recurrent(l, b::Builder, inputs, y, dy)
    cell, H, T, N = Cell(l.cell), y.C, y.W, b.maxbatch
    k = ngates(cell)
    wh, bias = parameter!(b, l.cell.Wh), cell_bias(l.cell)
    states = separate(cell) ? workspace!(b, k * H * T * N) : 0
    gates = workspace!(b, k * H * T * N)
    S = min(N, TOGETHER)
    return RecurrentOp(cell, inputs, y, dy, wh, bias isa AbstractArray ? parameter!(b, bias) : -1, gates,
                       workspace!(b, H * T * N), workspace!(b, nmemory(cell) * H * T * N), separate(cell) ? states : gates,
                       workspace!(b, 2 * H * N), workspace!(b, k * H * H),
                       Product(b.cpu, k * H, H, H * T, k * H * T, S), Product(b.cpu, H, k * H, k * H * T, 2 * H, S),
                       Product(b.cpu, k * H, H, H, k * H, T * S))
end

cell_bias(c) = hasproperty(c, :bias) ? c.bias : c.b

"The address of the bias in the parameters, or in their gradient; null without one."
@inline bias(o::RecurrentOp, v::Ptr32) = o.b < 0 ? Ptr32(C_NULL) : at(v, o.b)

"The address of step `t` of sample `n` (from 0) in a (rows, T, N) array of the workspace."
@inline step_at(o::RecurrentOp, p::Pass, from, rows, t, n) = at(p.arena, from + rows * (t + o.y.W * n))

"Samples that go through all time steps together: many enough for the product, few enough to stay in the cache."
const TOGETHER = 16

function forward!(o::RecurrentOp, p::Pass, lo, hi)
    prepare!(o.inputs, p, bias(o, p.w))
    for first in lo:TOGETHER:hi
        forward_some!(o, p, first, min(first + TOGETHER - 1, hi))
    end
end

function forward_some!(o::RecurrentOp, p::Pass, lo, hi)
    H, T, N = o.y.C, o.y.W, hi - lo + 1
    k = ngates(o.cell) * H
    input_gates!(o.inputs, p, step_at(o, p, o.gates, k, 0, lo), lo, T * N, bias(o, p.w))
    separate(o.cell) && zeros!(step_at(o, p, o.states, k, 0, lo), k * T * N)
    for t in 0:T-1
        t == 0 || multiply!(identity, o.ahead, step_at(o, p, o.states, k, t, lo), at(p.w, o.wh), step_at(o, p, o.hidden, H, t, lo), N;
                            adds = true)
        for n in lo:hi
            t == 0 && zeros!(step_at(o, p, o.hidden, H, 0, n), H)
            step!(o.cell, o, p, t, n)
            t < T - 1 && unsafe_copyto!(step_at(o, p, o.hidden, H, t + 1, n), at(address(p, o.y, n), H * t), H)
        end
    end
end

function backward!(o::RecurrentOp, p::Pass, lo, hi)
    H, k = o.y.C, ngates(o.cell) * o.y.C
    transpose!(at(p.arena, o.turned), H, at(p.w, o.wh), k, H, k)
    for first in lo:TOGETHER:hi
        backward_some!(o, p, first, min(first + TOGETHER - 1, hi), first > lo)
    end
    finish!(o.inputs, p, bias(o, p.g))
end

"The gradients of the samples lo:hi; those of the parameters are added to what is there if `adds`."
function backward_some!(o::RecurrentOp, p::Pass, lo, hi, adds)
    H, T, N = o.y.C, o.y.W, hi - lo + 1
    k = ngates(o.cell) * H
    carry = at(p.arena, o.carry + 2H * lo)
    zeros!(carry, 2 * H * N)
    for t in T-1:-1:0
        for n in lo:hi
            step_back!(o.cell, o, p, t, n)
        end
        t == 0 || multiply!(identity, o.back, carry, at(p.arena, o.turned), step_at(o, p, o.states, k, t, lo), N; adds = true)
    end
    gates, states = step_at(o, p, o.gates, k, 0, lo), step_at(o, p, o.states, k, 0, lo)
    input_back!(o.inputs, p, gates, lo, T * N, bias(o, p.g), adds)
    outer!(o.all, at(p.g, o.wh), states, step_at(o, p, o.hidden, H, 0, lo), T * N; adds)
end

"The sum of `n` columns of `C`, added to what is there if `adds`."
function sum_columns!(to::Ptr32, x::Ptr32, C, n, adds)
    each_vector(Val(16), C) do i, width, mask
        sum = column_sum(at(x, i), C, n, width, mask)
        store(adds ? load(width, at(to, i), mask) + sum : sum, at(to, i), mask)
    end
end

@inline function column_sum(x, C, n, width::Val{L}, mask) where {L}
    sum = zero(Vec{L,Float32})
    for j in 0:n-1
        sum += load(width, at(x, j * C), mask)
    end
    return sum
end
