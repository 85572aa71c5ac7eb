"""Samplers are compiled, and metrics fitted, in a second thread while the network is trained."""

import jax
import pytest

from experiments.configs.images import smoke
from experiments.data.display import Scorer
from experiments.evaluation.run_metrics import sample_metrics
from experiments.reporting.pictures import final_pictures
from experiments.tasks import diffusion
from scorekit import samplers


@pytest.mark.slow
def test_pictures_and_metrics_at_the_end_trace_no_sampler_again(tmp_path, monkeypatch):
    config = smoke.get_config()
    dataset = diffusion.load(config)
    model = diffusion.build(config, dataset)
    generate, traced, sample = model.generate, [], samplers.sample
    assert generate is not None
    monkeypatch.setattr(samplers, "sample", lambda *args, **how: (traced.append(1), sample(*args, **how))[1])
    for call in diffusion.sampling_ahead(config, dataset, model):
        call()
    assert len(traced) >= 3
    before, params = len(traced), model.init(jax.random.key(0))
    assert final_pictures(tmp_path, config, model.built, dataset, generate, params)
    scorer = Scorer(real={}, samples=lambda samples, labels: {"n": len(samples)}, caption="")
    rows = sample_metrics(config, model.built, dataset, scorer, params, generate)
    assert rows["γ = 1"]["n"] == config.evaluation.num_samples
    assert len(traced) == before
