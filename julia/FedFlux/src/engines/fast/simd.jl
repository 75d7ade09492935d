# SIMD vectors: masked loads and stores, and elementary functions that LLVM would otherwise
# compute one lane at a time.

"""
    CPU(lanes, registers)

The vector registers of a CPU: Float32 lanes per register, and the number of registers. They
set the size of the register tiles.
"""
struct CPU
    lanes::Int
    registers::Int
end

"The vector registers of this machine."
function CPU()
    Sys.ARCH === :x86_64 || return CPU(4, 32)
    CPUID = Base.BinaryPlatforms.CPUID
    return CPUID.test_cpu_feature(CPUID.JL_X86_avx512f) ? CPU(16, 32) : CPU(8, 16)
end

const Ptr32 = Ptr{Float32}
const F32 = Union{Float32,Vec{<:Any,Float32}}

"The address of the `i`-th float (from 0) after `p`."
@inline at(p::Ptr32, i) = p + 4i

@inline load(::Val{L}, p::Ptr{T}, ::Nothing) where {L,T} = vload(Vec{L,T}, p)
@inline load(::Val{L}, p::Ptr{T}, mask) where {L,T} = vload(Vec{L,T}, p, mask)
@inline store(v, p::Ptr, ::Nothing) = vstore(v, p)
@inline store(v, p::Ptr, mask) = vstore(v, p, mask)
@inline zero_vector(::Val{L}) where {L} = zero(Vec{L,Float32})

"The mask of the first `n` lanes."
@inline function lane_mask(::Val{L}, n) where {L}
    return Vec{L,Int32}(ntuple(i -> Int32(i), Val(L))) <= Int32(n)
end

"""
    each_vector(f, width, n)

Call `f(i, width, mask)` for i = 0, L, 2L, … below `n`. `f` works on the lanes i, i+1, …,
i+L-1. `mask` is `nothing` for full vectors and masks the last one if it is partial.
"""
@inline function each_vector(f::F, width::Val{L}, n) where {F,L}
    i = 0
    while i + L <= n
        f(i, width, nothing)
        i += L
    end
    i < n && f(i, width, lane_mask(width, n - i))
    return nothing
end

"Add the `n` floats at `from` to those at `to`."
@inline function add_values!(to::Ptr32, from::Ptr32, n)
    each_vector(Val(16), n) do i, width, mask
        sum = load(width, at(to, i), mask) + load(width, at(from, i), mask)
        store(sum, at(to, i), mask)
    end
end

@inline select(c::Bool, a, b) = ifelse(c, a, b)
@inline select(c::Vec, a, b) = vifelse(c, a, b)
@inline select(c::Vec, a::Float32, b::Vec{L}) where {L} = vifelse(c, Vec{L,Float32}(a), b)
@inline select(c::Vec, a::Vec{L}, b::Float32) where {L} = vifelse(c, a, Vec{L,Float32}(b))

@inline to_int(x::Float32) = unsafe_trunc(Int32, x)
@inline to_int(x::Vec{L,Float32}) where {L} = convert(Vec{L,Int32}, x)
@inline to_float(x::Int32) = reinterpret(Float32, x)
@inline to_float(x::Vec{L,Int32}) where {L} = reinterpret(Vec{L,Float32}, x)

"exp to about 1e-7 relative error. Clamps x to [-87, 88], so it never returns 0 or Inf."
@inline function fastexp(x::F32)
    x = min(max(x, -87.0f0), 88.0f0)
    magic = 12582912.0f0                       # 1.5·2^23: adding it rounds to an integer
    n = muladd(x, 1.442695f0, magic) - magic
    r = muladd(n, -0.69314575f0, x)            # ln 2 in two parts; n·(the first) is exact
    r = muladd(n, -1.4286068f-6, r)
    p = muladd(r, 1.9841270f-4, 1.3888889f-3)  # Taylor series for |r| <= ln(2)/2
    p = muladd(r, p, 8.3333333f-3)
    p = muladd(r, p, 4.1666667f-2)
    p = muladd(r, p, 1.6666667f-1)
    p = muladd(r, p, 0.5f0)
    p = muladd(r, p, 1.0f0)
    p = muladd(r, p, 1.0f0)
    return p * to_float((to_int(n) + Int32(127)) << Int32(23))
end

@inline fastsigmoid(x::F32) = 1.0f0 / (1.0f0 + fastexp(-x))

"tanh to a few ulp. Uses the series near 0, where the formula with exp would cancel."
@inline function fasttanh(x::F32)
    s = x * x
    p = muladd(s, -0.008863236f0, 0.021869488f0)
    p = muladd(s, p, -0.053968254f0)
    p = muladd(s, p, 0.13333333f0)
    p = muladd(s, p, -0.33333333f0)
    small = muladd(x * s, p, x)
    large = 1.0f0 - 2.0f0 / (fastexp(2.0f0 * x) + 1.0f0)
    return select(s < 0.09f0, small, large)
end

"log(1 + t) for 0 <= t <= 1, as 2·atanh(t/(2 + t))."
@inline function fastlog1p(t::F32)
    z = t / (2.0f0 + t)
    s = z * z
    p = muladd(s, 0.07692308f0, 0.09090909f0)
    p = muladd(s, p, 0.11111111f0)
    p = muladd(s, p, 0.14285715f0)
    p = muladd(s, p, 0.2f0)
    p = muladd(s, p, 0.33333334f0)
    return 2.0f0 * muladd(z * s, p, z)
end
