"""Online SGD in high dimension: committees whose overlaps follow exact equations, and how long a direction is looked for.

The error of a committee on its way, its plateau and its floor at any learning rate, the information exponent of a single
direction, and staircases of products on the cube; a fresh sample a step. Three and a half minutes on two cores.
"""
