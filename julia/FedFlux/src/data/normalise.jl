# Normalization of inputs to mean 0 and standard deviation 1, with statistics that are given
# or that the clients compute together.

"""
`(x .- mean) ./ std` over the whole data set; each is a number, a list of one for each
channel of images or each feature, or `nothing`, which leaves that part out.
"""
function normalise(d::Dataset, mean, std)
    mean === nothing && std === nothing && return d
    m = by_channel("mean", something(mean, 0), d.x)
    s = by_channel("std", something(std, 1), d.x)
    return map_inputs(x -> standardize(as_floats(x), m, s), d)
end

"A moment in a shape that broadcasts over the samples `x`, after a check of its length."
by_channel(name, moment, x) = moment
function by_channel(name, moment::AbstractVector, x)
    channels = size(x, ndims(x) - 1)
    length(moment) == channels ||
        fail(name, " holds ", length(moment), " numbers, and the samples have size ",
            size(x)[1:(end-1)], "; expected one number, or one for each of the ", channels,
            ndims(x) == 4 ? " channels" : " features")
    return reshape(moment, ntuple(_ -> 1, ndims(x) - 2)..., :, 1)
end

"`(x .- mean) ./ std` as Float32, computed in the precision of `x`."
function standardize(x, mean, std)
    T = eltype(x)
    T <: AbstractFloat ||
        fail("tokens (", T, ") can't be normalized: leave out mean, std and normalise")
    return convert(Array{Float32}, (x .- T.(mean)) ./ T.(std))
end

"""
    federated_moments(clients) -> (mean, std)

The mean and standard deviation of each channel of images (W, H, C, N), or of each feature
(F, N), over all clients' samples. Each client contributes the number of its values and
their sum; then, told the mean, the sums of the differences from it and of their squares, so
that large values with small differences lose nothing. The result is that of the pooled
data, up to rounding. A channel without variance gets the standard deviation 1.

```julia
FedFlux.federated_moments(Clients(rand(Float32, 4, 6), zeros(6), [1:3, 4:6]))
```
"""
function federated_moments(clients::Clients)
    sums(center) = sum(
        client_sums(clients.x, indices(clients, k), center) for k = 1:length(clients)
    )
    n, total, _ = eachrow(sums(zeros(size(clients.x)[max(end - 1, 1)])))
    mean = total ./ n
    _, left, squares = eachrow(sums(mean))
    variance = squares ./ n .- (left ./ n) .^ 2
    # Of equal values, rounding leaves far less than this.
    std = [v > 1e-12 + 1e-24 * m^2 ? sqrt(v) : 1.0 for (v, m) in zip(variance, mean)]
    channel_dim = max(ndims(clients.x) - 1, 1)
    shape = ntuple(d -> d == channel_dim ? length(mean) : 1, ndims(clients.x))
    return reshape(mean, shape), reshape(std, shape)
end

"""
A (3, channels) matrix of one client: the number of its values, the sum of their differences
from the `center` of their channel, and that of the squares.
"""
function client_sums(samples, held, center)
    dims = size(samples)
    inner, channels = prod(dims[1:(end-2)]), dims[end-1]
    sums = zeros(3, channels)
    for i in held
        values, before = sample_at(samples, i, inner * channels)
        for c = 1:channels, j = 1:inner
            v = Float64(values[before+(c-1)*inner+j]) - center[c]
            sums[1, c] += 1
            sums[2, c] += v
            sums[3, c] += v^2
        end
    end
    return sums
end

"""
The clients and the test inputs, normalized by the clients' [`federated_moments`](@ref), and
those.
"""
function normalise_federated(clients::Clients, xtest)
    eltype(clients.x) <: AbstractFloat ||
        fail("tokens (", eltype(clients.x), ") can't be normalized: leave out normalise")
    mean, std = federated_moments(clients)
    x = standardize(clients.x, mean, std)
    normalized = Clients(x, clients.y, clients.order, clients.starts, clients.root)
    xtest === nothing || (xtest = standardize(xtest, mean, std))
    return normalized, xtest, (mean, std)
end
