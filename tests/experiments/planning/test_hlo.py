"""Bytes and collectives of compiled programs, against counts by hand and against the compiler's own count."""

import jax
import jax.numpy as jnp
import pytest

from experiments.planning.hlo import Program

LOOP = """HloModule m, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %s = f32[] add(%a, %b)
}

%sliced (p0: f32[10,128], p1: s32[]) -> f32[1,128] {
  %p0 = f32[10,128]{1,0} parameter(0)
  %p1 = s32[] parameter(1)
  %zero = s32[] constant(0)
  ROOT %slice = f32[1,128]{1,0} dynamic-slice(%p0, %p1, %zero), dynamic_slice_sizes={1,128}
}

%updated (p0: f32[10,128], p1: f32[1,128], p2: s32[]) -> f32[10,128] {
  %p0 = f32[10,128]{1,0} parameter(0)
  %p1 = f32[1,128]{1,0} parameter(1)
  %p2 = s32[] parameter(2)
  %zero = s32[] constant(0)
  ROOT %update = f32[10,128]{1,0} dynamic-update-slice(%p0, %p1, %p2, %zero)
}

%body (state: (s32[], f32[10,128])) -> (s32[], f32[10,128]) {
  %state = (s32[], f32[10,128]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %x = f32[10,128]{1,0} get-tuple-element(%state), index=1
  %row = f32[1,128]{1,0} fusion(%x, %i), kind=kLoop, calls=%sliced
  %sum = f32[1,128]{1,0} all-reduce(%row), channel_id=1, replica_groups={{0,1}}, to_apply=%add
  %y = f32[10,128]{1,0} fusion(%x, %sum, %i), kind=kLoop, calls=%updated
  ROOT %next = (s32[], f32[10,128]{1,0}) tuple(%i, %y)
}

%condition (state.1: (s32[], f32[10,128])) -> pred[] {
  %state.1 = (s32[], f32[10,128]{1,0}) parameter(0)
  %j = s32[] get-tuple-element(%state.1), index=0
  %end = s32[] constant(10)
  ROOT %less = pred[] compare(%j, %end), direction=LT
}

ENTRY %main (x.1: f32[10,128]) -> f32[10,128] {
  %x.1 = f32[10,128]{1,0} parameter(0)
  %start = s32[] constant(3)
  %init = (s32[], f32[10,128]{1,0}) tuple(%start, %x.1)
  %loop = (s32[], f32[10,128]{1,0}) while(%init), condition=%condition, body=%body
  ROOT %out = f32[10,128]{1,0} get-tuple-element(%loop), index=1
}
"""
ROW = 128 * 4


def test_slices_of_a_loop_count_as_slices_and_its_body_as_often_as_it_runs():
    program = Program(LOOP)
    turns = 10 - 3
    reads_row_and_index, all_reduce, writes_row_in_place, compares = 2 * ROW + 4, 2 * ROW, 2 * ROW + 4, 4 + 4 + 1
    assert program.memory_bytes() == turns * (reads_row_and_index + all_reduce + writes_row_in_place + compares)
    (one,) = program.collectives()
    assert one == ("all-reduce", 2.0 * turns * ROW, turns, ((0, 1),))


def test_a_loop_whose_turns_the_compiler_knows():
    known = LOOP.replace("body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"5"}}')
    assert Program(known).collectives()[0].calls == 5


PAIR = """HloModule m, is_scheduled=true

ENTRY %main (p: f32[4,128]) -> f32[16,128] {
  %p = f32[4,128]{1,0} parameter(0)
  %start = (f32[4,128]{1,0}, f32[16,128]{1,0}) all-gather-start(%p), replica_groups=[1,4]<=[4], dimensions={0}
  ROOT %done = f32[16,128]{1,0} all-gather-done(%start)
}
"""


def test_a_collective_that_starts_and_ends_counts_once_with_its_full_array():
    program = Program(PAIR)
    assert program.collectives() == [("all-gather", 16.0 * ROW, 1, ((0, 1, 2, 3),))]
    assert program.memory_bytes() == (4 + 16) * ROW


FUSED = """HloModule m, is_scheduled=true

%start_computation (p0: bf16[8,128]) -> (bf16[8,128], bf16[32,128]) {
  %p0 = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0)
  %gather = bf16[32,128]{1,0:T(8,128)(2,1)} all-gather(%p0), channel_id=1, replica_groups={{0,1,2,3}}, dimensions={0}
  ROOT %call = (bf16[8,128]{1,0}, bf16[32,128]{1,0}) custom-call(%gather), custom_call_target="AsyncCollectiveStart"
}

%async_collective_fusion.1 (p1: bf16[8,128]) -> bf16[32,128] {
  %p1 = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %step = bf16[32,128]{1,0:T(8,128)(2,1)} all-gather(%p1), channel_id=1, replica_groups={{0,1,2,3}}, dimensions={0}
}

ENTRY %main (p: bf16[8,128]) -> bf16[32,128] {
  %p = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0)
  %async-collective-start = (bf16[8,128]{1,0}, bf16[32,128]{1,0}) fusion(%p), kind=kCustom, calls=%start_computation
  ROOT %part = bf16[32,128]{1,0} fusion(%p), kind=kCustom, calls=%async_collective_fusion.1
}
"""


def test_a_collective_that_is_spread_over_fusions_counts_once():
    (one,) = Program(FUSED).collectives()
    assert (one.kind, one.moved, one.calls) == ("all-gather", 2.0 * 32 * 128, 1)


def test_bytes_equal_those_of_the_compiler_where_nothing_loops_or_is_sliced():
    def f(x, w):
        return jnp.sum(jnp.tanh(x @ w) ** 2, axis=0)

    compiled = jax.jit(f).lower(jnp.ones((256, 128)), jnp.ones((128, 64))).compile()
    assert Program(compiled.as_text()).memory_bytes() == pytest.approx(
        compiled.cost_analysis()["bytes accessed"], rel=0.2
    )


def test_turns_of_a_scan():
    mesh = jax.make_mesh((2,), ("i",), devices=jax.devices()[:2], axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("i")

    def f(x):
        return jax.lax.scan(lambda y, _: (jnp.tanh(jax.lax.psum(y, "i")), None), x, None, length=6)[0]

    spread = jax.jit(jax.shard_map(f, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False))
    (one,) = Program(spread.lower(jnp.ones(8)).compile().as_text()).collectives()
    assert (one.kind, one.calls, one.moved) == ("all-reduce", 6, 6 * 2 * 4 * 4.0)
