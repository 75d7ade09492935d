# Layers that PyTorch has and Flux has not, for models that come from there.

"The last step of a sequence: (F, T, N) to (F, N)."
last_step(x::AbstractArray{<:Any,3}) = x[:, end, :]

"The mean over the steps of a sequence: (F, T, N) to (F, N)."
mean_of_steps(x::AbstractArray{<:Any,3}) = dropdims(mean(x; dims = 2); dims = 2)

"""
Sequences (F, T, N) in the place of the images (F, T, 1, N) that FedFlux makes of samples
with two dimensions.
"""
as_sequence(x::AbstractArray{<:Any,4}) = reshape(x, size(x, 1), size(x, 2), size(x, 4))
as_sequence(x::AbstractArray{<:Any,3}) = x

"gelu by its definition, x·Φ(x); Flux's is its approximation by tanh."
gelu_exact(x) = x * erfc(-x / oftype(x, sqrt(2))) / 2

"An activation `f(x, value)` of each number, such as `leakyrelu` with another slope."
struct WithValue{F}
    f::F
    value::Float32
end
(a::WithValue)(x) = a.f.(x, a.value)

"""
`softmax` or `logsoftmax` along an axis as PyTorch counts them: from 0, the samples',
or backward from -1.
"""
struct AlongAxis{F}
    f::F
    axis::Int
end
(s::AlongAxis)(x) = s.f(x; dims = s.axis < 0 ? -s.axis : ndims(x) - s.axis)

"""
    TwoBiasGRUCell(in => out; init)

PyTorch's GRU, whose candidate has a bias on either side of the reset gate:

    h̃ = tanh(W x + b + r ⊙ (U h + c)).

Flux's `GRUCell` has no `c`. The biases of the other gates are one each, as there.
"""
struct TwoBiasGRUCell{I,H,V}
    Wi::I
    Wh::H
    b::V
    c::V
end
Flux.@layer TwoBiasGRUCell

TwoBiasGRUCell((in, out)::Pair; init) =
    TwoBiasGRUCell(init(3 * out, in), init(3 * out, out), zeros32(3 * out), zeros32(out))

Flux.initialstates(m::TwoBiasGRUCell) = zeros32(size(m.Wh, 2))

function (m::TwoBiasGRUCell)(x::AbstractVecOrMat, h)
    gx, gh = m.Wi * x .+ m.b, m.Wh * h
    n = size(m.Wh, 2)
    r = sigmoid_fast.(gx[1:n, :] .+ gh[1:n, :])
    z = sigmoid_fast.(gx[(n+1):2n, :] .+ gh[(n+1):2n, :])
    new = tanh_fast.(gx[(2n+1):3n, :] .+ r .* (gh[(2n+1):3n, :] .+ m.c))
    after = (1 .- z) .* new .+ z .* h
    return after, after
end

Base.show(io::IO, m::TwoBiasGRUCell) =
    print(io, "TwoBiasGRUCell(", size(m.Wi, 2), " => ", size(m.Wh, 2), ")")

two_bias_gru(sizes::Pair; init) = GRU_of(TwoBiasGRUCell(sizes; init))
GRU_of(cell::TwoBiasGRUCell) = GRU{false,typeof(cell)}(cell)
