"""Work shared by several processes, on one or more machines, with `torch.distributed`."""

from shiftscope.distributed.group import Group, from_first, gathered, group, in_step, total
from shiftscope.distributed.together import together

__all__ = ["Group", "from_first", "gathered", "group", "in_step", "together", "total"]
