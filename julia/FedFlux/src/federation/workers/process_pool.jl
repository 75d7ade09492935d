# The worker processes of a run as the round meets them: lanes that train one client after
# another, each in a process of its own. remote.jl has what travels.

"A worker process, and what it holds already."
mutable struct Member
    const process::WorkerProcess
    const lock::ReentrantLock      # one client at a time
    run::Any                       # the (f, clients) that it holds, or nothing
    facts::NamedTuple              # of this round
end
Member(p::WorkerProcess) = Member(p, ReentrantLock(), nothing, (;))

"""
The worker processes of a run. `spare`, a worker of the main process, trains where none is
left; `key` names the run on them; `notes` say what happened to them.
"""
struct Crew{W<:Worker}
    members::Vector{Member}
    spare::W
    spare_lock::ReentrantLock
    trainer::String
    key::UInt64
    notes::Vector{String}
end

"A place in the crew: what trains clients in its process, or in another where it is lost."
struct Lane{C<:Crew}
    crew::C
    i::Int
end

"The crew of the processes that are asked for, or `nothing` where none are."
function assemble(workers, machines, spare, trainer, control, tick)
    workers === nothing && machines === nothing && return nothing
    workers == 0 && machines === nothing && return nothing
    processes, launches = WorkerProcess[], Launches()
    halt() = halt!(launches)
    try
        in_parallel(1, control, tick; spawn = false, halt) do _
            worker_processes!(processes, launches, workers, machines)
        end
        isempty(processes) && fail("workers is an empty list; expected process ids")
    catch
        end_processes(processes)
        rethrow()
    end
    return Crew(Member.(processes), spare, ReentrantLock(), trainer,
        rand(Random.RandomDevice(), UInt64), other_processors(processes))
end

"A warning where the processors are of different kinds, in a list."
function other_processors(processes)
    others = setdiff((remotecall_fetch(processor, p.id) for p in processes), [processor()])
    return String[
        string("worker processes run on ", other, ", and this one on ", processor(),
            ": processors of different kinds may add in another order, and differ in the ",
            "last digits") for other in others
    ]
end

lanes(crew::Crew) = [Lane(crew, i) for i in eachindex(crew.members)]

"The member that works for a lane: its own, or the next that isn't lost, if there is one."
function member(crew::Crew, i)
    n = length(crew.members)
    j = findfirst(j -> crew.members[mod1(i + j, n)].process.id != 0, 0:(n-1))
    return j === nothing ? nothing : crew.members[mod1(i + j - 1, n)]
end

"A new round: what the processes hold of the last one has changed."
forget_round!(crew::Crew) = foreach(m -> m.facts = (;), crew.members)

"The member's process has ended: start another, or leave its clients to the others."
function restart!(crew::Crew, m::Member)
    id = m.process.id
    m.run, m.facts = nothing, (;)
    there = restart!(m.process)
    left = count(m -> m.process.id != 0, crew.members)
    push!(
        crew.notes,
        string("worker process ", id, " ended during the run; ",
            there ? "another has taken its place" :
            left > 0 ? "$left others train its clients" :
            "no other is left, and this process trains the clients")
    )
end

"What happened to the processes since the last call."
notes!(crew::Crew) = splice!(crew.notes, eachindex(crew.notes))
