# What rules ask of the clients' optimizer.

"""
The learning rate of an Optimisers rule, or of the one rule with a learning rate in a chain;
`nothing` if there is none, or more than one.
"""
learning_rate(rule) = hasproperty(rule, :eta) ? Float32(rule.eta) : nothing

function learning_rate(chain::Optimisers.OptimiserChain)
    rates = unique(filter(!isnothing, map(learning_rate, chain.opts)))
    return length(rates) == 1 ? only(rates) : nothing
end

"""
Throw a [`FedFluxError`](@ref) if clients don't train with plain SGD, as `rule` assumes.
"""
check_sgd(rule, training) =
    training.optimizer isa Optimisers.Descent ||
    refuse_optimizer(rule, "that train with sgd", training.optimizer)

refuse_optimizer(rule, needed, optimizer) =
    fail("rule ", rule, " needs clients ", needed, "; their optimizer is ",
        nameof(typeof(optimizer)))
