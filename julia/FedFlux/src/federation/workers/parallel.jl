# Work on several threads while the calling task stays free to report and to be interrupted.

"Seconds on a clock that nobody sets: `time()` jumps if the system's is corrected."
clock() = time_ns() / 1e9

"""
    in_parallel(work, n, control, tick; spawn = true, halt = nothing)

Run `work(i)` for i in 1:n, each in a task of its own, until all have ended; with
`spawn = false` on the thread of the calling task, for work that waits for others. Meanwhile
`tick()`, if it isn't `nothing`, is called in the calling task several times per second.
An exception of `tick` or of any `work` stops the others (through `control`) and is thrown
here, unwrapped. For work that doesn't look at `control`, `halt()` is called after one of
`tick`; what doesn't end within `HALT_SECONDS` then is left alone.
"""
function in_parallel(work, n, control::Control, tick; spawn = true, halt = nothing)
    events = Channel{Symbol}(Inf)
    function run_one(i)
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
            take!(events) === :done ? (done += 1) : tick()
        end
    catch
        @atomic control.stop = true
        if halt !== nothing
            halt()
            timedwait(() -> all(istaskdone, tasks), HALT_SECONDS; pollint = 0.02)
            empty!(tasks)
        end
        rethrow()
    finally
        timer === nothing || close(timer)
        foreach(wait_quietly, tasks)
        @atomic control.stop = false
    end
    for t in tasks
        istaskfailed(t) && throw(t.result)
    end
end

const HALT_SECONDS = 0.5

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
