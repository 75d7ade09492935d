# RNN, LSTM and GRU over (F, T, N). The inputs' part of all gates is one product; only the states' part goes step by step.

"What differs between the cells; see cells.jl."
abstract type Cell end

"""
A recurrent layer. Workspace: `gates` (kH, T, N) holds the inputs' part, then the gates, then their gradient; `hidden` (H, T, N)
the state that each step began with; `memory` (mH, T, N) what else the cell wants back; `states` (kH, T, N) the states' part of
the gates and its gradient where that isn't the same as the gates'; `carry` (2H, N) the gradients that go back in time.
"""
struct RecurrentOp{C<:Cell,DX,I<:Product,P<:Product,Q<:Product,R<:Product}
    cell::C
    x::Buffer
    dx::DX
    y::Buffer
    dy::Buffer
    wi::Int
    wh::Int
    b::Int           # -1: no bias
    gates::Int
    hidden::Int
    memory::Int
    states::Int
    carry::Int
    turned::Int      # wh transposed
    block::Int       # of wi, transposed
    inputs::I        # wi, over all columns
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
    cell, H, T, N = Cell(l.cell), y.C, y.W, b.maxbatch
    k = ngates(cell)
    wi, wh = parameter!(b, l.cell.Wi), parameter!(b, l.cell.Wh)
    bias = cell_bias(l.cell)
    states = separate(cell) ? workspace!(b, k * H * T * N) : 0
    gates = workspace!(b, k * H * T * N)
    inputs = Product(k * H, s.C, s.C, k * H, T * N)
    return RecurrentOp(cell, x, dx, y, dy, wi, wh, bias isa AbstractArray ? parameter!(b, bias) : -1, gates,
                       workspace!(b, H * T * N), workspace!(b, nmemory(cell) * H * T * N), separate(cell) ? states : gates,
                       workspace!(b, 2 * H * N), workspace!(b, k * H * H), workspace!(b, scratch(inputs)), inputs,
                       Product(k * H, H, H * T, k * H * T, N), Product(H, k * H, k * H * T, 2 * H, N), Product(k * H, H, H, k * H, T * N))
end

cell_bias(c) = hasproperty(c, :bias) ? c.bias : c.b

"The address of step `t` of sample `n` (from 0) in a (rows, T, N) array of the workspace."
@inline step_at(o::RecurrentOp, p::Pass, from, rows, t, n) = at(p.arena, from + rows * (t + o.y.W * n))

function forward!(o::RecurrentOp, p::Pass, lo, hi)
    H, T, N = o.y.C, o.y.W, hi - lo + 1
    k = ngates(o.cell) * H
    gates = at(p.arena, o.gates)
    multiply!(identity, o.inputs, gates, at(p.w, o.wi), address(p, o.x), T * N; bias = o.b < 0 ? Ptr32(C_NULL) : at(p.w, o.b))
    separate(o.cell) && zeros!(at(p.arena, o.states), k * T * N)
    for t in 0:T-1
        t == 0 || multiply!(identity, o.ahead, step_at(o, p, o.states, k, t, 0), at(p.w, o.wh), step_at(o, p, o.hidden, H, t, 0), N; adds = true)
        for n in 0:N-1
            t == 0 && zeros!(step_at(o, p, o.hidden, H, 0, n), H)
            step!(o.cell, o, p, t, n)
            t < T - 1 && unsafe_copyto!(step_at(o, p, o.hidden, H, t + 1, n), at(address(p, o.y, n), H * t), H)
        end
    end
end

function backward!(o::RecurrentOp, p::Pass, lo, hi)
    H, T, N = o.y.C, o.y.W, hi - lo + 1
    k = ngates(o.cell) * H
    turned, carry = at(p.arena, o.turned), at(p.arena, o.carry)
    transpose!(turned, H, at(p.w, o.wh), k, H, k)
    zeros!(carry, 2 * H * N)
    for t in T-1:-1:0
        for n in 0:N-1
            step_back!(o.cell, o, p, t, n)
        end
        t == 0 || multiply!(identity, o.back, carry, turned, step_at(o, p, o.states, k, t, 0), N; adds = true)
    end
    gates, x = at(p.arena, o.gates), address(p, o.x)
    outer!(o.inputs, at(p.g, o.wi), gates, x, T * N)
    outer!(o.all, at(p.g, o.wh), at(p.arena, o.states), at(p.arena, o.hidden), T * N)
    o.b < 0 || sum_columns!(at(p.g, o.b), gates, k, T * N)
    o.dx === nothing || multiply_back!(o.inputs, address(p, o.dx), at(p.w, o.wi), gates, T * N, at(p.arena, o.block))
end

"The sum of `n` columns of `C`."
function sum_columns!(to::Ptr32, x::Ptr32, C, n)
    each_vector(Val(16), C) do i, width, mask
        store(column_sum(at(x, i), C, n, width, mask), at(to, i), mask)
    end
end

@inline function column_sum(x, C, n, width::Val{L}, mask) where {L}
    sum = zero(Vec{L,Float32})
    for j in 0:n-1
        sum += load(width, at(x, j * C), mask)
    end
    return sum
end
