# Functions of Python's, as aggregators, partitions and the rest meet them.

"""
    PythonFunction(f)

A function of Python's. A call goes through the one task that Python called, whichever asks
for it; in a worker process, which has no Python, there is none to call.
"""
struct PythonFunction
    f::Any
end

"""
    call_python(T, f, arguments...) -> T

Call a Python function; `T` may be `Any`, for a Julia object that comes back as it is. The
PythonCall extension adds the method.
"""
function call_python end

call_python(T, p::PythonFunction, arguments...) =
    in_calling_task(() -> Base.invokelatest(call_python, T, p.f, arguments...))

# It stays where Python is.
Serialization.serialize(s::AbstractSerializer, ::PythonFunction) = serialize(s, nothing)

# Python writes the vectors that it gives into Julia's memory; lists and states come back.

"The vector of `n` values that a Python function writes, whose first argument it is."
function filled_by_python(p, n, arguments...)
    v = Vector{Float32}(undef, n)
    return v, call_python(Any, p, v, arguments...)
end

"""
    PythonAggregate(f)

An aggregator's function in Python. The matrix of a round is used again in the next one, if
Python says after the call that it kept no view of it. A new one costs as much time as the
copy of all updates, because the system first fills it with zeros.
"""
mutable struct PythonAggregate
    const f::PythonFunction
    free::Matrix{Float32}
end
PythonAggregate(f) = PythonAggregate(f, zeros(Float32, 0, 0))

# It stays where Python is, and so does the matrix.
Serialization.serialize(s::AbstractSerializer, ::PythonAggregate) = serialize(s, nothing)

function matrix_of(p::PythonAggregate, rows, n)
    X = p.free
    p.free = zeros(Float32, 0, 0)       # taken
    return size(X) == (rows, n) ? X : Matrix{Float32}(undef, rows, n)
end

function call_with_state(p::PythonAggregate, X, weights, state, round)
    v, answer = filled_by_python(p.f, size(X, 1), X, weights, state, round)
    state, viewed = answer
    viewed || (p.free = parent(X))
    return v, state
end

"BatchNorm's statistics, combined by a Python function."
struct PythonStatistics
    f::Any
end
(s::PythonStatistics)(S, weights) = first(filled_by_python(s.f, size(S, 1), S, weights))

"""
What `ctx` tells Python in numbers; `nothing` for what isn't known there. The seed is that
of a generator of the hook's own, for the rule of this `number`.
"""
function python_facts(ctx, number)
    known(name) = get(ctx, name, nothing)
    lr = ctx.lr === nothing ? nothing : Float64(ctx.lr)
    seed = mix64(copy(ctx.rng).state + UInt64(number) * GAMMA)
    return (ctx.round, ctx.client, ctx.n, ctx.N, lr, known(:samples), known(:weight),
        known(:steps), known(:step), known(:batch), known(:share), seed)
end

call_step(p::PythonFunction, θ, mean, state, ctx) =
    filled_by_python(p, length(θ), θ, mean, state, python_facts(ctx, 0))

call_chooser(p::PythonFunction, round, clients, rng) =
    call_python(Vector{Int}, p, round, clients, rand(rng, UInt64))

"A partition by a Python function, for clients of these names, or for any number."
struct PythonPartition
    f::PythonFunction
    name::String
    names::Union{Nothing,Vector{Any}}
end
(p::PythonPartition)(y, clients, rng) =
    call_python(Vector{Vector{Int}}, p.f, y, clients, rand(rng, UInt64))
nclients(p::PythonPartition, clients) = p.names === nothing ? clients : length(p.names)
client_names(p::PythonPartition, n) = something(p.names, collect(1:n))

"""
    _own(option, f, name, more...)

For Python: the object that stands for a Python function in the place of an option.
"""
_own(option, f, name, more...) =
    own_of_python(Val(Symbol(option)), PythonFunction(f), String(name), more...)

own_of_python(::Val{:aggregate}, f, name, min_updates, statistics) =
    FunctionAggregate(PythonAggregate(f); name, min_updates,
        statistics = statistics === nothing ? nothing :
                     PythonStatistics(PythonFunction(statistics)))
own_of_python(::Val{:sampling}, f, name) = FunctionSampling(f; name)
own_of_python(::Val{:availability}, f, name) = FunctionAvailability(f; name)
own_of_python(::Val{:server}, f, name) = FunctionStep(f; name)
own_of_python(::Val{:partition}, f, name, names) =
    PythonPartition(f, name, names === nothing ? nothing : collect(Any, names))

