# The index tables of a convolution: which pixels, and which runs of inputs each of them sums over.

"Neighbouring runs as one, where the next begins where the last one ends."
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

"Runs for 64 channels at once: as long as can be, and as short as the cache wants."
shaped(runs, whole) = cut_runs(whole ? merge_runs(runs) : runs, 64)

"Size, stride, left and top pad, and dilation of a window."
struct Window
    k::NTuple{2,Int}
    stride::NTuple{2,Int}
    pad::Border
    dilation::NTuple{2,Int}
end

both_sides(pad::NTuple{2,Int})::Border = (pad[1], pad[1], pad[2], pad[2])
both_sides(pad::NTuple{4,Int})::Border = pad
both_sides(pad)::Border = (0, 0, 0, 0)      # not an image's; the layer is refused

function outsize(win::Window, W, H)
    side(n, d, before, after) = (n + before + after - win.dilation[d] * (win.k[d] - 1) - 1) ÷ win.stride[d] + 1
    return side(W, 1, win.pad[1], win.pad[2]), side(H, 2, win.pad[3], win.pad[4])
end

"The forward sweep over `y` from the padded `x`; `channels` of x make up one group of the convolution."
function forward_sweep(win::Window, x::Buffer, y::Buffer, channels)
    origin(i, j) = offset(x, i * win.stride[1] - win.pad[1], j * win.stride[2] - win.pad[3])
    pin = [origin(i, j) for j in 0:y.H-1 for i in 0:y.W-1]
    pout = [offset(y, i, j) for j in 0:y.H-1 for i in 0:y.W-1]
    runs = [Run(b * win.dilation[2] * row(x) + a * win.dilation[1] * x.C, channels) for b in 0:win.k[2]-1 for a in 0:win.k[1]-1]
    return image_sweep(pin, pout, shaped(runs, channels == x.C), image(x), image(y))
end

"One tap of the window, and the output pixel, relative to the first of its phase, that reads an input through it."
struct Tap
    a::Int
    b::Int
    i::Int
    j::Int
end

"The taps through which the inputs (p, q), (p + stride, q), … are read, in the order of the outputs' offsets."
function phase_taps(win::Window, p, q)
    shift(first, pad, tap, d) = divrem(first + pad - tap * win.dilation[d], win.stride[d], RoundDown)
    taps = Tap[]
    for b in 0:win.k[2]-1, a in 0:win.k[1]-1
        i, ri = shift(p, win.pad[1], a, 1)
        j, rj = shift(q, win.pad[3], b, 2)
        ri == 0 && rj == 0 && push!(taps, Tap(a, b, i, j))
    end
    return sort!(taps; by = t -> (t.j, t.i))
end

phases(win::Window) = [(p, q) for q in 0:win.stride[2]-1 for p in 0:win.stride[1]-1]

"The border of zeros around the outputs' gradient that [`backward_sweep`](@ref) reads."
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
The backward sweep over the inputs (p, q), (p + stride, q), … of `dx`: each is a sum over the pixels of the padded `dy` that
its taps lead to. `channels` of dy make up one group of the convolution.
"""
function backward_sweep(win::Window, dy::Buffer, dx::Buffer, channels, p, q)
    is, js = p:win.stride[1]:dx.W-1, q:win.stride[2]:dx.H-1
    pin = [offset(dy, (i - p) ÷ win.stride[1], (j - q) ÷ win.stride[2]) for j in js for i in is]
    pout = [offset(dx, i, j) for j in js for i in is]
    runs = [Run(t.j * row(dy) + t.i * dy.C, channels) for t in phase_taps(win, p, q)]
    return image_sweep(pin, pout, shaped(runs, channels == dy.C), image(dy), image(dx))
end
