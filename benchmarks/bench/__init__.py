"""Speed benchmarks: the course notebook, Shiftscope and the hardware limit, measured in alternation on this machine."""
