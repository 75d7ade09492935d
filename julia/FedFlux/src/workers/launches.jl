# Processes that start. Until all are there, Distributed neither tells their numbers nor
# ends them, and Ctrl-C must.

"""
The processes of a run from their launch on: their `configs` in Distributed, and the `ids`
of those that it connects to. None may start once they are `halted`.
"""
mutable struct Launches
    const configs::Vector{WorkerConfig}
    const ids::Vector{Int}
    halted::Bool
end
Launches() = Launches(WorkerConfig[], Int[], false)

"A cluster manager that does what another does, and tracks the processes in `launches`."
struct TrackedManager{M<:ClusterManager} <: ClusterManager
    manager::M
    launches::Launches
end

Distributed.default_addprocs_params(m::TrackedManager) =
    Distributed.default_addprocs_params(m.manager)

function Distributed.launch(m::TrackedManager, params::Dict, launched::Array,
    ready::Condition)
    own = WorkerConfig[]
    Distributed.launch(m.manager, params, own, Condition())
    append!(m.launches.configs, own)
    foreach(watch_over!, own)
    m.launches.halted && foreach(kill_now, own)
    append!(launched, own)
    notify(ready)
end

function Distributed.connect(m::TrackedManager, id::Int, config::WorkerConfig)
    m.launches.halted && fail("interrupted")
    push!(m.launches.ids, id)
    return Distributed.connect(m.manager, id, config)
end

function Distributed.manage(m::TrackedManager, id::Integer, config::WorkerConfig,
    op::Symbol)
    op === :deregister && stop_watching!(config)
    return Distributed.manage(m.manager, id, config, op)
end
Distributed.kill(m::TrackedManager, id::Int, config::WorkerConfig) =
    Distributed.kill(m.manager, id, config)

"""
End the processes at once, whatever they do: launched, connecting, or loading the package.

One on another machine ends when it finds that nobody is connected to it any more.
"""
function halt!(l::Launches)
    l.halted = true
    # Distributed prints what happens to a process that it loses, but not to one that is
    # about to end. `rmprocs` would say so too, only once all processes are there.
    for id in l.ids
        process = get(Distributed.map_pid_wrkr, id, nothing)
        process === nothing ||
            Distributed.set_worker_state(process, Distributed.W_TERMINATING)
    end
    foreach(kill_now, l.configs)
end

"Kill the process, here or, over SSH, the one that holds the connection to it."
function kill_now(config::WorkerConfig)
    stop_watching!(config)
    config.process === nothing || kill(config.process, Base.SIGKILL)
end

"""
Let the process die with this one, however that ends. It would notice by itself only when it
has trained its client, which may be hours later, and holds data. A shell waits for a line
from here: what ends without one has died. It is in a group of its own, which no Ctrl-C and
no signal to ours reaches.
"""
function watch_over!(config::WorkerConfig)
    (Sys.iswindows() || config.process === nothing) && return
    kill_it = "read -r line || kill -9 $(getpid(config.process))"
    config.userdata = open(
        pipeline(detach(`/bin/sh -c $kill_it`); stdout = devnull, stderr = devnull), "w"
    )
end

"The process has ended, or is told to: what comes to have its number is not it."
function stop_watching!(config::WorkerConfig)
    watcher = config.userdata
    watcher isa Base.Process || return
    config.userdata = nothing
    try
        println(watcher, "ended")
        close(watcher.in)
    catch err
        err isa Base.IOError || rethrow()       # somebody killed it
    end
end

# Ctrl-C shall not wait for the compiler.
precompile(halt!, (Launches,))
precompile(kill_now, (WorkerConfig,))
