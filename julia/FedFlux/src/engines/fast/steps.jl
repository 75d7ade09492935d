# From a sequence to features: its last step, or the mean of its steps.

"Takes the last step (`mean = false`) or the mean over all steps of a sequence."
struct StepsOp{DX,DY} <: Operation
    x::Buffer
    dx::DX
    y::Buffer
    dy::DY
    mean::Bool
    lengths::Vector{Int}
end

const FromSteps = Union{typeof(last_step),typeof(mean_of_steps)}

decompose(f::FromSteps) = (f,)

function output_shape(f::FromSteps, s::Shape)
    s.kind === :sequence || unsupported("$f takes sequences (F, T)")
    return Shape(:features, s.C, 1, 1)
end

make_operation(f::FromSteps, b::Builder, s::Shape, x, dx, y, dy) =
    StepsOp(x, dx, y, dy, f === mean_of_steps, b.lengths)

function forward!(o::StepsOp, p::Pass, lo, hi)
    C = o.x.C
    for n = lo:hi
        x, y = address(p, o.x, n), address(p, o.y, n)
        T = real_length(o.lengths, n, o.x.W)
        if o.mean
            sum_columns!(y, x, C, T, false)
            scale!(y, C, 1.0f0 / T)
        else
            unsafe_copyto!(y, at(x, C * (T - 1)), C)
        end
    end
end

function backward!(o::StepsOp, p::Pass, lo, hi)
    o.dx === nothing && return
    C = o.x.C
    for n = lo:hi
        dx, dy = address(p, o.dx, n), address(p, o.dy, n)
        T = real_length(o.lengths, n, o.x.W)
        zeros!(at(dx, C * T), C * (o.x.W - T))
        for t = 0:(T-2)
            o.mean ? scaled_copy!(at(dx, C * t), dy, C, 1.0f0 / T) :
            zeros!(at(dx, C * t), C)
        end
        scaled_copy!(at(dx, C * (T - 1)), dy, C, o.mean ? 1.0f0 / T : 1.0f0)
    end
end

"Write `n` values times `factor` to `to`."
function scaled_copy!(to::Ptr32, from::Ptr32, n, factor)
    each_vector(Val(16), n) do i, width, mask
        store(load(width, at(from, i), mask) * factor, at(to, i), mask)
    end
end
scale!(x::Ptr32, n, factor) = scaled_copy!(x, x, n, factor)
