"""`shiftscope bench`: the notebook way, ours and the limit, measured in turns on this machine."""
