# Work on several threads while the calling task stays free to report and to be interrupted.

"Seconds on a clock that nobody sets: `time()` jumps if the system's is corrected."
clock() = time_ns() / 1e9

"""
    in_parallel(work, n, control, tick; spawn = true, halt = nothing)

Run `work(i)` for i in 1:n, each in a task of its own, until all have ended; with
`spawn = false` on the thread of the calling task, for work that waits for others. Meanwhile
`tick()`, if it isn't `nothing`, is called in the calling task several times per second.
So is what `work` asks for with [`in_calling_task`](@ref). An exception of these, or of any
`work`, stops the others (through `control`) and is thrown here, unwrapped. For work that
doesn't look at `control`, `halt()` is called after one of `tick`; what doesn't end within
`HALT_SECONDS` then is left alone.
"""
function in_parallel(work, n, control::Control, tick; spawn = true, halt = nothing)
    events = Channel{Any}(Inf)
    function run_one(i)
        task_local_storage(CALLS, events)
        try
            work(i)
        catch
            @atomic control.stop = true
            rethrow()
        finally
            put!(events, :done)
        end
    end
    tasks = [spawn ? Threads.@spawn(run_one(i)) : @async(run_one(i)) for i = 1:n]
    timer =
        tick === nothing ? nothing :
        Timer(_ -> put!(events, :tick), 0.1; interval = 0.1)
    try
        done = 0
        while done < n
            event = take!(events)
            event isa Call ? reply!(event) : event === :done ? (done += 1) : tick()
        end
    catch
        @atomic control.stop = true
        @async foreach(refuse!, events)     # who still waits for an answer gets none
        if halt !== nothing
            halt()
            timedwait(() -> all(istaskdone, tasks), HALT_SECONDS; pollint = 0.02)
            empty!(tasks)
        end
        rethrow()
    finally
        timer === nothing || close(timer)
        foreach(wait_quietly, tasks)
        halt === nothing && close(events)
        @atomic control.stop = false
    end
    for t in tasks
        istaskfailed(t) && throw(t.result)
    end
end

const HALT_SECONDS = 0.5

# What a task of `in_parallel` asks of the task that called it.
struct Call
    f::Any
    answer::Channel{Any}
end
const CALLS = :fedflux_calls

"""
    in_calling_task(f)

`f()`, called in the task that called [`in_parallel`](@ref), for a work that only this one
may do, such as a call into Python; outside `in_parallel`, in the task at hand. What `f`
throws ends all work, and is thrown by `in_parallel`.
"""
function in_calling_task(f)
    calls = get(task_local_storage(), CALLS, nothing)
    calls === nothing && return f()
    call = Call(f, Channel{Any}(1))
    put!(calls, call)
    return take!(call.answer)
end

function reply!(call::Call)
    try
        put!(call.answer, call.f())
    catch
        refuse!(call)
        rethrow()
    end
end
refuse!(call::Call) = close(call.answer)
refuse!(event) = nothing

wait_quietly(t::Task) =
    try
        wait(t)
    catch err
        err isa TaskFailedException || rethrow()
    end

"`work()` while BLAS uses `n` threads."
function with_blas_threads(work, n)
    before = BLAS.get_num_threads()
    BLAS.set_num_threads(n)
    try
        return work()
    finally
        BLAS.set_num_threads(before)
    end
end
