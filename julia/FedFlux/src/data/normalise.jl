# Inputs brought to mean 0 and standard deviation 1, by statistics that are given or that the clients add up.

"`(x .- mean) ./ std` over the whole data set; `nothing` leaves that part out."
function normalise(d::Dataset, mean, std)
    mean === nothing && std === nothing && return d
    f(x) = x === nothing ? nothing : scaled(as_inputs(x, false), Float32(something(mean, 0)), Float32(something(std, 1)))
    return Dataset(f(d.x), d.y, f(d.xtest), d.ytest, d.name, d.owner)
end

function scaled(x, mean, std)
    eltype(x) <: AbstractFloat || fail("tokens (", eltype(x), ") can't be normalised: leave mean, std and normalise out")
    return (x .- mean) ./ std
end

"""
    federated_moments(clients) -> (mean, std)

The mean and standard deviation of each channel of images (W, H, C, N), or of each of the features (F, N), over all clients'
samples, from three numbers that each client would send of its own: how many values it holds, their sum, and the sum of their
squares. The same as over the pooled data, up to rounding. A channel without variance gets the standard deviation 1.

```julia
FedFlux.federated_moments(Clients(rand(Float32, 4, 6), zeros(6), [1:3, 4:6]))
```
"""
function federated_moments(clients::Clients)
    sums = sum(client_sums(clients, k) for k in 1:length(clients))
    n, s, squares = sums[1, :], sums[2, :], sums[3, :]
    mean = s ./ n
    variance = max.(squares ./ n .- mean .^ 2, 0)
    std = [v > 1e-12 * (1 + m^2) ? sqrt(v) : 1.0 for (v, m) in zip(variance, mean)]
    shape = ntuple(d -> d == max(ndims(clients.x) - 1, 1) ? length(mean) : 1, ndims(clients.x))
    return reshape(Float32.(mean), shape), reshape(Float32.(std), shape)
end

"A (3, channels) matrix of one client: number of values, sum, sum of squares."
function client_sums(clients::Clients, k)
    dims = size(clients.x)
    x = reshape(clients.x, :, dims[end-1], dims[end])     # (values, channels, samples)
    sums = zeros(3, dims[end-1])
    for i in indices(clients, k), c in axes(x, 2), j in axes(x, 1)
        v = Float64(x[j, c, i])
        sums[1, c] += 1
        sums[2, c] += v
        sums[3, c] += v^2
    end
    return sums
end

"The clients and the test inputs, normalised by what the clients' data add up to."
function normalise_federated(clients::Clients, xtest)
    eltype(clients.x) <: AbstractFloat || fail("tokens (", eltype(clients.x), ") can't be normalised: leave normalise out")
    mean, std = federated_moments(clients)
    x = scaled(clients.x, mean, std)
    return Clients(x, clients.y, clients.order, clients.starts), xtest === nothing ? nothing : scaled(xtest, mean, std)
end
