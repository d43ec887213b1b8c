"""What can be trained on, and the networks that have names."""

from fastapi import APIRouter

from api.dependencies import SettingsDependency
from models.schemas.catalogue import DatasetList, NetworkList
from services.catalogue import list_datasets, list_networks

router = APIRouter(prefix="/v1", tags=["catalogue"])


@router.get("/datasets", operation_id="list_datasets")
def get_datasets(settings: SettingsDependency) -> DatasetList:
    """List the data sets; `synthetic` is shown as it is by default."""
    return DatasetList(items=list(list_datasets(settings.datasets_folder)))


@router.get("/networks", operation_id="list_networks")
def get_networks() -> NetworkList:
    """List the named networks, written as a spec's `network.layers`, here for ten classes."""
    return NetworkList(items=list(list_networks()))
