"""Devices by name."""

from __future__ import annotations

import pytest
import torch

from dtalk.errors import DataError
from dtalk.utils.devices import device_of


@pytest.mark.parametrize("name", ["cpu", "auto"])
def test_devices_there_are(name):
    assert isinstance(device_of(name), torch.device)


def test_the_cpu_is_the_cpu():
    assert device_of("cpu") == torch.device("cpu")


def test_a_device_whose_package_is_not_installed(monkeypatch):
    """As torch says it of some kinds of device."""

    def missing(*_, **__):
        raise ModuleNotFoundError("No module named 'torch_hpu'\nInstall it")

    monkeypatch.setattr(torch, "zeros", missing)
    with pytest.raises(DataError, match=r"^cannot use device 'hpu': No module named 'torch_hpu';"):
        device_of("hpu")


@pytest.mark.parametrize("name", ["", "gpu", "cuda:999", "cpu:x", "hpu"])
def test_devices_there_are_not(name):
    with pytest.raises(DataError, match=f"cannot use device '{name}'.*--device auto") as error:
        device_of(name)
    assert "\n" not in str(error.value)
