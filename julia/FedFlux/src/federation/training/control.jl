# How training is told to stop.

"""
Asks workers to stop at their next step. Workers also yield to the scheduler now and then,
so that a run on one thread can be interrupted.
"""
mutable struct Control
    @atomic stop::Bool
    @atomic yielded::UInt64      # when a worker last yielded
end
Control() = Control(false, time_ns())

const YIELD_NS = UInt64(50_000_000)

function should_stop(c::Control)
    now = time_ns()
    if now - (@atomic c.yielded) > YIELD_NS
        @atomic c.yielded = now
        yield()
    end
    return @atomic c.stop
end
