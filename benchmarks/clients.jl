# Seconds before the first round and in a round, for 1,000 to 1,000,000 clients of one sample
# each, 100 of them a round.
#
#     julia --project=ENV benchmarks/clients.jl [MOST]
#
# MOST is the largest number of clients, by default a million.

using FedFlux, Printf
using FedFlux: Optimisers

const MOST = isempty(ARGS) ? 1_000_000 : parse(Int, first(ARGS))
const COHORT = 100

samples(n) = rand(Float32, 20, n), rand(0:3, n)

"Seconds to make the clients and their workers, and those of each of four rounds."
function measure(n)
    x, y = samples(n)
    f = Federated(softmax_regression(20, 4); optimizer = Optimisers.Descent(0.1f0))
    ready = @elapsed begin
        clients = Clients(x, y, [k:k for k = 1:n])
        pool = FedFlux.WorkerPool(f, clients; threads = 1)
        st = State(f, pool)
    end
    marks = [time()]
    callback(record) = (push!(marks, time()); false)
    fit!(f, st, clients; rounds = 4, clients_per_round = COHORT, pool, callback)
    return ready, diff(marks)
end

measure(1000)       # compiles
println("| clients | before the first round, s | first round, ms | a later round, ms |")
println("| ---: | ---: | ---: | ---: |")
for n in filter(<=(MOST), 10 .^ (3:6))
    ready, rounds = measure(n)
    @printf("| %d | %.2f | %.1f | %.1f |\n", n, ready, 1e3 * rounds[1],
        1e3 * minimum(rounds[2:end]))
end
