#!/usr/bin/env python3
"""Computes the coefficients of `gelu` and `exp` in `mod.rs`: near-minimax polynomials by iteratively reweighted least squares
(Lawson) on Chebyshev nodes, in f64. Requires numpy. Prints the coefficients, lowest power first, and the largest weighted
error.
"""

import math

import numpy as np

NODES = 4000


def fit(function, weight, degree):
    s = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    y, w, importance = function(s), weight(s), np.ones(NODES)
    basis = np.polynomial.chebyshev.chebvander(s, degree)
    for _ in range(200):
        scale = w * np.sqrt(importance)
        c = np.linalg.lstsq(basis * scale[:, None], y * scale, rcond=None)[0]
        error = abs(basis @ c - y) * w
        importance *= error / error.max() + 1e-3
        importance /= importance.mean()
    return np.polynomial.chebyshev.cheb2poly(c), error.max()


def show(name, coefficients, error):
    print(name, f"error {error:.1e}", *(f"{np.float32(c):.8e}" for c in coefficients), sep="\n  ")


# (Phi(x) - 1/2) / x over s = 2 x^2 / CLAMP^2 - 1. The weight converts the error to that of gelu: times x for Phi, and
# times x again, with a minimum of 0.3 that preserves the relative accuracy of small x.
CLAMP = 5.5
x_of = lambda s: np.sqrt(np.maximum((s + 1) * CLAMP**2 / 2, 1e-12))
erf = np.vectorize(math.erf)
show("gelu P", *fit(lambda s: erf(x_of(s) / math.sqrt(2)) / 2 / x_of(s),
                       lambda s: x_of(s) * np.maximum(x_of(s), 0.3), 15))

# e^r over |r| <= ln 2 / 2, relative error.
HALF = math.log(2) / 2
c, e = fit(lambda s: np.exp(s * HALF), lambda s: np.exp(-s * HALF), 6)
show("exp E", c / HALF ** np.arange(7), e)
