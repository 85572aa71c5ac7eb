"""What cannot be drawn, evaluated or varied is one sentence on the screen."""

import re

import pytest
from programs import fails

RED = "--caption=a red square"
ON = "--threshold=on"
CFG_PP = ("--config.guidance=cfg_plus_plus", "--config.sampling.solver.name=ddim")

DRAWN = [
    ("low,from_4", [RED], "from_4 enlarges pictures of 4 x 4 pixels and 3 channels, "),
    ("low,digits_8", [RED], "low, config.data.name=folder; it has tfds"),
    ("low,latent_upper", [RED], "latent_upper must enlarge pictures themselves"),
    ("low", ["--caption=a dog"], "has no caption 'a dog'"),
    ("decoder", ["--prior=@blind_prior", RED], "blind_prior: must have captions as a condition"),
    ("decoder", ["--prior=@other_prior", RED], "draws embeddings of another encoder than"),
    ("changed", ["--prior=@prior", RED], "contrastive: has other weights than the encoder that"),
]
VARIED = [
    ("early", ["--picture=a.png"], "early: is not finished, at step 1 of 2; continue it"),
]
EVALUATED = [
    ("low", ["--config.data.test_split=other"], "low, config.data.test_split=other; it has test"),
    (
        "low",
        [ON, *CFG_PP, "--config.sampling.guidance_scale=1"],
        f"{ON}: config.guidance=cfg_plus_plus,dynamic_threshold: only interval",
    ),
    ("decoder", ["--prior=@prior", "--evaluator=@contrastive"], "contrastive: must be one that no stage was trained "),
]
ROWS = {"draw": DRAWN, "variations": VARIED, "evaluate": EVALUATED}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "stages", "flags", "message"), [(program, *row) for program, rows in ROWS.items() for row in rows]
)
def test_what_is_wrong_is_one_sentence(runs, tmp_path, program, stages, flags, message):
    given = ["--stages=" + ",".join(str(runs(name)) for name in stages.split(","))]
    given += [f"--evaluator={runs('other')}", f"--out={tmp_path}"] if program == "evaluate" else []
    given += [re.sub("@(.*)", lambda name: str(runs(name[1])), flag) for flag in flags]
    err = fails(f"projects.text.{program}", *given, at_once=False)
    assert message in err
    assert len(err.strip().splitlines()) == 1
