# Shamir's secret sharing (Shamir 1979) of 32 bytes, t of n.
#
# The secret is cut into limbs of 7 bytes, each shared by a polynomial of its own over the
# field of 2^61 − 1, a Mersenne prime: a product is one machine instruction and a few more.
# Fewer than t shares say nothing at all about a secret, whatever the size of the field, so
# a larger one would add no security; it must only hold a limb and number the holders.

const FIELD = UInt64(2)^61 - 1
const LIMBS, LIMB_BYTES = 5, 7
const Share = NTuple{LIMBS,UInt64}

add_field(a, b) = (s = a + b; s >= FIELD ? s - FIELD : s)
subtract_field(a, b) = a >= b ? a - b : a + FIELD - b

# 2^61 = 1 in the field: the high bits of a product are added to the low ones.
function times_field(a::UInt64, b::UInt64)
    product = widemul(a, b)
    return add_field((product % UInt64) & FIELD, (product >> 61) % UInt64)
end

"1/a = a^(p−2) (Fermat)."
function invert_field(a)
    power, out = a, UInt64(1)
    for bit = 0:60
        isodd((FIELD - 2) >> bit) && (out = times_field(out, power))
        power = times_field(power, power)
    end
    return out
end

"Uniform in the field, from the operating system."
function random_field(sizes...)
    fresh(n) = reinterpret(UInt64, random_bytes(8n)) .>> 3       # 61 bits
    x = reshape(fresh(prod(sizes)), sizes)
    while
    (again = findall(==(FIELD), x); !isempty(again))
        x[again] = fresh(length(again))
    end
    return x
end

"""
    share_secret(secret, t, holders) -> Vector{Share}

A share of the 32-byte `secret` for each of `holders`, distinct positive integers; any `t`
of them give it back, fewer say nothing about it.
"""
function share_secret(secret, t, holders)
    1 <= t <= length(holders) ||
        refuse("the threshold is ", t, " of ", length(holders), " shares")
    # The share of 0 would be the secret itself.
    allunique(holders) && all(>=(1), holders) ||
        refuse("the holders of shares are ", join(Int.(holders), ", "),
            "; expected different numbers from 1 on")
    coefficients = random_field(LIMBS, t - 1)
    constants = limbs(secret)
    value(limb, x) = add_field(constants[limb],
        foldr((c, sum) -> times_field(add_field(c, sum), x),
            view(coefficients, limb, :); init = UInt64(0)))
    shares = [ntuple(limb -> value(limb, UInt64(x)), LIMBS) for x in holders]
    fill!(coefficients, 0)
    return shares
end

"""
    recover_secret(shares, holders, t) -> secret

The secret of `shares`, which belong to `holders`, by Lagrange's interpolation at 0. Throws
a [`FedFluxError`](@ref) for fewer than `t`, and for shares that belong to no secret.
"""
function recover_secret(shares, holders, t)
    length(shares) >= t || refuse(length(shares), " shares came, and ", t, " are needed")
    xs = UInt64.(view(holders, 1:t))
    sums = zeros(UInt64, LIMBS)
    for i = 1:t
        weight = lagrange_weight(xs, i)
        for limb = 1:LIMBS
            sums[limb] = add_field(sums[limb], times_field(weight, shares[i][limb]))
        end
    end
    return secret_of(sums)
end

"∏ xⱼ/(xⱼ − xᵢ) over all j ≠ i."
function lagrange_weight(xs, i)
    above = below = UInt64(1)
    for (j, x) in enumerate(xs)
        j == i && continue
        above = times_field(above, x)
        below = times_field(below, subtract_field(x, xs[i]))
    end
    return times_field(above, invert_field(below))
end

limb_range(limb) = (LIMB_BYTES*(limb-1)+1):min(LIMB_BYTES*limb, KEY_BYTES)

function limbs(secret)
    check_size("a secret", secret, KEY_BYTES)
    return [
        foldr((byte, v) -> v << 8 | byte, view(secret, limb_range(limb));
            init = UInt64(0)) for limb = 1:LIMBS
    ]
end

function secret_of(values)
    secret = Vector{UInt8}(undef, KEY_BYTES)
    for (limb, v) in enumerate(values)
        bytes = limb_range(limb)
        v < UInt64(1) << 8length(bytes) ||
            refuse("the shares belong to no secret; one is wrong")
        secret[bytes] = [(v >> 8i) % UInt8 for i = 0:(length(bytes)-1)]
    end
    return secret
end
