"""What cannot be drawn, evaluated or varied is one sentence on the screen."""

import re

import pytest
from programs import fails

RED = "--caption=a red square"
ON = "--threshold=on"
CFG_PP = ("--config.guidance=cfg_plus_plus", "--config.sampling.solver.name=ddim")

DRAWN = [
    ("digits_4,digits_8", ["--caption=a cat"], "digits_4 has no captions, it is conditioned on its class alone"),
    ("low,from_4", [RED], "from_4 enlarges pictures of 4 x 4 pixels and 3 channels, "),
    ("low,digits_8", [RED], "low, config.data.name=folder; it has sklearn_digits"),
    ("low,latent_upper", [RED], "latent_upper must enlarge pictures themselves"),
    ("low,low", [RED], "low must enlarge pictures, by config.data.map.name=average_pool"),
    ("high", [RED], "high must draw without a picture to enlarge as the first stage"),
    ("low", ["--caption="], "--caption=: must hold text"),
    ("low", ["--caption=a dog"], "has no caption 'a dog'"),
    ("low", [], "--caption=… must be given"),
    ("low", [RED, "--style=noto"], "--style=noto: must be one of the styles of pictures"),
    ("low,high", [RED, "--map_noise=0.9"], "sampling.map_noise=0.9: must be from 0 to"),
    ("low", [RED, "--scales=1,2"], "--scales=1,2: must be 1 numbers"),
    ("digits_4", ["--labels=1", "--negative=a cat"], "--negative=a cat: must be left out without --caption"),
    ("low", ["--coordinator=here:1"], "--coordinator: must be left out, this program runs in one process"),
    ("decoder", [RED], "decoder draws from the embedding of a picture: give --prior=RUN"),
    ("low", ["--prior=@prior", RED], "low must be conditioned on the embedding of a"),
    ("decoder", ["--prior=@low", RED], "low: must draw embeddings"),
    ("decoder", ["--prior=@blind_prior", RED], "blind_prior: must have captions as a condition"),
    ("decoder", ["--prior=@other_prior", RED], "draws embeddings of another encoder than"),
    ("changed", ["--prior=@prior", RED], "contrastive: has other weights than the encoder that"),
    ("decoder", ["--prior=@prior", "--labels=0"], "--caption=… must be given, or"),
    ("prior", [RED], "prior must draw pictures, it draws embeddings"),
]
VARIED = [
    ("early", ["--picture=a.png"], "early: is not finished, at step 1 of 2; continue it"),
    ("decoder", ["--picture=no.png"], "--picture=no.png: there is no such file"),
    ("decoder", ["--picture=setup.cfg"], "--picture=setup.cfg: must be a picture: "),
    ("low", ["--picture=no.png"], "must be conditioned on the embedding of a picture"),
    ("decoder", [], "--picture: must be given once, or twice"),
    ("decoder", ["--picture=a", "--after=b"], "--before and --after: must be given togeth"),
    ("decoder", ["--picture=a", "--between=3"], "--between: must be left out, it goes with t"),
    ("decoder", ["--picture=a", "--weights=1"], "--weights: must be left out, it goes with -"),
]
EVALUATED = [
    ("digits_4", [], "must be a run of config.task=classifier, for stages without captions"),
    ("decoder", [], "decoder draws from the embedding of a picture: give --prior=RUN"),
    ("low", ["--config.data.test_split=other"], "low, config.data.test_split=other; it has test"),
    ("low", [ON, *CFG_PP], f"{ON}: config.guidance=cfg_plus_plus,dynamic_threshold: only interval"),
    ("low", ["--processes=2"], "--processes: must be left out, this program runs in one process"),
    ("low", ["--evaluator=@low"], "must be a run of config.task=dual_encoder, this one embeds no captions"),
    ("low", ["--evaluator=no"], "there is no run here (no config.json); train one with experiments.train"),
    ("decoder", ["--prior=@prior", "--evaluator=@contrastive"], "contrastive: must be one that no stage was trained "),
    ("low", ["--vgg_weights=no"], "no: path must be a file of VGG-16 weights"),
    ("low", ["--scales="], "--scales=: must be numbers >= 0"),
    ("low", ["--captions=test"], "--captions=test: value should be one of <seen|held_out|both>"),
    ("low", ["--threshold=strong"], "--threshold=strong: must be off, on, or off,on"),
    ("low", ["--map_noise=0.1"], "--map_noise=0.1: must be left out, no stage enlarges a picture"),
    ("low,high", ["--map_noise=0,0.9"], "sampling.map_noise=0.9: must be from 0 to"),
    ("low,low", [], "low must enlarge pictures, by config.data.map.name=average_pool"),
    ("low", ["--num=7"], "--num=7"),
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
