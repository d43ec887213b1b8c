"""Networks: shapes and parameter counts by arithmetic, without torch."""

from models.domain.network.placed import PlacedLayer, PlacedNetwork
from models.domain.network.placing import place_network
from models.domain.network.shapes import Shape

__all__ = ["PlacedLayer", "PlacedNetwork", "Shape", "place_network"]
