"""Several processes that train one model, started by `torchrun`: each on rows of its own, all with the same weights."""

from __future__ import annotations

import atexit
import os
import warnings
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Processes:
    """This process among the others.

    Attributes:
        rank: Which one, from 0; files are written by 0 alone.
        count: How many; 1 where nobody started several.
        device: Where this one computes.
    """

    rank: int
    count: int
    device: torch.device

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with derivatives that are means over all processes; buffers stay each process's own."""
        if self.count == 1:
            return model
        with warnings.catch_warnings():
            # torch 2.13 (2026) renames the argument, and tells those who mean what we mean to keep the old name.
            warnings.filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
            return DistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=True)

    def part(self, rows: Tensor) -> Tensor:
        """The rows that are this process's, equally many for each: no two have one in common."""
        each = len(rows) // self.count
        return rows[self.rank * each : (self.rank + 1) * each]

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Which flags are up in any process."""
        if self.count == 1:
            return flags
        up = torch.tensor(flags, dtype=torch.uint8, device=self.device)
        dist.all_reduce(up, dist.ReduceOp.MAX)
        return tuple(bool(flag) for flag in up.tolist())

    def gather(self, mine: Any) -> list[Any]:
        """What each process has, by rank, in every process."""
        if self.count == 1:
            return [mine]
        everyone: list[Any] = [None] * self.count
        dist.all_gather_object(everyone, mine)
        return everyone


def device_of(name: str | None, model: nn.Module) -> torch.device:
    """The device that was asked for; that of the model when none was, one GPU for each process of a machine."""
    device = next(model.parameters()).device if name is None else torch.device(name)
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return device


def join(device: torch.device) -> Processes:
    """Join the processes that `torchrun` started, for as long as this one lives; alone where it started none.

    Args:
        device: Where this process computes: GPUs talk through NCCL, CPUs through gloo.

    Returns:
        This process among them.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    if dist.is_available() and dist.is_initialized():
        return Processes(dist.get_rank(), dist.get_world_size(), device)
    return Processes(0, 1, device)
