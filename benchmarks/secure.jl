# What secure aggregation costs a client and the server, stage by stage, on one thread:
#
#     julia --project=ENV benchmarks/secure.jl [clients] [parameters]
#
# Times of a client are medians over all clients of a second round (the first compiles). The
# server's include taking every message. The masked sum is compared with the plain one.

using FedFlux, Printf, Random, Statistics
using FedFlux: advertise!, share!, mask!, unmask!, deliver!, advertised!, shared!, masked!,
    unmasked!, message_bytes

n = parse(Int, get(ARGS, 1, "100"))
d = parse(Int, get(ARGS, 2, "50000"))
x = [rand(Xoshiro(i), UInt32, d) for i = 1:n]

"One stage: each client's seconds, the server's, and a client's bytes up and down."
function stage(answer, close!, clients, server, incoming)
    took, serving, up, down = Float64[], 0.0, 0, 0
    for c in clients
        message = incoming === nothing ? nothing : incoming[c.id]
        push!(took, @elapsed reply = answer(c, message))
        serving += @elapsed deliver!(server, reply)
        up += message_bytes(reply)
        message === nothing || (down += message_bytes(message))
    end
    serving += @elapsed out = close!(server)
    return out,
    (; client = median(took), server = serving,
        up = up / length(clients), down = down / length(clients))
end

function one_round(neighbours, vanish)
    setup = SecureSetup{UInt32}(; round = 1, words = d, neighbours)
    clients, server = [SecureClient(setup, id) for id = 1:n], SecureServer(setup)
    left = clients[(vanish+1):end]
    keys, a = stage((c, _) -> advertise!(c), advertised!, clients, server, nothing)
    boxes, b = stage(share!, shared!, clients, server, keys)
    requests, m =
        stage((c, box) -> mask!(c, box, x[c.id]), masked!, left, server, boxes)
    total, u = stage(unmask!, unmasked!, left, server, requests)
    total == reduce(+, x[(vanish+1):end]) || error("the sum is wrong")
    creating = median(@elapsed(SecureClient(setup, 1)) for _ = 1:20)
    return (("keys", (; a..., client = a.client + creating)), ("shares", b),
        ("masked vector", m), ("unmasking", u))
end

println("$n clients × $d parameters; a client's ms, the server's ms; a client's bytes")
for neighbours in (10, nothing), vanish in (0, n ÷ 10)
    one_round(neighbours, vanish)
    GC.gc()
    println("\n", something(neighbours, "all"), " neighbors, ", vanish,
        " vanish before the masked vector")
    for (name, s) in one_round(neighbours, vanish)
        @printf("%-14s client %7.3f ms   server %8.2f ms   up %8.0f   down %8.0f\n",
            name, 1e3 * s.client, 1e3 * s.server, s.up, s.down)
    end
end
