"""Films per second on one core, and what a film costs beside the blur any simulator must pay for."""

import itertools

import pytest
import torch

from robustness.phantom import cohort_table, films, render, sample_patient

pytestmark = pytest.mark.benchmark_suite


@pytest.fixture
def one_core():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("finding", ["normal", "lobar", "interstitial"])
@pytest.mark.benchmark(group="one phantom film, 256 px, one core (aim: 50 ms)")
def test_one_film(benchmark, one_core, finding):
    patients = itertools.cycle([sample_patient(str(i), 0, "child") for i in range(20)])
    benchmark.pedantic(lambda: render(next(patients), finding, "AP"), rounds=20, warmup_rounds=3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.benchmark(group="one phantom film, 256 px, GPU")
def test_one_film_on_a_gpu(benchmark):
    patients = itertools.cycle([sample_patient(str(i), 0, "child") for i in range(20)])

    def one():
        render(next(patients), "lobar", "AP", device="cuda")
        torch.cuda.synchronize()

    benchmark.pedantic(one, rounds=20, warmup_rounds=3)


@pytest.mark.parametrize("n", [4, 16])
@pytest.mark.benchmark(group="a cohort, 64 px: time linear in n, memory constant")
def test_cohort(benchmark, one_core, n):
    benchmark.pedantic(lambda: sum(1 for _ in films(cohort_table(n), size=64)), rounds=3, warmup_rounds=1)
