"""The loader that a logged model names, also under its older name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hyperspec.inference import cube_embedder as embedder
from hyperspec.sweeps.log_models import LOADER
from hyperspec.tracking.pyfunc_model import _CODE, CubeEncoder


@pytest.mark.parametrize("loader", ["hyperspec.embedding:open_embedder", LOADER])
def test_models_open_the_embedder_under_every_name_it_had(
    loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(checkpoint: str) -> Any:
        return lambda files: np.full((len(files), 2), float(checkpoint == "last.ckpt"))

    monkeypatch.setattr(embedder, "open_embedder", opened)
    model = CubeEncoder()
    context: Any = SimpleNamespace(
        model_config={"loader": loader}, artifacts={"checkpoint": "last.ckpt"}
    )
    model.load_context(context)
    found = model.predict(context, pd.DataFrame({"file": ["a.bil", "b.bil"]}))
    assert found.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_the_script_of_a_model_names_its_class_where_it_is() -> None:
    assert f"from {CubeEncoder.__module__} import CubeEncoder" in _CODE.read_text()
    assert CubeEncoder.__module__ == "hyperspec.tracking.pyfunc_model"  # logged models name it
