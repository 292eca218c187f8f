"""Backpropagation through two linear layers, against SymPy's derivatives."""

import sympy

x, y = sympy.Matrix(sympy.symbols("x:2")), sympy.Matrix(sympy.symbols("y:2"))
V = sympy.Matrix(3, 2, sympy.symbols("v:6"))
W = sympy.Matrix(2, 3, sympy.symbols("w:6"))

hidden = V * x
output = W * hidden
cost = (output - y).dot(output - y) / 2

last = output - y  # no slope of a neuron: it is 1
inner = W.T * last
for name, weights, slopes in [("V", V, inner * x.T), ("W", W, last * hidden.T)]:
    derivatives = weights.applyfunc(lambda w: sympy.diff(cost, w))
    print(name, "differs by", (derivatives - slopes).expand().tolist())
