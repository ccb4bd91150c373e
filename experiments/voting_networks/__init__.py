"""Networks of voters: correlation caps what width gains, depth loses, and discussion settles near-ties.

Three experiments on the exact accuracy of majorities: trees, correlated votes, and a round of discussion. Half a minute on two
cores.
"""
