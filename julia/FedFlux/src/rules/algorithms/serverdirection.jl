# Rules whose server sends a direction beside the model: FedCM, MimeLite and Mime.

"""
A rule whose clients take the server's own direction into their steps, by plain SGD. Clients
keep nothing. The direction is zero before the first round.
"""
abstract type ServerDirection <: Rule end

function prepare(r::ServerDirection, layout, training)
    check_sgd(string(nameof(typeof(r))), training)
    return r
end

init(::ServerDirection, θ) = (zero(θ), nothing)

for_client(::ServerDirection, m, client) = m

download_bytes(::ServerDirection, s, bytes, ctx) = bytes + sizeof(s.shared)
