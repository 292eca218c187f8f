"""A noise of one's own: register it, then train with it."""

from torch import Tensor

from mlplab.data import load
from mlplab.engine import Result, train
from mlplab.engine.noises import NoiseKind, register
from mlplab.knobs import turn
from mlplab.spec import MLP, Noise, Run, Setting


@register("my_noise", scale=0.3)
class MyNoise(NoiseKind):
    """x + scale·√|x|·N(0, 1), in training only."""

    draws = "normals"
    scale: Tensor

    def term(self, x, drawn):
        return self.scale * x.abs().sqrt() * drawn


data = load("digits")
base = turn(Setting(MLP((64, 64))), learning_rate=0.5, batch_size=64, epochs=40)
for noise in (Noise("none"), Noise("dropout", rate=0.2), Noise("my_noise")):
    setting = turn(base, noise=(noise,))
    runs = [Run(setting, data.fingerprint, seed) for seed in range(5)]
    ends = [end for end in train(runs, data) if isinstance(end, Result)]
    found = [end.metrics["validation_accuracy"] for end in ends]
    print(f"{noise}: {sum(found) / 5:.3f} of validation images, 5 seeds")
