# The logits and the features of a batch, and the gradient of what a rule adds to the loss.

function ends_size(e::LayerEngine)
    o = last(e.operations)
    o isa DenseOp && pixels(e.output) == 1 && isdense(o.x) || unsupported(NO_ENDS)
    return features(e.output), features(o.x)
end

function ends!(b::Ends, e::LayerEngine, w, x)
    n = stage!(e, x, nothing)
    GC.@preserve e w begin
        arena, staged, stats = pointer(e.arena), pointer(e.staged), pointer(e.stats)
        wp = checked_pointer(e, w)
        p = e.pass[] = Pass(arena, C_NULL, staged, wp, C_NULL, stats, n, false)
        each_forward(forward!, e.operations, e.pass)
        read_ends!(last(e.operations), e.pass, b)
    end
    return b
end

# All arguments are on the heap, as in `each_forward`.
function read_ends!(o::DenseOp, pass::Ref{Pass}, b::Ends)
    p = pass[]
    copy_columns!(b.z, address(p, o.y), p.n)
    copy_columns!(b.h, address(p, o.x), p.n)
    return nothing
end

copy_columns!(a::Matrix{Float32}, from::Ptr32, n) =
    GC.@preserve a unsafe_copyto!(pointer(a), from, size(a, 1) * n)

function valgrad!(teach, e::LayerEngine, g, w, x, y, b::Ends)
    n = stage!(e, x, y)
    GC.@preserve e w g b begin
        arena, staged, stats = pointer(e.arena), pointer(e.staged), pointer(e.stats)
        wp, gp = checked_pointer(e, w), checked_pointer(e, g)
        p = e.pass[] = Pass(arena, C_NULL, staged, wp, gp, stats, n, true)
        each_forward(forward!, e.operations, e.pass)
        loss = output_gradient!(e, p)
        read_ends!(last(e.operations), e.pass, b)
        copy_columns!(b.dz, address(p, e.gradient), n)
        fill!(b.dh, 0)
        loss += Float32(teach(n))
        unsafe_copyto!(address(p, e.gradient), pointer(b.dz), size(b.dz, 1) * n)
        backward!(last(e.operations), e.pass)
        add_feature_gradient!(last(e.operations), e.pass, b)
        for i = (length(e.operations)-1):-1:1
            backward!(e.operations[i], e.pass)
        end
    end
    return loss
end

function add_feature_gradient!(o::DenseOp, pass::Ref{Pass}, b::Ends)
    o.dx === nothing && return nothing      # the features are the inputs
    p = pass[]
    dx = address(p, o.dx)
    for i = 1:(size(b.dh, 1)*p.n)
        unsafe_store!(dx, unsafe_load(dx, i) + b.dh[i], i)
    end
    return nothing
end
