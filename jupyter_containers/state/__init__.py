"""What the engine knows, in one SQLite file."""

from jupyter_containers.state.database import NewerState, State
from jupyter_containers.state.rows import ContainerRow, ImageRow, VolumeRow

__all__ = ["ContainerRow", "ImageRow", "NewerState", "State", "VolumeRow"]
