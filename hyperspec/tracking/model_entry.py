"""What a logged model runs when it is loaded; MLflow copies this file into the model."""

from mlflow.models import set_model

from hyperspec.tracking.pyfunc_model import CubeEncoder

set_model(CubeEncoder())
