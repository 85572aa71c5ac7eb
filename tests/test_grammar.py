"""Arguments of public functions stand in one order and have names of one grammar, with the exceptions listed here."""

import inspect
import itertools

import pytest
from valid_calls import public_bounds, public_names

from scorekit.arguments import Count
from scorekit.typing import Key, Schedule

NAMES, BOUNDS = public_names(), public_bounds()
SIGNATURES = {name: list(inspect.signature(thing).parameters.values()) for name, thing in NAMES.items()}
RANKS = ["network denoiser flow_map cond uncond", "schedule", "x0 x x_t x_init eps", "t s ts times"]
RECORDS = {"training.TrainState": "key", "solvers.Row": "x", "tuning.SavedGrid": "schedule"}  # results, not arguments
NO_COUNTS = {
    "size or length": """length hop size fft_size window event_size vector_size token_size map_size batch_size chunk
        block_size subset_size padding radius patch delay context jump_length window_length max_length cells dim width
        channels data_channels latent_channels head_channels max_channels group_channels noise_channels features hidden
        factor max_past columns rank dilation_base sample_rate keep keep_best limit fsdp""",
    "index, position or code": """seed step program pitch velocity bank process_index first last lowest highest start
        decay_start order predictor""",
    "attribute of a network, named as in its paper and in saved models": """blocks heads depth layers outputs groups
        scales cycle taps relative encoder_blocks token_depth conditioning_layers filters domains vocabulary codes""",
    "name of the same number in jax, optax or MIDI": "process_count accumulate workers bits k",
    "field of configs, of which runs are saved": """n bins count frames iterations bands partials batch components draws
        problems bins_per_octave""",
}
"""Integers that are not ``num_x``, by the reason."""


def misplaced_keys(name):
    for i, each in enumerate(SIGNATURES[name]):
        is_first = i == 0 and each.default is each.empty
        if each.annotation == Key and not is_first and RECORDS.get(name) != each.name:
            yield each.name
        if each.annotation == Key | None and not (each.kind is each.KEYWORD_ONLY and each.default is None):
            yield each.name


def arguments_out_of_order(name):
    rank = {word: i for i, words in enumerate(RANKS) for word in words.split()}
    rank |= {each.name: 1 for each in SIGNATURES[name] if each.annotation == Schedule}
    ranked = [each.name for each in SIGNATURES[name] if each.name in rank and each.kind is not each.KEYWORD_ONLY]
    yield from (b for a, b in itertools.pairwise(ranked) if rank[b] < rank[a] and RECORDS.get(name) != b)


def counts_of_another_name(name):
    others = " ".join(NO_COUNTS.values()).split()
    counts = [argument for argument, each in BOUNDS.get(name, {}).items() if isinstance(each.bound, Count)]
    yield from (each for each in counts if not (each.startswith("num_") or each.endswith("steps") or each in others))


def ends_of_another_name(name):
    yield from (each.name for each in SIGNATURES[name] if each.name in {"t_start", "t_end", "tmin", "tmax", "t0", "t1"})


@pytest.mark.parametrize("rule", [misplaced_keys, arguments_out_of_order, counts_of_another_name, ends_of_another_name])
def test_arguments_of_public_functions_follow_the_grammar(rule):
    assert {name: wrong for name in NAMES if (wrong := list(rule(name)))} == {}