"""
    _metrics(names, functions, of_probabilities)

For Python: metrics by name, as the option takes them. A text in place of a function is the
name of one that there is.
"""
function _metrics(names, functions, of_probabilities)
    given = zip(names, functions, of_probabilities)
    return Pair{String,Any}[String(name) => python_metric(f, p) for (name, f, p) in given]
end
python_metric(name::AbstractString, p) = String(name)
python_metric(f, p) = p ? OfProbabilities(PythonFunction(f)) : PythonFunction(f)
is_metric(::PythonFunction) = true
call_metric(f::PythonFunction, name, round, classes, y, answers, of_labels) =
    call_python(Float64, f, y, answers, round)

type_name(object::PythonPartition) = object.name

"For Python: arrays by name, as states hold them, with reversed axes."
_state(names, arrays) =
    Dict{String,Array}(string(k) => Array(a) for (k, a) in zip(names, arrays))

"""
    PythonRule

A [`Rule`](@ref) with the hooks of a `fedflux.Rule`: `f(hook, …)` is a Python function
that calls the one of this name. Vectors change in place, and states are Dicts of arrays.
`sends` names the vectors that clients send beside their update; `number` is the rule's
place in the chain, for random numbers of its own.
"""
struct PythonRule <: Rule
    f::Any
    name::String
    hooks::Vector{Symbol}
    sends::Vector{Symbol}
    number::Int
end

Base.show(io::IO, r::PythonRule) = print(io, "PythonRule(", r.name, ")")
type_name(r::PythonRule) = r.name

own_of_python(::Val{:rules}, f, name, hooks, sends) =
    PythonRule(f, name, Symbol.(collect(String, hooks)), Symbol.(collect(String, sends)), 0)

"The rules of a run, each of Python's with its place among them."
numbered(rules::Tuple) = ntuple(i -> numbered(rules[i], i), length(rules))
numbered(r, i) = r
numbered(r::PythonRule, i) = PythonRule(r.f, r.name, r.hooks, r.sends, i)

on_clients(r::PythonRule) = r.hooks != [:server]
for_client(r::PythonRule, shared, client) = shared      # ctx.server

function prepare(r::PythonRule, layout, training)
    names = String[s.name for s in layout.slots]
    call_python(Nothing, r.f, "prepare", names, [last(s.range) for s in layout.slots])
    return r
end

init(::PythonRule, θ) = (Dict{String,Array}(), Dict{String,Array}())

vector_name(r::PythonRule, name) = Symbol(:python, r.number, :_, name)

"The further vectors of an update, by the names that they have there."
further(r::PythonRule, vectors) =
    NamedTuple{Tuple(vector_name(r, name) for name in r.sends)}(Tuple(vectors))

nobody_sent(r::PythonRule, u) = Update(u; further(r, [zero(u.delta) for _ in r.sends])...)

ask(r::PythonRule, hook, v, w, s, sent, ctx) = call_python(Any, r.f, hook, v, w, ctx.θ,
    s.private, s.shared, sent, python_facts(ctx, r.number))

function receive!(r::PythonRule, s, m, ctx, own)
    :receive in r.hooks && ask(r, "receive", m.w, nothing, s, (), ctx)
    return s.private
end

function correct!(r::PythonRule, s, g, w, ctx)
    :correct in r.hooks && ask(r, "correct", g, w, s, (), ctx)
    return g
end

function client!(r::PythonRule, s, u, ctx)
    :client in r.hooks || return s.private, u
    allfinite(u) || return s.private, nobody_sent(r, u)     # the server rejects it
    v, sent = Vector{Float32}(decoded(u.delta)), [zero(ctx.θ) for _ in r.sends]
    private = ask(r, "client", v, nothing, s, Tuple(sent), ctx)
    return private, Update(u; delta = v, further(r, sent)...)
end

function server!(r::PythonRule, s, ū, ctx)
    :server in r.hooks || return s.shared, ū
    v = Vector{Float32}(decoded(ū.delta))
    sent = Tuple(getproperty(ū, vector_name(r, name)) for name in r.sends)
    shared = ask(r, "server", v, nothing, (; private = s.shared, s.shared), sent, ctx)
    return shared, Update(ū; delta = v)
end
