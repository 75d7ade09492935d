# What rules ask of the clients' optimizer, and a server's step that is a plain function.

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
Weight decay makes it the SGD of another loss.
"""
check_sgd(rule, training) =
    is_sgd(training.optimizer) ||
    refuse_optimizer(rule, "that train with sgd, without momentum and clip",
        training.optimizer)

is_sgd(::Optimisers.AbstractRule) = false
is_sgd(::Union{Optimisers.Descent,Optimisers.WeightDecay}) = true
is_sgd(o::Optimisers.OptimiserChain) = all(is_sgd, o.opts)

refuse_optimizer(rule, needed, optimizer) =
    fail("rule ", rule, " needs clients ", needed, "; their optimizer is ",
        optimizer_name(optimizer))

"An optimizer's name, or those of a chain's links, for messages."
optimizer_name(o) = string(nameof(typeof(o)))
optimizer_name(o::Optimisers.OptimiserChain) = join(map(optimizer_name, o.opts), " and ")

"""
    KeepOptimizer()

Each client goes on with the state of its optimizer (momenta, running means) where its last
round ended, in place of a new one. The state stays with the client, like a rule's. That of
a round in which its update didn't count is dropped. Costs each client one or two vectors as
long as the model. What a rule trains beside the global model begins anew in each round.
Has no effect for plain SGD, which has no state.

```julia
using Optimisers: Adam
Federated(softmax_regression(4, 2); optimizer = Adam(), rules = (FedFlux.KeepOptimizer(),))
```
"""
struct KeepOptimizer <: Rule end

# Not `nothing`: a client in a deployment tells the server that it lost its state.
init(::KeepOptimizer, θ) = (nothing, ())

client!(::KeepOptimizer, s, u, ctx) = (ctx.optimizer_state, u)

"""
    first_state(rules, private, optimizer, w) -> state

The state that a client's optimizer begins its round with: a new one, or a copy of what
[`KeepOptimizer`](@ref) among the rules has kept.
"""
function first_state(rules::Tuple, private::Tuple, optimizer, w)
    i = findfirst(r -> r isa KeepOptimizer, rules)
    new = Optimisers.init(optimizer, w)
    (i === nothing || private[i] === ()) && return new
    return deepcopy(private[i])
end

"""
    FunctionStep(f; name = nameof(f))

The server's step by a function of your own: `f(θ, mean, state, ctx)` gives `(Δ, state)`,
the vector that the server adds to the parameters `θ`, and what it keeps for the next round,
`nothing` before the first. `mean` is the aggregate of the round's updates, and `ctx` is
what [`Rule`](@ref)s meet on the server. When the option `server` takes an optimizer, you
may give `f` itself.

```julia
FedFlux.FunctionStep((θ, mean, state, ctx) -> (0.5f0 .* mean, state))
```
"""
struct FunctionStep <: Optimisers.AbstractRule
    f::Any
    name::String
end

FunctionStep(f; name = function_name(f)) = FunctionStep(f, name)
Base.show(io::IO, s::FunctionStep) = print(io, "FunctionStep(", s.name, ")")
Optimisers.init(::FunctionStep, θ) = nothing
object_of(::Val{:server}, f::Function) = FunctionStep(f)

"Call the user's function; one of another language has a method of its own."
call_step(f, θ, mean, state, ctx) = f(θ, mean, state, ctx)
