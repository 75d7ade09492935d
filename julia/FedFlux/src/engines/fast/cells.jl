# One time step of each recurrent cell, forward and backward, for one sample: elementwise
# over the H hidden values.

struct RNNStep{S} <: Cell
    σ::S
end
struct LSTMStep <: Cell end
struct GRUStep <: Cell end

function Cell(c::Flux.RNNCell)
    c.σ isa FROM_OUTPUT || unsupported("unsupported activation $(c.σ) in an RNN")
    return RNNStep(c.σ)
end
Cell(::Flux.LSTMCell) = LSTMStep()
Cell(::Union{Flux.GRUCell,TwoBiasGRUCell}) = GRUStep()
Cell(c) = unsupported("unsupported cell $(typeof(c))")

"The number of gates."
ngates(::RNNStep) = 1
ngates(::LSTMStep) = 4
ngates(::GRUStep) = 3

"The values of `memory` per hidden value."
nmemory(::Cell) = 0
nmemory(::LSTMStep) = 1

"Whether the hidden state's projections are kept apart from the input's."
separate_states(::Cell) = false
separate_states(::GRUStep) = true

function cell_forward!(c::RNNStep, o, p, t, n)
    H = o.y.C
    gates, h = step_at(o, p, o.gates, H, t, n), at(address(p, o.y, n), H * t)
    each_vector(Val(16), H) do i, width, mask
        store(activate(c.σ, load(width, at(gates, i), mask)), at(h, i), mask)
    end
end

function cell_backward!(c::RNNStep, o, p, t, n)
    H = o.y.C
    gates = step_at(o, p, o.gates, H, t, n)
    h, dh = at(address(p, o.y, n), H * t), at(address(p, o.dy, n), H * t)
    carry = at(p.arena, o.carry + 2H * n)
    each_vector(Val(16), H) do i, width, mask
        d = load(width, at(dh, i), mask) + load(width, at(carry, i), mask)
        store(backprop(c.σ, load(width, at(h, i), mask), d), at(gates, i), mask)
        store(zero(d), at(carry, i), mask)
    end
end

# Gates: input, forget, cell, output. The memory is the cell state c.
function cell_forward!(::LSTMStep, o, p, t, n)
    H = o.y.C
    gates, h = step_at(o, p, o.gates, 4H, t, n), at(address(p, o.y, n), H * t)
    c = step_at(o, p, o.memory, H, t, n)
    each_vector(Val(16), H) do i, width, mask
        gate(k) = load(width, at(gates, k * H + i), mask)
        in, forget = fastsigmoid(gate(0)), fastsigmoid(gate(1))
        new, out = fasttanh(gate(2)), fastsigmoid(gate(3))
        state = in * new
        if t > 0
            state += forget * load(width, at(c, i - H), mask)
        end
        store(state, at(c, i), mask)
        store(out * fasttanh(state), at(h, i), mask)
        for (k, g) in enumerate((in, forget, new, out))
            store(g, at(gates, (k - 1) * H + i), mask)
        end
    end
end

function cell_backward!(::LSTMStep, o, p, t, n)
    H = o.y.C
    gates, dh = step_at(o, p, o.gates, 4H, t, n), at(address(p, o.dy, n), H * t)
    c, carry = step_at(o, p, o.memory, H, t, n), at(p.arena, o.carry + 2H * n)
    each_vector(Val(16), H) do i, width, mask
        gate(k) = load(width, at(gates, k * H + i), mask)
        in, forget, new, out = gate(0), gate(1), gate(2), gate(3)
        d = load(width, at(dh, i), mask) + load(width, at(carry, i), mask)
        tc = fasttanh(load(width, at(c, i), mask))
        dc = load(width, at(carry, H + i), mask) + d * out * (1.0f0 - tc * tc)
        before = t > 0 ? load(width, at(c, i - H), mask) : zero(d)
        store(dc * new * in * (1.0f0 - in), at(gates, i), mask)
        store(dc * before * forget * (1.0f0 - forget), at(gates, H + i), mask)
        store(dc * in * (1.0f0 - new * new), at(gates, 2H + i), mask)
        store(d * tc * out * (1.0f0 - out), at(gates, 3H + i), mask)
        store(zero(d), at(carry, i), mask)
        store(dc * forget, at(carry, H + i), mask)
    end
end

# Gates: reset, update, candidate. Reset multiplies the candidate's hidden projection, which
# is therefore kept apart from the input projection.
function cell_forward!(::GRUStep, o, p, t, n)
    H = o.y.C
    gates, h = step_at(o, p, o.gates, 3H, t, n), at(address(p, o.y, n), H * t)
    states, before = step_at(o, p, o.states, 3H, t, n), step_at(o, p, o.hidden, H, t, n)
    each_vector(Val(16), H) do i, width, mask
        input(k) = load(width, at(gates, k * H + i), mask)
        state(k) = load(width, at(states, k * H + i), mask)
        reset, update = fastsigmoid(input(0) + state(0)), fastsigmoid(input(1) + state(1))
        new = fasttanh(muladd(reset, state(2), input(2)))
        h_new = muladd(update, load(width, at(before, i), mask) - new, new)
        store(h_new, at(h, i), mask)
        for (k, g) in enumerate((reset, update, new))
            store(g, at(gates, (k - 1) * H + i), mask)
        end
    end
end

function cell_backward!(::GRUStep, o, p, t, n)
    H = o.y.C
    gates, dh = step_at(o, p, o.gates, 3H, t, n), at(address(p, o.dy, n), H * t)
    states, before = step_at(o, p, o.states, 3H, t, n), step_at(o, p, o.hidden, H, t, n)
    carry = at(p.arena, o.carry + 2H * n)
    each_vector(Val(16), H) do i, width, mask
        gate(k) = load(width, at(gates, k * H + i), mask)
        reset, update, new = gate(0), gate(1), gate(2)
        d = load(width, at(dh, i), mask) + load(width, at(carry, i), mask)
        dnew = d * (1.0f0 - update) * (1.0f0 - new * new)
        h_before = load(width, at(before, i), mask)
        dupdate = d * (h_before - new) * update * (1.0f0 - update)
        new_state = load(width, at(states, 2H + i), mask)
        dreset = dnew * new_state * reset * (1.0f0 - reset)
        gradients = ((0, dreset, dreset), (1, dupdate, dupdate), (2, dnew, dnew * reset))
        for (k, g, s) in gradients
            store(g, at(gates, k * H + i), mask)
            store(s, at(states, k * H + i), mask)
        end
        store(d * update, at(carry, i), mask)
    end
end
