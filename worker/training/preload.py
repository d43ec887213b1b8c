"""Everything a trainer imports, for the forkserver that trainers are forked from.

Imports only: a process that has computed (and so started OpenMP's threads) must not be forked.
torch._dynamo is torch's own late import: the first optimizer would pay a second for it.
"""

import torch
import torch._dynamo

import worker.training.trainer

__all__ = ["torch", "worker"]
