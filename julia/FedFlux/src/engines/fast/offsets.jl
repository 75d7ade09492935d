# The offset tables of a convolution: its output pixels, and the runs of inputs that each
# one sums over.

"Merge adjacent runs."
function merge_runs(runs)
    merged = Run[]
    for r in runs
        if !isempty(merged) && merged[end].at + merged[end].len == r.at
            merged[end] = Run(merged[end].at, merged[end].len + r.len)
        else
            push!(merged, r)
        end
    end
    return merged
end

"""
The runs of a convolution, split for tiles of 64 channels. Merges them first if the
convolution reads the `whole` of each pixel, so that neighboring pixels are one run.
"""
blocked_runs(runs, whole) = split_runs(whole ? merge_runs(runs) : runs, 64)

"""
    Window(k, stride, pad, dilation)

The window of a convolution or a pool: its size, stride, padding and dilation.
"""
struct Window
    k::NTuple{2,Int}
    stride::NTuple{2,Int}
    pad::Border
    dilation::NTuple{2,Int}
end

"The window for the sizes of a layer of one or two axes: a signal is an image of one row."
function layer_window(k, stride, pad, dilation)
    two(sizes) = (sizes[1], length(sizes) == 1 ? 1 : sizes[2])
    return Window(two(k), two(stride), both_sides(length(k), pad), two(dilation))
end

"The border of a layer's padding, on both sides of each of its axes."
function both_sides(axes, pad)::Border
    axes == 1 && return (first(pad), last(pad), 0, 0)
    axes == 2 && return length(pad) == 4 ? pad : (pad[1], pad[1], pad[2], pad[2])
    return NO_BORDER      # no layer of this engine
end

function outsize(win::Window, W, H)
    function side(n, d, before, after)
        extent = win.dilation[d] * (win.k[d] - 1) + 1
        return (n + before + after - extent) ÷ win.stride[d] + 1
    end
    return side(W, 1, win.pad[1], win.pad[2]), side(H, 2, win.pad[3], win.pad[4])
end

"""
The offsets of the forward convolution, from the padded `x` to `y`. A group of the
convolution has `channels` channels of x.
"""
function forward_offsets(win::Window, x::Buffer, y::Buffer, channels)
    origin(i, j) = offset(x, i * win.stride[1] - win.pad[1], j * win.stride[2] - win.pad[3])
    xoffsets = [origin(i, j) for j = 0:(y.H-1) for i = 0:(y.W-1)]
    yoffsets = [offset(y, i, j) for j = 0:(y.H-1) for i = 0:(y.W-1)]
    tap(a, b) = b * win.dilation[2] * row_stride(x) + a * win.dilation[1] * x.C
    runs = [Run(tap(a, b), channels) for b = 0:(win.k[2]-1) for a = 0:(win.k[1]-1)]
    runs = blocked_runs(runs, channels == x.C)
    return grouped_offsets(xoffsets, yoffsets, runs, sample_stride(x), sample_stride(y))
end

"""
    Tap(a, b, i, j)

Tap (a, b) of the window, and the output pixel (i, j) that reads an input through it,
relative to the first output pixel of the input's phase.
"""
struct Tap
    a::Int
    b::Int
    i::Int
    j::Int
end

"""
The taps that read one phase of the inputs, (p, q), (p + stride, q), …, in the order of the
outputs' offsets.
"""
function phase_taps(win::Window, p, q)
    function shift(first, pad, tap, d)
        return divrem(first + pad - tap * win.dilation[d], win.stride[d], RoundDown)
    end
    taps = Tap[]
    for b = 0:(win.k[2]-1), a = 0:(win.k[1]-1)
        i, ri = shift(p, win.pad[1], a, 1)
        j, rj = shift(q, win.pad[3], b, 2)
        ri == 0 && rj == 0 && push!(taps, Tap(a, b, i, j))
    end
    return sort!(taps; by = t -> (t.j, t.i))
end

phases(win::Window) = [(p, q) for q = 0:(win.stride[2]-1) for p = 0:(win.stride[1]-1)]

"The border of zeros around the outputs' gradient that [`backward_offsets`](@ref) needs."
function gradient_border(win::Window, W, H)::Border
    OW, OH = outsize(win, W, H)
    left, right, top, bottom = 0, 0, 0, 0
    for (p, q) in phases(win), t in phase_taps(win, p, q)
        (p < W && q < H) || continue
        left, top = max(left, -t.i), max(top, -t.j)
        right = max(right, (W - 1 - p) ÷ win.stride[1] + t.i - (OW - 1))
        bottom = max(bottom, (H - 1 - q) ÷ win.stride[2] + t.j - (OH - 1))
    end
    return (left, right, top, bottom)
end

"""
The offsets of the backward convolution, from the padded `dy` to one phase of the pixels of
`dx`: (p, q), (p + stride, q), … Each is a sum over the pixels of dy that its taps lead to.
A group of the convolution has `channels` channels of dy.
"""
function backward_offsets(win::Window, dy::Buffer, dx::Buffer, channels, p, q)
    is, js = p:win.stride[1]:(dx.W-1), q:win.stride[2]:(dx.H-1)
    source(i, j) = offset(dy, (i - p) ÷ win.stride[1], (j - q) ÷ win.stride[2])
    yoffsets = [source(i, j) for j in js for i in is]
    xoffsets = [offset(dx, i, j) for j in js for i in is]
    taps = phase_taps(win, p, q)
    runs = [Run(t.j * row_stride(dy) + t.i * dy.C, channels) for t in taps]
    runs = blocked_runs(runs, channels == dy.C)
    return grouped_offsets(yoffsets, xoffsets, runs, sample_stride(dy), sample_stride(dx))
end
