# The personal model of one client, made from the result of a run when it is asked for.

"""
    PersonalModel

One client's own model: its `name`, the Flux `model`, the `parameters` in model order and
their `names`. [`predict`](@ref), [`predict_proba`](@ref) and [`score`](@ref) take it as
they take a result, and `run(init = …)` begins with it.
"""
struct PersonalModel
    name::Any
    model::Any
    parameters::Vector{Array{Float32}}
    names::Vector{String}
    statistics::Vector{Pair{String,Array{Float32}}}
    options::Options
    input::InputContract
end

Base.show(io::IO, p::PersonalModel) =
    print(io, "PersonalModel(", p.name, ", ", sum(length, p.parameters), " parameters)")

"""
    personal(r::RunResult, client) -> PersonalModel

The model that a client would use itself, if a rule makes one: [`Ditto`](@ref),
[`FedPer`](@ref), [`FedRep`](@ref), [`FedBN`](@ref), or one of your own. `client` is its
name in `r.clients`, or its number if names aren't numbers. A client that was never in
a round has the global model.

Made from what the rule keeps of each client, anew in each call. Throws a
[`FedFluxError`](@ref) if no rule makes personal models.

```julia
r = FedFlux.run(dataset = "digits", model = "softmax_regression", rules = "ditto",
    rounds = 1)
predict(personal(r, 3), FedFlux.digits().xtest)
```
"""
function personal(r::RunResult, client)
    check_personal(r)
    N = r.holdings["clients"]
    k = findfirst(row -> isequal(row.name, client), r.clients)
    # A number may be a name, and then only that.
    by_number = client isa Integer && !any(row -> row.name isa Number, r.clients)
    k === nothing && by_number && client in 1:N && (k = Int(client))
    k === nothing &&
        fail("personal: there is no client ", repr(client), "; expected a name in ",
            "the result's clients", by_number ? ", or a number from 1 to $N" : "")
    return personal_model(r, k, client)
end

function check_personal(r::RunResult)
    r.federation === nothing &&
        fail("personal: in a deployment the clients keep their models to themselves")
    personalises(r.federation.rules) ||
        fail("personal: no rule of this run makes personal models; ditto, fedper, fedrep ",
            "and fedbn do")
end

"The model of client `k`."
function personal_model(r::RunResult, k, name)
    f, st = r.federation, r.state
    own = (; w = copy(st.θ), stats = copy(st.stats))
    haskey(st.private, k) && personal!(f.rules, st.shared, st.private[k], own)
    # Its own engine, for the order of the parameters: the run's is gone.
    sample = zeros(Float32, r.sample..., 1)
    engine, = make_engine(Symbol(r.trainer), f.model, f.loss, sample, 1, f.layout.frozen)
    model =
        global_model(f, State(st; st.round, θ = own.w, own.stats, st.shared), engine)
    (; parameters, names, statistics) = arrays_of(model)
    return PersonalModel(name, model, parameters, names, statistics, r.options, r.input)
end
