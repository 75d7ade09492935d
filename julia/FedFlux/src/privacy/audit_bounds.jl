# How private a mechanism can be at most, from how often an attack on it fails: counts to
# limits of rates, and those to a lower bound of ε.

"""
    binomial_upper(failures, n, confidence) -> Float64

The upper limit of a probability after `failures` in `n` independent trials: at least the
true one with this confidence, whatever it is. Clopper and Pearson 1934, Biometrika 26(4).

```julia
FedFlux.binomial_upper(3, 10, 0.95)      # 0.6066
```
"""
binomial_upper(failures, n, confidence) =
    failures >= n ? 1.0 : first(beta_inc_inv(failures + 1, n - failures, confidence))

"""
    epsilon_lower(fpr, fnr, delta) -> Float64

The smallest ε that an (ε, `delta`) private mechanism can have, if an attack that tells
neighbors apart has at most these false positive and false negative rates; 0 if they
tell nothing. From both inequalities that bound any test: 1 − fnr ≤ e^ε fpr + δ, and the
same with the rates exchanged (Kairouz, Oh, Viswanath 2015, arXiv:1311.0776, Theorem 2.1).

```julia
FedFlux.epsilon_lower(0.01, 0.5, 1e-5)      # 3.912
```
"""
function epsilon_lower(fpr, fnr, delta)
    ratio = max((1 - delta - fnr) / fpr, (1 - delta - fpr) / fnr)
    return ratio > 1 ? log(ratio) : 0.0
end
