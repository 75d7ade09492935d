# What a rule's local steps allocate.
using FedFlux: WorkerPool

"""
The bytes that 90 further steps of a rule take on the fast engine, in every second round:
those of rules that train in turns are even ones.
"""
function allocated_in_steps(rule, model)
    x, y = blobs(400)
    clients = Clients(x, y, [1:400])
    function allocated(steps)
        f = Federated(model; trainer = :fast, rules = (rule,), batchsize = 4,
            maxsteps = steps)
        pool = WorkerPool(f, clients; threads = 1)
        st = State(f, pool)
        train!() = round!(f, st, clients, 1:1; pool)
        foreach(_ -> train!(), 1:3)         # compiles both states
        # The least of three: a busy machine makes workers yield, which allocates.
        return minimum(1:3) do _
            bytes = @allocated train!()
            train!()
            bytes
        end
    end
    return allocated(99) - allocated(9)
end
