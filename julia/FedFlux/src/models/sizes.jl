# Checks of the sizes of models, before one is made.

"""
The size of one side after a window of `k` with `stride` and `pad`. Throws an error that
names the layer if the input is too small.
"""
function side_after(side, k, stride, pad, layer, imgsize)
    side + 2pad >= k ||
        fail(layer, " needs an input of at least ", k - 2pad, " pixels per side and gets ",
            side, " from images of ", join(imgsize, "×"),
            ": use larger images or another model")
    return (side + 2pad - k) ÷ stride + 1
end

"More parameters than this are a mistake, or somebody else's number: 1 GB as Float32."
const MOST_PARAMETERS = 2^28

"""
Throw if a model's Dense layers of these `widths`, and `more` parameters, are too many,
before any is made.
"""
function check_parameters(name, widths, more = 0)
    n = sum(i -> big(widths[i]) * widths[i+1], 1:(length(widths)-1); init = big(more))
    n <= MOST_PARAMETERS || fail(name, " would have ", n, " parameters (layers of ",
        join(widths, ", "), "); expected at most ", MOST_PARAMETERS)
end

function checksizes(imgsize, channels, classes)
    length(imgsize) == 2 && all(>(0), imgsize) ||
        fail("imgsize is ", imgsize, "; expected two positive numbers, (width, height)")
    channels > 0 || fail("channels is ", channels, "; expected a positive number")
    classes > 0 || fail("classes is ", classes, "; expected a positive number")
end
