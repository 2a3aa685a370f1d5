"""The step that finds where a scan lies in the space of a template."""

from __future__ import annotations

from pathlib import Path

from diffeode.datasets.scan import Scan
from diffeode.prepare.template import align_through_t1w, align_to_template, chosen_template
from diffeode.prepare.units import Before, Placement, about, write_placement


def place(
    scan: Scan,
    template: str | dict[str, str],
    before: Before,
    t1w: tuple[Scan, Before] | None,
    folder: Path,
    threads: int = 1,
    seed: int = 0,
) -> None:
    """Write the unit with the affine map from the template to the scan to ``folder``.

    The map sends points of the template to points of the scan, RAS mm.

    Args:
        template: a template's name, or the paths of one's own, ``{t1w, t2w}``.
        before: the finished units of the scan's earlier steps.
        t1w: the T1w of the same visit and its units, where the scan reaches the template through
            it; else None.

    Raises:
        InputError: the brain does not fit the template.
        RegistrationError: ANTs gave up.
    """
    chosen = chosen_template(template)
    brain, name = before.stripped(scan), str(scan.image)
    if t1w is None:
        to_scan = align_to_template(brain, chosen, scan.modality, name, threads, seed)
    else:
        other, its_units = t1w
        to_t1w = its_units.placement().to_scan
        to_scan = align_through_t1w(
            brain, its_units.stripped(other), chosen, scan.modality, to_t1w, name, threads, seed
        )
    choice = {"template": chosen.name, "through": t1w[0].id if t1w else None, "seed": seed}
    write_placement(folder, Placement(to_scan, chosen.grid), about(scan, "placement", choice, {}))
