"""What Lightning is told where processes of ours train together: the group is there already."""

from __future__ import annotations

from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy, Strategy

from hyperspec.training.callbacks.checkpointing import random_states, restore_random_states
from hyperspec.utils.distributed import world


class OwnProcesses(LightningEnvironment):
    """The processes of one machine, one per device, started and joined to a group by the run.

    Said of a single process too. Lightning would otherwise take a SLURM job's tasks for those of
    the training: refuse ``--ntasks`` above 1, and requeue the job by itself beside submitit.
    """

    def __init__(self) -> None:
        super().__init__()
        self._global_rank, self._world_size = world()

    @property
    def creates_processes_externally(self) -> bool:
        """Lightning starts none: its own launcher runs the command line anew, all of a sweep."""
        return True

    def set_world_size(self, size: int) -> None:
        """Keep what is known."""

    def set_global_rank(self, rank: int) -> None:
        """Keep what is known."""

    def local_rank(self) -> int:
        """Return the number of this process: all are on one machine."""
        return self.global_rank()

    def node_rank(self) -> int:
        """Return the number of the machine, of one."""
        return 0

    def teardown(self) -> None:
        """Leave the environment variables as they are."""


class OwnDdp(DDPStrategy):
    """DDP that draws on as a single process would: Lightning's would seed anew here."""

    def setup_distributed(self) -> None:
        """Set the group up, and leave the random states as they were."""
        states = random_states()
        super().setup_distributed()
        restore_random_states(states)


def strategy() -> Strategy | str:
    """Return Lightning's strategy: DDP in a group of several processes, else its own choice."""
    return "auto" if world()[1] == 1 else OwnDdp()
