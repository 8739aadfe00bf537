"""Protocols, checked in all orders in which their steps can come (spin). Each model names changes with which it must fail."""

import os
import re
import shutil
import subprocess

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = sorted(name for name in os.listdir(HERE) if name.endswith(".pml"))
BROKEN = [(name, change) for name in MODELS for change in re.findall(r"-D([A-Z_]+)", open(f"{HERE}/{name}", encoding="ascii").read())]


def errors(directory, name, *options):
    """How many spin finds: it ends with the first."""
    for command in (["spin", "-a", *options, f"{HERE}/{name}"], ["gcc", "-O2", "-w", "-DSAFETY", "-DMEMLIM=2048", "-o", "pan", "pan.c"]):
        subprocess.run(command, cwd=directory, check=True, capture_output=True)
    out = subprocess.run(["./pan", "-m100000"], cwd=directory, check=True, capture_output=True, text=True, timeout=50).stdout
    assert "max search depth too small" not in out and "out of memory" not in out, out
    return int(re.search(r"errors: (\d+)", out).group(1))


@pytest.mark.skipif(not shutil.which("spin"), reason="spin is not installed")
@pytest.mark.parametrize("name", MODELS)
def test_model_holds(tmp_path, name):
    assert errors(tmp_path, name) == 0


@pytest.mark.skipif(not shutil.which("spin"), reason="spin is not installed")
@pytest.mark.parametrize("name, change", BROKEN)
def test_model_that_is_broken_fails(tmp_path, name, change):
    assert errors(tmp_path, name, "-D" + change) > 0
