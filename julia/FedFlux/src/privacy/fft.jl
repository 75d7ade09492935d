# The fast Fourier transform of a length that is a power of 2: what the composition of
# privacy losses needs, and nothing else does.

"exp(−2πi j/n) for j = 0 … n/2 − 1."
roots_of_unity(n) = [cispi(-2j / n) for j = 0:(n÷2-1)]

"""
    fft!(x, scratch, roots) -> y

The Fourier transform yₖ = Σⱼ xⱼ exp(−2πi jk/n) of a complex vector whose length n is a
power of 2: Stockham's radix-2 algorithm. `x` and `scratch` are overwritten; the result is
one of the two. `roots` are [`roots_of_unity`](@ref)`(n)`.
"""
function fft!(x, scratch, roots)
    half, stride = length(x) ÷ 2, 1
    while half >= 1
        stockham_pass!(scratch, x, roots, half, stride)
        x, scratch = scratch, x
        half ÷= 2
        stride *= 2
    end
    return x
end

function stockham_pass!(y, x, roots, half, stride)
    @inbounds for j = 0:(half-1)
        w = roots[j*stride+1]
        from, to = j * stride, 2j * stride
        @simd for k = 1:stride
            a, b = x[from+k], x[from+k+half*stride]
            y[to+k] = a + b
            y[to+k+stride] = w * (a - b)
        end
    end
end
