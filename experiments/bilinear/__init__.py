"""Bilinear layers: how networks that are exactly a tensor learn, and what their eigenvectors say.

Eleven experiments on how quickly each eigenvalue is learned, what gradient descent conserves, what weight decay and noise do to
the rank, and the eigenvectors, their similarity across seeds and the masks of digit classifiers. Four minutes on two cores; the
digits of MNIST come with a package: pip install -e ".[images]" -c constraints.txt.
"""
