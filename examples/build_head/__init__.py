"""How the built-in head is made, one module a step; `examples.build_head.build_head` runs them.

Everything is in metres; the source's decimetres are converted where it is read.
"""
