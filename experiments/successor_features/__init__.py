"""Features that predict the values of random tasks: what Monte-Carlo regression and temporal differences learn, and how fast.

Four experiments on chains and on a map of four rooms: the first features as maps, features from finitely many tasks, the two
ways of learning against time, and the error of policy evaluation against the number of features. One and a half minutes on
two cores.
"""
