"""Compare NODEO's published code with our run ``nodeo`` on one pair of adults at half size, from
several starts of the network; see README.md.

The weights start at random, so two runs of either code differ; the means of their metrics are
compared. Both maps are evaluated by the same metrics. Rows are added to
``results/nodeo_accuracy.tsv``, and a seed that has a row is not run again.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _cases import Case
from _command import add_pairs, explains_errors
from _judged import evaluated
from _nodeo_reference import (
    COMPARISON,
    DEFAULTS,
    add_checkout,
    compared_case,
    registration_of,
)

from diffeode.geometry.image import foreground
from diffeode.geometry.transform import DisplacementField, densify
from diffeode.optimise.memory import keep_freed_memory
from diffeode.process.threads import use_threads
from diffeode.registration.base import Machine, Pair
from diffeode.registration.runs import load_run

_ITERATIONS = 300
_METRICS = ("folds_central_percent", "folds_central_grid_percent", "sdlogj")


def reference(case: Case, seed: int, checkout: Path) -> DisplacementField:
    """Return the map that the code in ``checkout`` finds with its own defaults."""
    reference_code = registration_of(checkout, case.fixed.grid.shape)
    torch.manual_seed(seed)
    config = argparse.Namespace(**DEFAULTS, epoches=_ITERATIONS)
    found, _, _ = reference_code.registration(
        config, torch.device("cpu"), case.moving.data, case.fixed.data
    )
    grid = case.fixed.grid
    vectors = np.moveaxis(found[0].numpy(), 0, -1)
    return DisplacementField(grid.vectors_to_world(vectors).astype(np.float32), grid)


def ours(case: Case, seed: int) -> DisplacementField:
    """Return the map that the run ``nodeo`` finds."""
    masks = (foreground(case.fixed), foreground(case.moving))
    found = (
        load_run("nodeo").build().register(Pair(case.fixed, case.moving, *masks), Machine(1, seed))
    )
    return densify(found.forward, case.fixed.grid)


def scores_of(case: Case, warp: DisplacementField) -> dict[str, float]:
    """Return the mean Dice over each set of labels, and the metrics of folds."""
    found = evaluated(case, warp, COMPARISON.labels())
    return found.mean_dice(COMPARISON.scores) | found.metrics(_METRICS)


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the codes and seeds that have no row yet, and print mean and SD of each code."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_checkout(parser)
    parser.add_argument("--seeds", default="1,2,3", help="seeds of the starts; default %(default)s")
    add_pairs(parser)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    keep_freed_memory()
    use_threads(1)
    case = compared_case(options.data, options.work)
    find: dict[str, Callable[[int], DisplacementField]] = {
        "reference": lambda seed: reference(case, seed, options.checkout),
        "nodeo": lambda seed: ours(case, seed),
    }
    table = options.results / "nodeo_accuracy.tsv"
    rows = pd.read_csv(table, sep="\t") if table.is_file() else pd.DataFrame()
    for seed in map(int, options.seeds.split(",")):
        for code, register in find.items():
            if len(rows) and ((rows["code"] == code) & (rows["seed"] == seed)).any():
                continue
            row = {"code": code, "seed": seed, **scores_of(case, register(seed))}
            rows = pd.concat([rows, pd.DataFrame([row])], ignore_index=True)
            rows.to_csv(table, sep="\t", index=False, float_format="%.4f")
    print(rows.drop(columns="seed").groupby("code").agg(["count", "mean", "std"]).round(4).T)
    return 0


if __name__ == "__main__":
    sys.exit(main())
